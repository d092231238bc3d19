"""Does what a command says. Each action returns what came of it, or None where it is not done yet.

Nothing here commits: the result and the effect are saved together (remote_commands.py).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edge_agent.agent import Agent
from edge_agent.delivery import Installer
from edge_agent.effects import LabelCounts
from edge_agent.training import Training
from headway.class_changes import ClassChanges
from headway.errors import DataError
from headway.fields import Fields, JsonValue, nearest
from headway.maths import Task
from headway.ports import Clock
from headway.samples import UNLABELLED, class_index
from headway.wire import Command

WINDOWS_ASKED_MAX = 256

Detail = dict[str, JsonValue]


class Actions:
    """Of one device. sync: sends what else there is to tell; diagnose: tells of the device, in bounded bytes.

    installer: goes back to the bundle before; None: bundles do not come over the network here.
    """

    def __init__(
        self,
        clock: Clock,
        agent: Agent,
        training: Training,
        sync: Callable[[], None],
        diagnose: Callable[[], Detail],
        installer: Installer | None = None,
    ) -> None:
        self._installer = installer
        self._clock, self._agent, self._training = clock, agent, training
        self._sync, self._diagnose = sync, diagnose
        # labels that were learned when a training that goes on was asked for, by the command's id
        self._began_at: dict[str, int] = {}
        self._known: dict[str, Callable[[Command, Fields], Detail | None]] = {
            "sync-now": self._sync_now,
            "train-now": self._train_now,
            "ask-for-labels": self._ask_for_labels,
            "label": self._label,
            "undo-label": self._undo_label,
            "skip-window": self._skip_window,
            "restart": self._restart,
            "roll-back": self._roll_back,
            "renew-prior": self._renew_prior,
            "forget-class": self._forget_class,
            "diagnostics": self._diagnostics,
        }
        if installer is None:
            del self._known["roll-back"]
        self.restart = False

    @property
    def names(self) -> tuple[str, ...]:
        """Commands that this device can do."""
        return tuple(self._known)

    def do(self, command: Command) -> Detail | None:
        """Raises DataError where it cannot be done; then nothing has changed."""
        action = self._known.get(command.name)
        if action is None:
            raise DataError(f"this device knows no command {command.name!r}{nearest(command.name, self.names)}")
        fields = Fields(command.arguments, f"command {command.name}", DataError)
        return action(command, fields)

    def done_before(self, command: Command) -> Detail | None:
        """What came of a command whose effect was saved before its result could be; None where it was not done."""
        if command.name != "roll-back" or self._installer is None:
            return None
        release = self._installer.rolled_back_by(command.id)
        return None if release is None else {"release": release}

    def obstacle(self, command: Command) -> Detail:
        """Why a command was not done in time."""
        begun = self._began_at.pop(command.id, None)
        if begun is None:
            return {}
        waiting = len(self._agent.labelling.queue)
        return {"learned": self._agent.learner.labels - begun, "waiting": waiting, "problem": self._training.obstacle}

    def _sync_now(self, command: Command, fields: Fields) -> Detail:
        fields.finish()
        self._agent.uplink.hurry()
        self._agent.outbox.restart()
        self._sync()
        state = self._agent.sync_state
        return {"counter": state.counter, "acknowledged": state.acked}

    def _train_now(self, command: Command, fields: Fields) -> Detail | None:
        """Done when no label waits any more; how many are learned a turn is the policy's matter, as always."""
        fields.finish()
        begun = self._began_at.setdefault(command.id, self._agent.learner.labels)
        if len(self._agent.labelling.queue):
            self._training.demand()
            return None
        del self._began_at[command.id]
        return {"learned": self._agent.learner.labels - begun}

    def _ask_for_labels(self, command: Command, fields: Fields) -> Detail:
        count = fields.integer("count", 16, low=1, high=WINDOWS_ASKED_MAX)
        fields.finish()
        return {"windows": list[JsonValue](self._agent.event_log.ask(self._clock.wall_s(), count))}

    def _label(self, command: Command, fields: Fields) -> Detail:
        """A label of a window that the device remembers, by name; as one that comes in a file of the spool."""
        window, name = fields.text("window"), fields.text("class")
        fields.finish()
        learner = self._agent.learner
        if learner.task is not Task.CLASSIFICATION:
            raise DataError(
                f"a command gives a class, but this model is for {learner.task}; put the label into the spool"
            )
        self._remembered(window)
        if name not in learner.classes or name in learner.removed:
            if not learner.settings.new_classes:
                known = tuple(each for each in learner.classes if each not in learner.removed)
                raise DataError(f"{name!r} is no class of this device{nearest(name, known)}")
            learner.names.check(ClassChanges(add=(name,)))
            self._agent.add_class(name)
        self._training.grant()
        counts = self._agent.label([window], np.array([learner.classes.index(name)]))
        self._agent.event_log.record(self._clock.wall_s())
        return {"label": outcome_of(counts)}

    def _undo_label(self, command: Command, fields: Fields) -> Detail:
        """Whatever was said of a window is taken back: the label, to the bit, or that nobody is to be asked again."""
        window = fields.text("window")
        fields.finish()
        readmitted = self._agent.labelling.wanted.readmit(window)
        self._remembered(window)
        counts = self._agent.label([window], np.array([UNLABELLED]))
        self._agent.event_log.record(self._clock.wall_s())
        return {"label": "asked-again" if readmitted and not counts.corrected else outcome_of(counts)}

    def _skip_window(self, command: Command, fields: Fields) -> Detail:
        """The device does not ask for the label of a window again; one that comes all the same is taken."""
        window = fields.text("window")
        fields.finish()
        self._remembered(window)
        self._agent.labelling.wanted.dismiss(window)
        return {}

    def _renew_prior(self, command: Command, fields: Fields) -> Detail:
        """What other devices had learned goes; another prior is asked for as by a device that was told none."""
        fields.finish()
        samples = self._agent.learner.prior_samples
        self._agent.prior_received(b"")
        self._agent.downlink.reconnected()
        return {"samples": samples}

    def _forget_class(self, command: Command, fields: Fields) -> Detail:
        """Labels of a class are taken back where the window's codes are still here; of the others it is said that they
        stay: sums over several windows cannot be taken apart."""
        name = fields.text("class")
        fields.finish()
        learner = self._agent.learner
        if learner.task is not Task.CLASSIFICATION or name not in learner.classes:
            raise DataError(f"{name!r} is no class of this device{nearest(name, learner.classes)}")
        if learner.trainer.statistics is None:
            raise DataError("a gradient learner has no sums from which a label could be taken out")
        index = learner.classes.index(name)
        remembered = self._agent.windows.labelled(len(self._agent.windows))
        ids = [each for each, window in remembered if class_index(window.label) == index]
        self._training.grant()
        counts = self._agent.label(ids, np.full(len(ids), UNLABELLED))
        self._agent.event_log.record(self._clock.wall_s())
        left = learner.trainer.statistics
        return {"forgotten": counts.corrected, "left": 0 if left is None else int(left.class_sums[-1, index])}

    def _remembered(self, window: str) -> None:
        if self._agent.windows.get(window) is None:
            raise DataError(f"this device does not remember window {window!r} (horizon_rows)")

    def _restart(self, command: Command, fields: Fields) -> Detail:
        fields.finish()
        self.restart = True
        return {}

    def _roll_back(self, command: Command, fields: Fields) -> Detail:
        """The bundle that runs is not tried again on this device, as after a trial that failed."""
        release = fields.integer("release", low=0) if fields.has("release") else None
        fields.finish()
        if self._installer is None:
            raise DataError("no bundle comes over the network here, so there is none to go back to")
        found = self._installer.roll_back(command.id, release)
        self.restart = True
        return {"release": found}

    def _diagnostics(self, command: Command, fields: Fields) -> Detail:
        fields.finish()
        return self._diagnose()


def outcome_of(counts: LabelCounts) -> str:
    """What became of one label."""
    names = ("learned", "waiting", "repeated", "corrected", "early", "unknown")
    return next((name for name in names if getattr(counts, name)), "unchanged")
