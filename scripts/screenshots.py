"""Pictures of the page for README and docs: each place at 1280 and 390 pixels, dark and light, into build/screenshots.

    make screenshots                                # everything
    python -m scripts.screenshots --docs            # those of the docs, into docs/images

A fleet of `testbed.shown_fleet` is served on this machine, and looked at with Chromium through Playwright.
"""

from __future__ import annotations

import argparse
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import uvicorn

from aggregator.access import ApiSettings
from aggregator.config import Settings
from aggregator.operations import Operator, create_token
from aggregator.store import sqlite_url
from aggregator.store.sql import SqlStore
from aggregator.web import create_web
from headway.ports import SystemClock
from testbed.shown_fleet import fill
from testbed.shown_inbox import fill_inbox
from testbed.shown_steering import fill_steering

ROOT = Path(__file__).resolve().parent.parent
OUT, DOCS = ROOT / "build" / "screenshots", ROOT / "docs" / "images"
DEVICES, FLEET = 250, "plant-1"
# by the name of the file; a place that comes later is a line here
PLACES = {
    "fleet": "/",
    "fleet-filtered": "/?filter=accuracy_gain+%3C+0",
    "fleet-heads": "/?cells=heads",
    "device": "/devices/pump-003",
    "device-asking": "/devices/pump-001",
    "inbox": "/inbox?device=pump-001",
    "inbox-plain": "/inbox?device=pump-011",
    "heads": "/heads",
    "heads-compared": "/heads/compare?a=43&b=49&space=",
    "forget": "/heads/forget?device=pump-001",
    "rollouts": "/rollouts",
    "rollout": "/rollouts/autumn",
    "rollout-halted": "/rollouts/summer",
    "rollout-new": "/rollouts/new",
    "settings": "/settings",
    "settings-alerts": "/settings/alerts",
    "settings-join": "/settings/join",
    "settings-groups": "/settings/groups",
    "settings-audit": "/settings/audit?check=true",
    "nothing": "/nothing",
    "log-in": "/log-in",
}
SIZES = {1280: 900, 390: 844}
SCHEMES = ("light", "dark")
# of the docs: place, width, scheme
IN_DOCS = (
    ("fleet", 1280, "light"),
    ("fleet", 390, "dark"),
    ("device", 1280, "light"),
    ("device", 390, "dark"),
    ("inbox", 1280, "light"),
    ("inbox", 390, "dark"),
    ("heads", 1280, "light"),
    ("heads", 390, "dark"),
    ("rollout", 1280, "light"),
    ("rollout", 390, "dark"),
    ("settings", 1280, "light"),
    ("settings-audit", 390, "dark"),
)


@contextmanager
def served() -> Iterator[tuple[str, str]]:
    """Address of the page of a fleet, and the cookie of an operator."""
    with tempfile.TemporaryDirectory(prefix="headway-screenshots-") as name:
        folder, clock = Path(name), SystemClock()
        store = SqlStore(sqlite_url(folder))
        names = fill(store, DEVICES, clock.wall_s())
        fill_inbox(store, names, clock.wall_s())
        fill_steering(store, folder, folder / "model.hwb", names, clock.wall_s())
        with store.transaction():
            token = create_token(Operator.local(store, clock), "ada", "page", None, 3600.0).token
        many = ApiSettings(requests_per_minute=100_000, requests_per_address_minute=100_000)
        settings = replace(Settings(FLEET, folder / "model.hwb", folder), api=many)
        web = create_web(settings, lambda: SqlStore(sqlite_url(folder)), clock)
        with socket.create_server(("127.0.0.1", 0)) as listening:
            server = uvicorn.Server(uvicorn.Config(web, log_level="warning", timeout_graceful_shutdown=2))
            thread = threading.Thread(target=server.run, args=([listening],))
            thread.start()
            try:
                yield f"http://127.0.0.1:{listening.getsockname()[1]}", token
            finally:
                web.close()
                server.handle_exit(0, None)
                thread.join(20)


def take(browser: Any, address: str, token: str, place: str, width: int, scheme: str, file: Path, whole: bool) -> None:
    """One picture."""
    context = browser.new_context(
        base_url=address, viewport={"width": width, "height": SIZES[width]}, color_scheme=scheme,
        reduced_motion="reduce",
    )  # fmt: skip
    if place != "log-in":
        context.add_cookies([{"name": f"headway-{FLEET}-session", "value": token, "url": address}])
    tab = context.new_page()
    tab.goto(PLACES[place] if place != "heads-compared" else PLACES[place] + _space(tab))
    if place != "log-in":
        tab.get_by_text("Live", exact=True).wait_for(state="attached")
    if place.startswith("device"):
        tab.locator(".u-over").wait_for()
    tab.screenshot(path=file, full_page=whole)
    context.close()


def _space(tab: Any) -> str:
    """The feature space that has heads, as the page names it."""
    tab.goto(PLACES["heads"])
    return str(tab.locator('input[name="space"]').first.get_attribute("value"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docs", action="store_true", help="those of the docs, into docs/images")
    parser.add_argument("places", nargs="*", help=f"of {', '.join(PLACES)}; without any: all")
    parser.add_argument("--whole", action="store_true", help="whole pages, not what a screen shows")
    given = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        parser.error("there is no chromium here; apt install chromium")
    from playwright.sync_api import sync_playwright

    every = [(place, width, scheme) for place in given.places or PLACES for width in SIZES for scheme in SCHEMES]
    out = DOCS if given.docs else OUT
    out.mkdir(parents=True, exist_ok=True)
    with served() as (address, token), sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for place, width, scheme in IN_DOCS if given.docs else every:
            name = f"page-{place}-{width}.png" if given.docs else f"{place}-{width}-{scheme}.png"
            take(browser, address, token, place, width, scheme, out / name, given.whole)
            print(out / name, flush=True)
        browser.close()


if __name__ == "__main__":
    main()
