"""What a run knows of all its devices: whose each epoch is, the ledger of labels, and what operators have done."""

from __future__ import annotations

from dataclasses import dataclass, field

from headway_simulation.gates import Gates
from headway_simulation.head_trials import HeadTrials
from headway_simulation.history import Family, History, Violation
from headway_simulation.ledger import Ledger
from headway_simulation.operator import Operator
from headway_simulation.trust import Trust
from headway_simulation.wanted_settings import WantedSettings


@dataclass(slots=True)
class Lives:
    """Every epoch that any device of the fleet began, by (device, epoch): whose it is, and the ledger of its labels.

    operator: who gives them commands; settings: that are wanted of them; head_trials: of the fleet's heads; gates: what
    the server's gate does with heads; trust: who of them counts.
    """

    families: dict[tuple[str, int], Family] = field(default_factory=dict)
    ledger: Ledger = field(default_factory=Ledger)
    operator: Operator = field(default_factory=Operator)
    settings: WantedSettings = field(default_factory=WantedSettings)
    head_trials: HeadTrials = field(default_factory=HeadTrials)
    gates: Gates = field(default_factory=Gates)
    trust: Trust = field(default_factory=Trust)

    def enter(self, device: str, epoch: int, history: History) -> None:
        """A device says which epoch it lives in. Raises Violation when another disk's life had that name."""
        known = self.families.setdefault((device, epoch), history.family)
        if known is not history.family:
            raise Violation(f"epoch {epoch} of {device} was used by an earlier life")
