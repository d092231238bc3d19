"""The engine on a Ray cluster of two nodes: the same bits as one process, also when a node dies in the middle."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from aggregator.commands.serve import engine_of
from aggregator.engine import LocalEngine
from aggregator.engine.on_ray import RayEngine
from aggregator.engine_settings import EngineKind, EngineSettings
from aggregator.partial_sum import PartialSum
from aggregator.policy import Policy
from aggregator.store import MemoryStore, StoredStatistics
from aggregator.store.rows import SUMS
from headway.errors import ConflictError
from headway.maths import Statistics
from headway.wire import StatisticsReport
from tests.aggregator.fleets import Fleet, statistics_message, tables
from tests.optional import when_used

ray = when_used("ray")
pytestmark = pytest.mark.slow
SIZE, CLASSES, SPACE = 64, ("idle", "walk", "run"), "5" * 64
STORE_BYTES = 100 << 20


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes of one CPU each; of the memory of this machine they take little."""
    from ray.cluster_utils import Cluster

    made = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "object_store_memory": STORE_BYTES, "include_dashboard": False},
    )
    made.add_node(num_cpus=1, object_store_memory=STORE_BYTES)
    made.wait_for_nodes()
    yield made
    made.shutdown()


def rows(count: int) -> list[StoredStatistics]:
    """Stored reports, one of which cannot be read."""
    random = np.random.default_rng(1)
    made = []
    for number in range(count):
        codes = random.integers(-127, 128, (20, SIZE)).astype(np.int8)
        names = (*CLASSES, "own") if number % 7 == 0 else CLASSES
        table = Statistics.of(codes, random.integers(0, len(names), 20), names, SPACE)
        payload = StatisticsReport(f"d{number:04d}", 1, 1, table).encode(packed=False)
        made.append(StoredStatistics(f"d{number:04d}", 1, 1, SPACE, payload, 20))
    return [*made, StoredStatistics("unreadable", 1, 1, SPACE, b"nothing", -1)]


def test_a_whole_fleet_is_added_up_to_the_same_bits_while_a_node_is_killed(cluster: Any) -> None:
    every, aside = rows(3000), frozenset({("d0001", 1)})
    empty = PartialSum.create(SIZE, CLASSES, SPACE)
    here = LocalEngine().recount(every, empty, aside)
    second = cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES)
    cluster.wait_for_nodes()
    with RayEngine(EngineSettings(EngineKind.RAY, cluster.address)) as engine:
        there = engine.recount(every, empty, aside)
        assert (there.part.encode(), there.held, there.unreadable) == (
            here.part.encode(), here.held, here.unreadable,
        )  # fmt: skip
        assert engine.lost == 0

        def given_while_the_node_dies() -> Iterator[StoredStatistics]:
            for number, row in enumerate(every):
                if number == 1200:
                    # without a word, as a power cut
                    cluster.remove_node(second, allow_graceful=False)
                yield row

        again = engine.recount(given_while_the_node_dies(), empty, aside)
        assert engine.lost > 0
    assert (again.part.encode(), again.held, again.unreadable) == (here.part.encode(), here.held, here.unreadable)


def test_robust_rules_give_the_same_bits(cluster: Any) -> None:
    random = np.random.default_rng(2)
    updates = random.normal(size=(60, 5000)).astype(np.float32)
    here = LocalEngine()
    with RayEngine(EngineSettings(EngineKind.RAY, cluster.address)) as engine:
        assert engine.median(updates).tobytes() == here.median(updates).tobytes()
        assert engine.trimmed_mean(updates, 0.2).tobytes() == here.trimmed_mean(updates, 0.2).tobytes()
        assert engine.krum_scores(updates, 10).tobytes() == here.krum_scores(updates, 10).tobytes()


def test_a_server_whose_sums_are_lost_makes_them_anew_on_the_cluster(cluster: Any) -> None:
    policy = Policy(publish_interval_s=0.0, prior_devices_min=0)
    store = MemoryStore()
    fleet = Fleet(policy, store)
    fleet.send(*(statistics_message(f"d{number}", 1, 1, tables(5 + number, number)) for number in range(9)))
    before = fleet.core.statistics
    with store.transaction():
        store.rows(SUMS).remove()
    from aggregator.core import Aggregator
    from tests.aggregator.fleets import FLEET, model

    with RayEngine(EngineSettings(EngineKind.RAY, cluster.address)) as engine, store.transaction():
        core = Aggregator(FLEET, model(), replace(policy), store, engine=engine)
        assert core.statistics == before


def test_what_listens_and_is_no_cluster_keeps_no_server_from_starting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aggregator.engine.on_ray.TRIAL_S", 5.0)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        settings = EngineSettings(EngineKind.RAY, f"127.0.0.1:{deaf.getsockname()[1]}")
        with pytest.raises(ConflictError, match="it let nobody in within 5 s"):
            RayEngine(settings)
        with engine_of(settings) as engine:
            assert isinstance(engine, LocalEngine)
    with pytest.raises(ConflictError, match="no Ray cluster at nowhere: .*Invalid address"):
        RayEngine(EngineSettings(EngineKind.RAY, "nowhere"))


def test_without_its_cluster_a_server_starts_all_the_same_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    settings = EngineSettings(EngineKind.RAY, "127.0.0.1:1")
    with pytest.raises(ConflictError, match="no Ray cluster"):
        RayEngine(settings)
    with engine_of(settings) as engine:
        assert isinstance(engine, LocalEngine)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "no Ray cluster at 127.0.0.1:1" in caplog.text
