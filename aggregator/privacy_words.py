"""What noise turns on and off, in words: the line that ``edge-fleet serve`` says at its start."""

from __future__ import annotations

from aggregator.policy import Method, Policy
from aggregator.privacy_policy import Unit

HIDDEN = {Unit.LABEL: "one label", Unit.DEVICE: "all labels of one device"}
OFF = (
    "sums told to new devices",
    "classes that devices added",
    "setting aside by comparison",
    "numbers of devices in heads",
)


def privacy_in_words(policy: Policy) -> str:
    """Of a policy with noise."""
    settings, averaging = policy.privacy, policy.averaging
    rounds = policy.method is Method.AVERAGE
    what, off = ("rounds", ["norm_factor", "samples_max", "round_s"]) if rounds else ("heads", ["weights by others"])
    budget = f"epsilon {settings.epsilon:g} at delta {settings.delta:g} for {HIDDEN[settings.unit]}"
    pace = f"{settings.heads_max} {what} together, one in {settings.interval_s:g} s at most"
    how = "noise on the sums that heads are solved from"
    if rounds:
        waiting = f"{policy.updates_per_device} updates of a device wait for it at most"
        how = (
            f"noise on the sum of each round, of updates_min = {averaging.updates_min} devices or all there are; every "
            f"device weighs the same, its update is shortened to clip_norm = {averaging.clip_norm:g} or less, {waiting}"
        )
    return f"privacy: {budget}, {pace}; {how}. Off: {', '.join([*off, *OFF])}"
