"""Simulates a machine with one program: it boots, works, is killed or loses power, and boots again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from headway.errors import HeadwayError
from headway.ports import TransportEvent
from headway.wire import ALL, Kind, space_name, topic
from headway_simulation.broker import Broker
from headway_simulation.build import Build
from headway_simulation.clock import Scheduler, SimulatedClock
from headway_simulation.model import Model
from headway_simulation.network import Link, SimulatedTransport
from headway_simulation.power import Power, PowerCut
from headway_simulation.trace import Trace
from headway_simulation.tried_bundle import TriedBundle

WAKE_MIN_S, WAKE_MAX_S = 0.001, 0.05
EXIT_RESTART_S = 30.0


@dataclass(frozen=True, slots=True)
class Place:
    """What all machines of a run share. audited: histories are kept beside the devices, for the invariants. tried: the
    bundle that a rollout tries, if there is one. beside: what some of the devices run in a feature space of its own."""

    scheduler: Scheduler
    trace: Trace
    broker: Broker
    model: Model
    build: Build
    link: Link
    fleet: str = "simulated"
    audited: bool = True
    tried: TriedBundle | None = None
    beside: Model | None = None

    @property
    def models(self) -> dict[str, Model]:
        """By feature space, that of `model` first."""
        found = (self.model,) if self.beside is None else (self.model, self.beside)
        return {model.variant.space: model for model in found}

    def head_topic(self, space: str) -> str:
        """Where the fleet's head of a feature space is retained."""
        readers = ALL if space == next(iter(self.models)) else space_name(space)
        return topic(self.fleet, readers, Kind.HEAD)


class Machine(ABC):
    """Runs a program step by step; subclasses say what the program is.

    check: called after every step that the program survived.
    """

    def __init__(self, name: str, place: Place, check: Callable[[], None]) -> None:
        self.name, self.place = name, place
        self.power = Power()
        self.clock = SimulatedClock(place.scheduler)
        self.chance = place.scheduler.chance(f"machine/{name}")
        self.transport: SimulatedTransport | None = None
        self.inbox: deque[TransportEvent] = deque()
        self.running = False
        self.stopped_for_good = False
        self._check = check
        self._plan = 0

    def boot(self) -> None:
        """Start the program, if it does not run."""
        if self.running or self.stopped_for_good:
            return
        self.power.switch_on()
        self.trace("boots")
        self.running = True
        self.step(self.begin)

    def kill(self) -> None:
        """SIGKILL; the disk keeps what was written."""
        if self.running:
            self.trace("is killed")
            self._down(self.chance.uniform(1, 60))

    def cut_power(self, restart: bool = True) -> None:
        """The power fails between two events."""
        if self.running:
            self._without_power(restart)

    def stop(self) -> None:
        """SIGTERM, and a start later."""
        if self.running:
            self.trace("is stopped")
            self.step(self.end)
            if self.running:
                self._down(self.chance.uniform(1, 60))

    def trace(self, what: str) -> None:
        self.place.trace.add(self.place.scheduler.now_s, self.name, what)

    def step(self, action: Callable[[], None]) -> None:
        """Run a part of the program; it may be its last."""
        try:
            action()
        except PowerCut:
            self._without_power(restart=True)
        except HeadwayError as error:
            self.trace(f"exits: {error}")
            self._down(EXIT_RESTART_S)
        else:
            self._check()

    def wake_after(self, delay_s: float) -> None:
        """Plan the next turn; it replaces the one planned before."""
        self._plan += 1
        plan = self._plan

        def wake() -> None:
            if self.running and plan == self._plan:
                self.step(self.turn)

        # never quite at once: a time that rounding leaves just short of the plan must still pass
        self.place.scheduler.after(max(delay_s, WAKE_MIN_S), wake)

    def deliver(self, event: TransportEvent) -> None:
        """The network thread leaves an event; the program's own thread takes it a little later."""
        self.inbox.append(event)
        self.wake_after(self.chance.uniform(0, WAKE_MAX_S))

    @abstractmethod
    def begin(self) -> None:
        """Everything up to the first turn."""

    @abstractmethod
    def turn(self) -> None:
        """One turn of the program's loop; it plans the next."""

    @abstractmethod
    def end(self) -> None:
        """A clean goodbye."""

    @abstractmethod
    def disk_power_cut(self) -> None:
        """What the disk loses with the power."""

    def _without_power(self, restart: bool) -> None:
        self.trace("loses power")
        self.disk_power_cut()
        self.power.restore()
        self._down(self.chance.uniform(1, 600) if restart else None)
        self.clock.reboot()

    def _down(self, restart_s: float | None) -> None:
        self.running = False
        self.inbox.clear()
        if self.transport is not None:
            self.transport.abandon()
            self.transport = None
        self.forget()
        if restart_s is not None:
            self.place.scheduler.after(restart_s, self.boot)

    @abstractmethod
    def forget(self) -> None:
        """What was only in memory is gone."""
