"""docs/howto/scale.md is true: its settings are those there are, its factors those that are reckoned with."""

from __future__ import annotations

import re
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest

from aggregator.config import read_settings
from headway.wire import TO_WORKERS, Kind, topic
from headway_simulation.meter import Load
from headway_simulation.sizing import SIZES, Costs, sized, table

PAGE = (Path(__file__).parents[2] / "docs" / "howto" / "scale.md").read_text()
# of ten devices in a day
LOAD = Load(
    labels=960, broker_in_mean_per_s=0.05, broker_out_mean_per_s=0.06, broker_peak_per_s=9,
    up_bytes_per_device_day=1e6, down_bytes_per_device_day=5e5, up_bytes_per_device_day_max=2e6,
    aggregator_messages_mean_per_s=0.05, aggregator_messages_peak_per_s=8, aggregator_commits=2000, heads=300,
    outbox_rows_peak=1, outbox_bytes_peak=1, converge_s=None,
    messages={"statistics": 864, "metrics": 864, "status": 20, "ack": 900},
)  # fmt: skip


def test_every_table_of_settings_is_read(tmp_path: Path) -> None:
    blocks = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 3
    for number, block in enumerate(re.sub(r"^   ", "", block, flags=re.MULTILINE) for block in blocks):
        file = tmp_path / f"{number}.toml"
        tomllib.loads(block)
        storage = "" if "[storage]" in block else "[storage]\n"
        state = block.replace("[storage]\n", '[storage]\nstate_dir = "."\n') if not storage else block
        more = '[storage]\nstate_dir = "."\n' if storage else ""
        file.write_text(f'[fleet]\nname = "plant"\n[bundle]\npath = "plant.hwb"\n{more}{state}')
        read_settings(file)


def test_the_access_list_lets_a_worker_hear_what_comes_to_workers() -> None:
    (block,) = re.findall(r"```acl\n(.*?)```", PAGE, re.DOTALL)
    for kind in TO_WORKERS:
        assert f"topic read {topic('FLEET', '+', kind)}\n" in block
    assert f"topic write {topic('FLEET', '+', Kind.ACK)}\n" in block


def test_the_pages_factors_are_those_that_are_reckoned_with() -> None:
    costs = Costs()
    for words in (
        f"| worker | {costs.worker_ms:g} ms", f"| database | {costs.database_ms:g} ms",
        f"| publisher | {costs.publisher_ms:g} ms", f"| broker | {costs.broker_ms:g} ms",
        f"| a message that is no report | {costs.other_ms:g} ms", f"| use of a core | {costs.core_share * 100:.0f} %",
        f"| stored of a device | {costs.stored_bytes / 1000:.0f} kB", f"| busiest time | {costs.peak:g} times",
        f"| devices of one broker | {costs.devices_per_broker:,}",
    ):  # fmt: skip
        assert words in PAGE, words
    names = [line[:34].strip() for line in table(LOAD, 10, 24.0, costs).splitlines()[:-4]]
    for name in names:
        assert f"\n{name}" in PAGE, name


def test_what_is_needed_grows_as_the_devices_do_and_no_publisher_is_overloaded() -> None:
    costs = Costs()
    sizes = [sized(LOAD, 10, 24.0, wanted, costs) for wanted in SIZES]
    assert sizes[0].reports_per_s == pytest.approx(864 / 86_400 / 10 * 10_000 * costs.peak)
    for smaller, larger in pairwise(sizes):
        assert larger.reports_per_s == pytest.approx(10 * smaller.reports_per_s)
        assert larger.worker_cores <= 10 * smaller.worker_cores
    assert all(size.publisher_busy <= costs.core_share for size in sizes)
    assert sizes[-1].regions > 1
