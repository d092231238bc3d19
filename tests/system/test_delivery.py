"""Bundles over the air, with the real programs: same space, another space, and one that fails on trial."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_agent.pipeline import Pipeline
from edge_agent.runtime import open_runtime
from headway.bundle.variant import Variant, read_variant
from headway.wire.topics import space_name
from testbed.broker import Broker
from tests.system.commands import in_this_process, output_of
from tests.system.conftest import Device, wait_until
from tests.system.make_model import CLASSES, data
from tests.system.test_agent import expected, learned
from tests.system.test_fleet import heads_of, solved_in_one_place

pytestmark = [pytest.mark.system, pytest.mark.broker]
NewDevice = Callable[..., Device]
StartAggregator = Callable[[Broker], "subprocess.Popen[bytes]"]
TRIAL = "[delivery]\ntrial_s = 1.0\nanswer_timeout_s = 2\n"


def release(bundle: Path, number: int, change: Callable[[Variant], Variant] = lambda variant: variant) -> Path:
    """A later release of the bundle."""
    # several processes run tests, and share the bundle's folder
    path = bundle.parent / f"release-{number}-{os.getpid()}.hwb"
    replace(change(read_variant(bundle)), release=number, version=f"{number}.0.0").write(path)
    return path


def in_another_space(variant: Variant) -> Variant:
    """The same model with coarser codes: another feature space."""
    features = replace(variant.features, scale=variant.features.scale * np.float32(1.5))
    pipeline = Pipeline(replace(variant, features=features), open_runtime(variant))
    x, y = data(400, seed=1)
    codes = pipeline.features(x).codes
    space = features.fingerprint("coarser")
    source = type(variant.training_statistics).of(codes, y, CLASSES, space)
    return replace(variant, features=features, training_statistics=source, buffer=None)


def that_overflows(variant: Variant) -> Variant:
    """Right on its probe windows, which are all zero, and infinite on anything else."""
    channels = variant.input_shape[-1]
    preprocessing = replace(
        variant.preprocessing, offset=np.zeros(channels, np.float32), gain=np.full(channels, 3e38, np.float32)
    )
    zeros = np.zeros_like(variant.probe_inputs)
    embedding = open_runtime(variant).embed(zeros)
    return replace(variant, preprocessing=preprocessing, probe_inputs=zeros, probe_embedding=embedding)


@pytest.fixture
def fleet(tmp_path: Path) -> Callable[..., str]:
    """``edge-fleet`` commands on the aggregator's state, once it has any."""

    def run(*arguments: str, process: bool = False) -> str:
        wait_until(lambda: (tmp_path / "aggregator" / "aggregator.sqlite").exists(), "the aggregator's store")
        return output_of("edge-fleet", *arguments, "--state-dir", tmp_path / "aggregator", process=process)

    return run


def state_of(fleet: Callable[..., str], device: str, *, process: bool = False) -> dict[str, str]:
    lines = json.loads(fleet("deliveries", "--json", process=process))
    found: dict[str, str] = next((line for line in lines if line["device"] == device), {"runs": "-", "state": "-"})
    return found


def events_of(device: Device) -> str:
    return (device.folder / "log").read_text()


def taken_up(device: Device) -> int:
    """The version of the fleet's head that a device has."""
    result = in_this_process(["edge-agent", "status", device.config, "--json"])
    return int(json.loads(result.stdout)["fleet_head_version"]) if result.returncode == 0 else 0


def start(new_device: NewDevice, broker: Broker) -> Device:
    device = new_device("pump", broker, extra=TRIAL)
    device.start()
    return device


def test_a_new_release_takes_over_and_learning_goes_on(
    new_device: NewDevice,
    aggregator: StartAggregator,
    fresh_broker: Broker,
    bundle: Path,
    fleet: Callable[..., str],
) -> None:
    server = aggregator(fresh_broker)
    device = start(new_device, fresh_broker)
    x, y = data(48, seed=21)
    device.drop("a", x=x[:16], y=y[:16])
    with heads_of(fresh_broker) as head:
        wait_until(lambda: (h := head()) is not None and h.samples == 16, "16 samples")
        out = fleet("deliver", str(release(bundle, 2)), "--all", process=True)
        assert out == "ordered tiny 2.0.0, release 2 for 1 device and every device that joins\n"
        device.drop("b", x=x[16:32], y=y[16:32])
        wait_until(lambda: state_of(fleet, "pump")["state"] == "there", "release 2 to be confirmed")
        device.drop("c", x=x[32:], y=y[32:])
        wait_until(lambda: (h := head()) is not None and h.samples == 48, "all 48 samples")
        found = head()
    assert found is not None
    assert found.head.kernel.tobytes() + found.head.bias.tobytes() == solved_in_one_place(bundle, x, y)
    assert state_of(fleet, "pump", process=True) == {"device": "pump", "ordered": "2", "runs": "2", "state": "there"}
    assert server.poll() is None
    assert device.stop() == 0
    assert learned(device, bundle) == expected(bundle, x, y)


def test_a_canary_of_another_space_and_the_others_both_learn_and_both_get_heads(
    new_device: NewDevice,
    aggregator: StartAggregator,
    fresh_broker: Broker,
    bundle: Path,
    fleet: Callable[..., str],
) -> None:
    server = aggregator(fresh_broker)
    canary, pump = (new_device(name, fresh_broker, extra=TRIAL) for name in ("canary", "pump"))
    other = release(bundle, 2, in_another_space)
    space = read_variant(other).space
    x, y = data(64, seed=23)
    for device in (canary, pump):
        device.start()
    with heads_of(fresh_broker) as main, heads_of(fresh_broker, space_name(space)) as new:
        wait_until(lambda: "canary" in fleet("devices"), "the canary to be known")
        fleet("deliver", str(other), "--devices", "canary")
        wait_until(lambda: state_of(fleet, "canary")["state"] == "there", "the canary to run release 2")
        canary.drop("a", x=x[:16], y=y[:16])
        pump.drop("a", x=x[16:32], y=y[16:32])
        wait_until(lambda: (h := new()) is not None and h.samples == 16, "a head of the canary's space")
        server.kill()
        server.wait()
        aggregator(fresh_broker)
        canary.drop("b", x=x[32:48], y=y[32:48])
        pump.drop("b", x=x[48:], y=y[48:])
        wait_until(lambda: (h := new()) is not None and h.samples == 32, "all samples of the canary")
        wait_until(lambda: (h := main()) is not None and h.samples == 32, "all samples of the others")
        heads = {"canary": new(), "pump": main()}
        for device, head in ((canary, heads["canary"]), (pump, heads["pump"])):
            wait_until(lambda: taken_up(device) == getattr(head, "version", 0), "its head")  # noqa: B023
    canaries, others = np.r_[0:16, 32:48], np.r_[16:32, 48:64]
    for name, file, rows in (("canary", other, canaries), ("pump", bundle, others)):
        found = heads[name]
        assert found is not None
        assert found.head.kernel.tobytes() + found.head.bias.tobytes() == solved_in_one_place(file, x[rows], y[rows])
    table = {row["space"]: row for row in json.loads(fleet("heads", "--json", process=True))}
    assert {(row["samples"], row["devices"], row["state"]) for row in table.values()} == {(32, 1, "served")}
    assert table[space]["bundle"] == "tiny 2.0.0"
    for device in (canary, pump):
        assert device.stop() == 0
        assert "message-refused" not in events_of(device)


def test_another_space_begins_anew_and_the_fleet_moves_there(
    new_device: NewDevice,
    aggregator: StartAggregator,
    fresh_broker: Broker,
    bundle: Path,
    fleet: Callable[..., str],
) -> None:
    aggregator(fresh_broker)
    device = start(new_device, fresh_broker)
    x, y = data(32, seed=22)
    device.drop("a", x=x[:16], y=y[:16])
    other = release(bundle, 2, in_another_space)
    with heads_of(fresh_broker) as head:
        wait_until(lambda: (h := head()) is not None and h.samples == 16, "16 samples")
        fleet("deliver", str(other), "--all")
        wait_until(lambda: state_of(fleet, "pump")["state"] == "there", "release 2 to be confirmed")
        device.drop("b", x=x[16:], y=y[16:])
        space = read_variant(other).space
        wait_until(
            lambda: (h := head()) is not None and h.space == space and h.samples == 16, "a head in the new space"
        )
        found = head()
    assert found is not None
    assert found.head.kernel.tobytes() + found.head.bias.tobytes() == solved_in_one_place(other, x[16:], y[16:])
    assert device.stop() == 0
    assert learned(device, bundle) == expected(bundle, x[:16], y[:16])  # kept with the old bundle


def test_a_bundle_that_fails_on_trial_goes_by_itself(
    new_device: NewDevice,
    aggregator: StartAggregator,
    fresh_broker: Broker,
    bundle: Path,
    fleet: Callable[..., str],
) -> None:
    aggregator(fresh_broker)
    device = new_device("pump", fresh_broker, extra=TRIAL.replace("trial_s = 1.0", "trial_s = 600.0"))
    device.start()
    x, y = data(32, seed=23)
    device.drop("a", x=x[:16], y=y[:16])
    wait_until(lambda: device.answers() == {"a"}, "an answer")
    wait_until(lambda: "pump" in fleet("devices"), "the device to be known")
    fleet("deliver", str(release(bundle, 2, that_overflows)), "--devices", "pump")
    wait_until(lambda: state_of(fleet, "pump")["state"] == "release 2 on trial", "the trial")
    device.drop("b", x=x[16:], y=y[16:])
    wait_until(lambda: "not finite" in state_of(fleet, "pump")["state"], "the roll-back")
    assert state_of(fleet, "pump")["runs"] == "1"
    wait_until(lambda: device.answers() == {"a", "b"}, "the file that failed to be answered by the old bundle")
    assert device.stop() == 0
    assert learned(device, bundle) == expected(bundle, x, y)


@pytest.mark.parametrize("killed", [False, True], ids=["in another space", "killed in the same space"])
def test_a_command_takes_a_device_back_to_the_bundle_and_the_space_before(
    new_device: NewDevice,
    aggregator: StartAggregator,
    fresh_broker: Broker,
    bundle: Path,
    fleet: Callable[..., str],
    killed: bool,
) -> None:
    """The result is told from the store of the other space, which never heard of the command. In the same space a start
    after the trial notes the release, and from then on refuses every older bundle but the one it is told to go back to.
    """
    aggregator(fresh_broker)
    device = start(new_device, fresh_broker)
    x, y = data(32, seed=25)
    device.drop("a", x=x[:16], y=y[:16])
    wait_until(lambda: "pump" in fleet("devices"), "the device to be known")
    fleet("deliver", str(release(bundle, 2) if killed else release(bundle, 2, in_another_space)), "--all")
    wait_until(lambda: state_of(fleet, "pump")["state"] == "there", "release 2 to be confirmed")
    if killed:
        device.kill()
        device.start()
    said = fleet("command", "pump", "roll-back", "release=2", "--wait-s", "60", process=True)
    assert said == "roll-back: done: release 2\n"
    wait_until(lambda: "was rolled back by command" in state_of(fleet, "pump")["state"], "the roll-back to be reported")
    assert state_of(fleet, "pump")["runs"] == "1"
    device.drop("b", x=x[16:], y=y[16:])
    wait_until(lambda: device.answers() == {"a", "b"}, "the old bundle's answer")
    assert json.loads(fleet("commands", "pump", "--json", process=True))[0]["state"] == "done"
    assert device.stop() == 0
    assert learned(device, bundle) == expected(bundle, x, y)


@pytest.mark.slow
def test_after_a_failed_trial_in_another_space_the_old_tables_go_on(
    new_device: NewDevice,
    aggregator: StartAggregator,
    fresh_broker: Broker,
    bundle: Path,
    fleet: Callable[..., str],
) -> None:
    """The old store lay still during the trial: it is no restored backup, and what it counts goes on from there."""
    aggregator(fresh_broker)
    device = new_device("pump", fresh_broker, extra=TRIAL.replace("trial_s = 1.0", "trial_s = 600.0"))
    device.start()
    x, y = data(48, seed=24)
    device.drop("a", x=x[:16], y=y[:16])
    with heads_of(fresh_broker) as head:
        wait_until(lambda: (h := head()) is not None and h.samples == 16, "16 samples")
        bad = release(bundle, 2, lambda variant: that_overflows(in_another_space(variant)))
        fleet("deliver", str(bad), "--devices", "pump")
        wait_until(lambda: state_of(fleet, "pump")["state"] == "release 2 on trial", "the trial")
        device.drop("b", x=x[16:32], y=y[16:32])
        wait_until(lambda: "not finite" in state_of(fleet, "pump")["state"], "the roll-back")
        device.drop("c", x=x[32:], y=y[32:])
        wait_until(lambda: (h := head()) is not None and h.samples == 48, "all 48 samples")
        found = head()
    assert found is not None
    assert found.head.kernel.tobytes() + found.head.bias.tobytes() == solved_in_one_place(bundle, x, y)
    assert device.stop() == 0
    assert learned(device, bundle) == expected(bundle, x, y)
    assert "cloned" not in events_of(device)


@pytest.mark.slow
def test_killed_on_trial_again_and_again_the_old_bundle_comes_back(
    new_device: NewDevice,
    aggregator: StartAggregator,
    fresh_broker: Broker,
    bundle: Path,
    fleet: Callable[..., str],
) -> None:
    aggregator(fresh_broker)
    device = new_device("pump", fresh_broker, extra=TRIAL.replace("trial_s = 1.0", "trial_s = 600.0"))
    device.start()
    wait_until(lambda: "pump" in fleet("devices"), "the device to be known")
    fleet("deliver", str(release(bundle, 2)), "--devices", "pump")
    pointer = device.folder / "state" / "slots" / "pointer.json"

    def starts() -> int:
        return int(json.loads(pointer.read_text())["starts"]) if pointer.exists() else 0

    for number in (1, 2, 3):
        wait_until(lambda number=number: starts() == number, f"start {number} on trial")  # type: ignore[misc]
        device.kill()
        device.start()
    wait_until(lambda: "3 starts came to nothing" in state_of(fleet, "pump")["state"], "the roll-back")
    assert state_of(fleet, "pump")["runs"] == "1"
    assert device.stop() == 0
