"""News for open pages: few reads, few bytes, no queues."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from aggregator.access import Role
from aggregator.page import live as live_module
from aggregator.page.live import Live, Pulse
from headway.errors import StoreError
from headway.ports import SystemClock
from tests.page.fleet import PageFleet


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second of the page takes twenty milliseconds here."""
    monkeypatch.setattr(live_module, "EVERY_S", 0.02)
    monkeypatch.setattr(live_module, "LOOK_S", 0.005)
    monkeypatch.setattr(live_module, "SILENCE_S", 0.1)


class Source:
    """Counts how often it is read; fails while `broken`."""

    def __init__(self) -> None:
        self.value, self.reads, self.broken = 0, 0, False

    def __call__(self) -> Pulse:
        self.reads += 1
        if self.broken:
            raise StoreError("the disk is full")
        return Pulse({"online": self.value}, str(self.value))


async def next_pulse(events: AsyncIterator[bytes]) -> Any:
    async for event in events:
        if b"event: pulse" in event:
            return json.loads(event.partition(b"data: ")[2])
    return None


def test_one_reader_serves_all_viewers_and_stops_with_the_last() -> None:
    async def story() -> None:
        source = Source()
        live = Live(source, SystemClock())
        streams = [live.events() for _ in range(20)]
        for stream in streams:
            assert (await next_pulse(stream))["numbers"] == {"online": 0}
        assert live.viewers == 20
        assert source.reads <= 3  # once, and what passed meanwhile
        source.value = 7
        for stream in streams:
            assert (await next_pulse(stream))["numbers"] == {"online": 7}
            await stream.aclose()  # type: ignore[attr-defined]
        assert live.viewers == 0
        reads = source.reads
        await asyncio.sleep(0.06)
        assert source.reads == reads

    asyncio.run(story())


def test_a_slow_viewer_gets_the_newest_and_never_what_was_between() -> None:
    async def story() -> None:
        source = Source()
        live = Live(source, SystemClock())
        slow = live.events()
        await next_pulse(slow)
        for source.value in (1, 2, 3):
            reads = source.reads
            while source.reads < reads + 2:
                await asyncio.sleep(0.005)
        assert (await next_pulse(slow))["numbers"] == {"online": 3}
        await slow.aclose()  # type: ignore[attr-defined]

    asyncio.run(story())


def test_nothing_new_is_not_told_but_that_the_line_stands() -> None:
    async def story() -> None:
        live = Live(Source(), SystemClock())
        events, said = live.events(), []
        async for event in events:
            said.append(event)
            if event.startswith(b":"):
                break
        assert [event.split(b"\n")[0] for event in said] == [b"retry: 2000", b"id: 1", b": still here"]
        await events.aclose()  # type: ignore[attr-defined]

    asyncio.run(story())


def test_a_store_that_refuses_is_asked_again_and_the_log_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        source = Source()
        source.broken = True
        live = Live(source, SystemClock())
        events = live.events()
        waiting = asyncio.ensure_future(next_pulse(events))
        while source.reads < 3:
            await asyncio.sleep(0.005)
        source.broken = False
        assert (await waiting)["numbers"] == {"online": 0}
        await events.aclose()  # type: ignore[attr-defined]

    asyncio.run(story())
    assert [record.message for record in caplog.records] == ["the page cannot read the store: the disk is full"]


def test_streams_end_when_the_server_stops() -> None:
    async def story() -> None:
        live = Live(Source(), SystemClock())
        events = live.events()
        await next_pulse(events)
        live.close()
        assert await next_pulse(events) is None

    asyncio.run(story())


def test_the_stream_is_for_who_is_known_and_has_bounded_places(
    fleet: PageFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fleet.browser().get("/live").status_code == 303
    monkeypatch.setattr(live_module, "LASTS_S", 0.05)
    browser = fleet.browser(Role.VIEWER)
    found = browser.get("/live")
    assert found.headers["content-type"].startswith("text/event-stream")
    numbers = json.loads(found.text.partition("data: ")[2].partition("\n")[0])["numbers"]
    assert numbers == {"devices": 3, "online": 0, "learning": 0, "below": 0, "drifting": 0, "attention": 0, "inbox": 0}
    monkeypatch.setattr(live_module, "VIEWERS_MAX", 0)
    assert browser.get("/live").status_code == 503
