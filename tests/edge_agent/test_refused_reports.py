"""An aggregator that refuses what a device reports: said once, repeated later and later, over when it takes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent.config import AgentConfig, SensorSettings, SyncSettings
from edge_agent.learner_settings import LearnerSettings
from edge_agent.loop import DeviceLoop
from edge_agent.store import MemoryStore
from edge_agent.sync.refusal import DOUBLINGS_MAX
from headway.ports import Connected, Received
from headway.wire import Ack, Kind, Reported, StatisticsReport, parse_topic, topic
from tests.device import ManualClock, RecordingTransport, open_device
from tests.edge_agent.variants import pipeline, windows

TIMEOUT_S = 10.0


class Subject:
    """A device with labels, connected, and what it says."""

    def __init__(self, folder: Path, kind: str = "exact") -> None:
        sensor = SensorSettings(folder / "spool", folder / "predictions")
        sync = SyncSettings(interval_s=1.0, ack_timeout_s=TIMEOUT_S)
        learner = LearnerSettings(kind=kind, update_labels=2)
        config = AgentConfig("wrist-1", "plant", folder / "model.hwb", folder, sensor, learner, sync=sync)
        self.clock, self.transport, self.store = ManualClock(), RecordingTransport(), MemoryStore()
        self.loop: DeviceLoop = open_device(config, self.clock, self.store, transport=self.transport)
        self.loop.handle(Connected(True))
        self.learn()

    def learn(self) -> None:
        x, y = windows(4)
        agent = self.loop.agent
        agent.process(pipeline().features(x), y)
        self.store.commit(agent.changes())

    def hear(self, counter: int = 0, sequence: int = 0, refused: str = "", epoch: int | None = None) -> None:
        own = self.loop.agent.sync_state.epoch
        problem = "too many of something" if refused else ""
        ack = Ack(own if epoch is None else epoch, counter, sequence, refused=refused, problem=problem)
        self.loop.handle(Received(topic("plant", "wrist-1", Kind.ACK), ack.encode()))

    def reports_after(self, waited_s: float, kind: Kind = Kind.STATISTICS) -> int:
        """How many reports leave when so much time has passed."""
        self.clock.now_s += waited_s
        before = len(self.transport.sent)
        self.loop.turn()
        return sum(parse_topic(message.topic).kind is kind for message in self.transport.sent[before:])

    @property
    def problem(self) -> str:
        reported = [m for m in self.transport.sent if parse_topic(m.topic).kind is Kind.REPORTED]
        return Reported.decode(reported[-1].payload).problem

    @property
    def told(self) -> list[str]:
        return [name for name in self.transport.event_names if name.startswith("reports-")]


def test_a_refusal_is_told_once_and_shown_until_a_report_is_taken(tmp_path: Path) -> None:
    subject = Subject(tmp_path)
    assert subject.reports_after(0.0) == 1
    for _ in range(3):
        subject.hear(refused="limit")
        subject.hear()
    assert subject.told == ["reports-refused"]
    assert subject.problem.endswith("the aggregator refuses this device's reports: limit: too many of something")
    assert "limit: too many of something" in subject.loop.condition
    subject.learn()
    subject.hear(counter=subject.loop.agent.sync_state.counter)
    assert subject.told == ["reports-refused", "reports-accepted"]
    assert subject.problem == ""
    assert "refuses" not in subject.loop.condition


def test_what_was_refused_is_sent_again_later_and_later_over_connections_too(tmp_path: Path) -> None:
    subject = Subject(tmp_path)
    subject.reports_after(0.0)
    for times in range(1, DOUBLINGS_MAX + 3):
        subject.hear(refused="malformed", epoch=0)
        subject.learn()
        assert subject.reports_after(0.0) == 0, "the pause begins when the refusal is heard"
        pause_s = TIMEOUT_S * 2 ** min(times, DOUBLINGS_MAX)
        subject.loop.handle(Connected(False))
        assert subject.reports_after(pause_s - 1.0) == 0
        assert subject.reports_after(1.0) == 1
    subject.hear(counter=subject.loop.agent.sync_state.counter)
    subject.learn()
    assert subject.reports_after(1.0) == 1, "taken: as soon as ever"


def test_what_was_refused_goes_out_in_the_older_packing_also_where_nothing_was_learned_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packings: list[bool] = []
    encode = StatisticsReport.encode

    def noted(report: StatisticsReport, packed: bool = True, predict: bool = False) -> bytes:
        packings.append(predict)
        return encode(report, packed, predict)

    monkeypatch.setattr(StatisticsReport, "encode", noted)
    subject = Subject(tmp_path)
    subject.reports_after(0.0)
    for times in (1, 2):
        subject.hear(refused="malformed")
        subject.reports_after(0.0)
        assert subject.reports_after(TIMEOUT_S * 2**times) == 1
    assert packings == [False, True, False]


def test_updates_whose_numbers_are_taken_all_the_same_do_not_end_it(tmp_path: Path) -> None:
    subject = Subject(tmp_path, kind="gradient")
    assert subject.reports_after(0.0, Kind.UPDATE) == 2
    for sequence in (1, 2):
        subject.hear(sequence=sequence, refused="unused")
        subject.hear(sequence=sequence)
    subject.learn()
    assert subject.reports_after(TIMEOUT_S, Kind.UPDATE) == 0
    assert subject.reports_after(9 * TIMEOUT_S, Kind.UPDATE) == 2
    assert subject.told == ["reports-refused"]
    subject.hear(sequence=3)
    assert subject.told == ["reports-refused", "reports-accepted"]


def test_a_refusal_of_another_epoch_says_nothing(tmp_path: Path) -> None:
    subject = Subject(tmp_path)
    subject.hear(refused="conflict", epoch=12345)
    assert subject.told == []
    assert subject.reports_after(0.0) == 1


@pytest.mark.parametrize("reason", ["\0", "x" * 65])
def test_an_ack_with_an_odd_reason_is_refused_itself(reason: str, tmp_path: Path) -> None:
    subject = Subject(tmp_path)
    payload = Ack(0, 0, 0, refused="limit").encode().replace(b'"limit"', f'"{reason}"'.encode())
    subject.loop.handle(Received(topic("plant", "wrist-1", Kind.ACK), payload))
    assert subject.told == []
