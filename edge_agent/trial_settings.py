"""Settings of a new bundle's trial beside the one that serves."""

from __future__ import annotations

from dataclasses import dataclass

from headway.settings import boolean, integer, number


@dataclass(frozen=True, slots=True)
class TrialSettings:
    """A new bundle tried beside the one that serves, on this device's labels, when the server asks for it."""

    enabled: bool = boolean(True, doc="Try new bundles beside the one that serves when the server asks for it.")
    kept_bytes_max: int = integer(
        4 << 20,
        low=1024,
        high=1 << 30,
        doc="Bytes of windows kept during a trial until their label comes; beyond it the oldest go. As many again for "
        "what a trial keeps of the labels it has compared.",
    )
    kept_windows_max: int = integer(4096, low=1, high=1 << 20, doc="The same in number.")
    labels_max: int = integer(512, low=1, high=1 << 16, doc="Labels that one trial compares; it ignores later ones.")
    report_interval_s: float = number(
        30.0, low=0.1, high=86_400, doc="Seconds between two messages about how the trial goes."
    )
    window_s_max: float = number(
        5.0,
        low=0.1,
        high=60,
        doc="Seconds that the new bundle may take for one window; a bundle that takes longer fails.",
    )
