"""Implements ``edge-fleet privacy``: what heads wait for, and what is spent of the privacy budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from aggregator.commands.moments import moment
from aggregator.operations import privacy_views
from aggregator.policy import Policy
from aggregator.store import Store
from headway.fields import canonical_json

if TYPE_CHECKING:
    from headway_client import models


def privacy_here(store: Store, policy: Policy) -> list[models.PrivacyView]:
    """Of this machine's fleet. Raises ConfigError without what noise needs."""
    with store.reading():
        found: Any = [asdict(view) for view in privacy_views(store, policy)]
    told: list[models.PrivacyView] = found
    return told


def show_privacy(spaces: Sequence[models.PrivacyView], as_json: bool) -> None:
    """Print it, for each feature space."""
    if as_json:
        told: Any = [*spaces]
        print(canonical_json(told).decode())
        return
    if not spaces:
        print("no report counts yet")
    for found in spaces:
        print(f"feature space {found['space'][:12]}")
        if found["waits"] and not found["labels_min"]:
            print(f"  next head: {found['new_devices']} devices have sent updates, a round has {found['devices_min']}")
        elif found["waits"]:
            news = f"{found['new_devices']} of {found['devices_min']} devices"
            print(f"  next head: {news} and {found['new_labels']} of {found['labels_min']} labels are new")
        else:
            print("  next head: follows from any report (publish.devices_min and labels_min are 1)")
        if not found["epsilon"]:
            print("  noise: none (privacy.epsilon is 0)")
            continue
        spent = f"{found['epsilon_spent']:.3g} of epsilon {found['epsilon']:g} at delta {found['delta']:g}"
        print(f"  noise: hides one {found['unit']}; {spent} is spent by {found['heads']} heads")
        last = f", the last of {moment(found['last_s'])}" if found["last_s"] else ""
        print(f"  {found['heads_left']} more heads{last}, one in {found['interval_s']:g} s at most")
