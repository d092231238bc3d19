"""In which states a rollout, its stages and its devices are, and what an operator may want in each."""

from __future__ import annotations

from enum import StrEnum

from aggregator.rollouts.progress import DeviceState


class State(StrEnum):
    """Of a rollout."""

    RUNNING = "running"
    WAITS = "waits-for-approval"
    PAUSED = "paused"
    HALTED = "halted"
    ROLLING_BACK = "rolling-back"
    ROLLED_BACK = "rolled-back"
    DONE = "done"


class Phase(StrEnum):
    """Of a stage."""

    TRIAL = "trial"
    SWITCH = "switch"


class Act(StrEnum):
    """What an operator may want."""

    PAUSE = "pause"
    RESUME = "resume"
    APPROVE = "approve"
    HALT = "halt"
    ROLL_BACK = "roll-back"


OPEN = (State.RUNNING, State.WAITS, State.PAUSED, State.ROLLING_BACK)
# which acts a state takes
TAKES: dict[State, tuple[Act, ...]] = {
    State.RUNNING: (Act.PAUSE, Act.APPROVE, Act.HALT, Act.ROLL_BACK),
    State.WAITS: (Act.APPROVE, Act.PAUSE, Act.HALT, Act.ROLL_BACK),
    State.PAUSED: (Act.RESUME, Act.APPROVE, Act.HALT, Act.ROLL_BACK),
    State.HALTED: (Act.ROLL_BACK,),
    State.DONE: (Act.ROLL_BACK,),
    State.ROLLING_BACK: (Act.HALT,),
    State.ROLLED_BACK: (),
}
# what becomes of devices that are under way when it ends: their state, and what is said of it
UNDER_WAY = {
    DeviceState.ORDERED: (DeviceState.WAITING, ""),
    DeviceState.TRYING: (DeviceState.WAITING, ""),
    DeviceState.SENT: (DeviceState.WITHDRAWN, ""),
    DeviceState.RETURNING: (DeviceState.THERE, "it was not sent back after all"),
}
# what devices may still confirm when their rollout is over
LATE = {
    DeviceState.SENT: State.DONE, DeviceState.WITHDRAWN: State.HALTED, DeviceState.RETURNING: State.ROLLED_BACK,
}  # fmt: skip
