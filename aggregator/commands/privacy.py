"""Implements ``edge-fleet privacy``: what heads wait for, and what is spent of the privacy budget."""

from __future__ import annotations

from aggregator.commands.moments import moment
from aggregator.heads import heads_left, heads_wait, multiplier, news_in, spent_epsilon, spent_in
from aggregator.policy import Policy
from aggregator.store import Store
from headway.fields import JsonValue, canonical_json


def show_privacy(store: Store, policy: Policy, as_json: bool) -> None:
    """Print it, for each feature space. Raises ConfigError without what noise needs."""
    with store.reading():
        spaces = [_space(store, name, policy) for name in store.spaces()]
    if as_json:
        print(canonical_json([*spaces]).decode())
        return
    settings = policy.privacy
    if not spaces:
        print("no report counts yet")
    for found in spaces:
        print(f"feature space {str(found['space'])[:12]}")
        if heads_wait(policy):
            news = f"{found['new_devices']} of {policy.head_devices_min} devices"
            print(f"  next head: {news} and {found['new_labels']} of {policy.head_labels_min} labels are new")
        else:
            print("  next head: follows from any report (publish.devices_min and labels_min are 1)")
        if not settings.wanted:
            print("  noise: none (privacy.epsilon is 0)")
            continue
        spent = f"{found['epsilon_spent']:.3g} of epsilon {settings.epsilon:g} at delta {settings.delta:g}"
        print(f"  noise: hides one {settings.unit}; {spent} is spent by {found['heads']} heads")
        last = f", the last of {moment(at_s)}" if isinstance(at_s := found["last_s"], float) and at_s else ""
        print(f"  {found['heads_left']} more heads{last}, one in {settings.interval_s:g} s at most")


def _space(store: Store, space: str, policy: Policy) -> dict[str, JsonValue]:
    devices, labels = news_in(store, space)
    found: dict[str, JsonValue] = {"space": space, "new_devices": devices, "new_labels": labels}
    if policy.privacy.wanted:
        rows = spent_in(store, space)
        found |= {
            "epsilon": policy.privacy.epsilon,
            "epsilon_spent": spent_epsilon(rows, policy.privacy),
            "noise_multiplier": multiplier(policy.privacy),
            "heads": sum(row.heads for row in rows),
            "heads_left": heads_left(rows, policy.privacy),
            "last_s": max((row.at_s for row in rows), default=0.0),
        }
    return found
