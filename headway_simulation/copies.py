"""Draws what people do to disks and fleets: backups restored, cards copied, devices removed, servers set back."""

from __future__ import annotations

from collections.abc import Callable

from headway_simulation.device import DiskCopy, SimulatedDevice
from headway_simulation.faults import Stage
from headway_simulation.server import ServerCopy


class Copies:
    """Plans these for one run. clone: makes another machine of a disk's copy, whose files come until the end."""

    def __init__(self, stage: Stage, clone: Callable[[SimulatedDevice, DiskCopy], SimulatedDevice]) -> None:
        self._stage, self._clone = stage, clone
        self._chance = stage.scheduler.chance("copies")

    def plan(self) -> None:
        """Draw one to three of them."""
        chance, exact = self._chance, self._stage.server.policy.method == "exact"
        kinds: list[Callable[[], None]] = [self._backup, self._backup, self._cold, self._live, self._live]
        for _ in range(chance.choice((1, 1, 2, 3))):
            chance.choice(kinds)()
        if chance.random() < 0.25:
            self._at(self._time(), lambda: self._stage.server.remove(self._any().config.device))
        if exact and chance.random() < 0.3:
            self._server()

    def _backup(self) -> None:
        """A backup is made and, later, restored; the device may be cut off around either, and start again."""
        copies: list[tuple[SimulatedDevice, DiskCopy]] = []
        made_s, restored_s = sorted((self._time(), self._time()))

        def make() -> None:
            device = self._any()
            copies.append((device, device.copy_disk()))

        def restore() -> None:
            device, copy = copies[0]
            if not device.stopped_for_good:
                device.restore(copy)
                self._silent_runs(device)

        self._maybe_cut_off(made_s)
        self._at(made_s, make)
        self._at(restored_s, restore)

    def _cold(self) -> None:
        """A device is stopped and its disk copied; then both start, one after the other."""
        time_s = self._time()

        def make() -> None:
            device = self._any()
            device.stop()
            self._start(device, device.copy_disk())

        self._maybe_cut_off(time_s)
        self._at(time_s, make)

    def _live(self) -> None:
        """A running device's disk is copied, and it goes on without noticing."""
        time_s = self._time()

        def make() -> None:
            device = self._any()
            self._start(device, device.copy_disk())

        self._maybe_cut_off(time_s)
        self._at(time_s, make)

    def _start(self, original: SimulatedDevice, copy: DiskCopy) -> None:
        """The clone starts soon or late; either of the two may be kept from speaking for a while."""
        clone = self._clone(original, copy)
        delay_s = self._chance.choice((1.0, 600.0, 3600.0))
        silent = self._chance.choice((clone, original, None))
        if silent is not None:
            self._cut_off(silent, self._chance.expovariate(1 / 3000))
        self._stage.scheduler.after(delay_s, clone.boot)
        self._stage.scheduler.after(delay_s + 1.0, lambda: self._silent_runs(clone))

    def _silent_runs(self, device: SimulatedDevice) -> None:
        """Perhaps the device is cut off for a while, and starts again several times meanwhile."""
        if self._chance.random() < 0.5:
            return
        cut_s = self._chance.uniform(600, 3600)
        self._cut_off(device, cut_s)
        for _ in range(self._chance.randint(1, 3)):
            self._stage.scheduler.after(self._chance.uniform(0, cut_s), device.kill)

    def _maybe_cut_off(self, time_s: float) -> None:
        """Perhaps what is copied then holds labels that nobody was told of."""
        if self._chance.random() < 0.5:
            start_s = time_s - self._chance.uniform(0, 1800)
            length_s = time_s - start_s + self._chance.uniform(0, 600)
            self._at(start_s, lambda: self._cut_all_off(length_s))

    def _cut_off(self, device: SimulatedDevice, length_s: float) -> None:
        self._stage.broker.partition(device.name)
        self._stage.scheduler.after(length_s, lambda: self._stage.broker.heal(device.name))

    def _cut_all_off(self, length_s: float) -> None:
        for device in self._stage.devices:
            self._cut_off(device, length_s)

    def _server(self) -> None:
        """The aggregator's disk is copied, and later replaced by that copy."""
        copies: list[ServerCopy] = []
        made_s, restored_s = sorted((self._time(), self._time()))
        self._at(made_s, lambda: copies.append(self._stage.server.copy_disk()))
        self._at(restored_s, lambda: self._stage.server.restore(copies[0]))

    def _any(self) -> SimulatedDevice:
        return self._chance.choice(self._stage.devices)

    def _time(self) -> float:
        return self._chance.uniform(0, self._stage.duration_s)

    def _at(self, time_s: float, action: Callable[[], object]) -> None:
        self._stage.scheduler.at(time_s, action)  # type: ignore[arg-type]
