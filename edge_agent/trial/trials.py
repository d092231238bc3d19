"""Runs trials for the installer, which decides when one begins and ends, and says when there is something to tell."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge_agent.trial.reports import Reports
from edge_agent.trial.shadow import Shadow, TrialFailed, one_line
from edge_agent.trial.trial import Trial
from headway.bundle import Variant
from headway.errors import BundleError


class Trials:
    """Those of one device. served: the bundle that serves; read: opens a bundle's file; open_shadow: starts what runs
    its backbone. interval_s: between two reports, unless the state changes.
    """

    def __init__(
        self,
        trial: Trial,
        served: Variant,
        read: Callable[[Path], Variant],
        open_shadow: Callable[[Path], Shadow],
        interval_s: float,
    ) -> None:
        self._trial, self._served = trial, served
        self._read, self._open_shadow = read, open_shadow
        self._starting: tuple[str, Path, Shadow] | None = None
        self.reports = Reports(lambda: trial.report, interval_s)

    @property
    def trial(self) -> Trial:
        """The part of the agent that compares."""
        return self._trial

    def begin(self, sha256: str, bundle: Path) -> None:
        """Try this file, which was tested. Raises StoreError when no process can be started now."""
        self._starting = sha256, bundle, self._open_shadow(bundle)

    def poll(self) -> str:
        """Go on; returns why the bundle failed, or nothing. Does not wait."""
        if self._starting is not None:
            sha256, bundle, shadow = self._starting
            try:
                if not shadow.ready():
                    return ""
                self._starting = None
                self._trial.begin(sha256, self._served, self._read(bundle), shadow)
            except (TrialFailed, BundleError) as error:
                shadow.close()
                self._starting = None
                self._trial.fail(sha256, one_line(error))
        return self._trial.problem

    def refuse(self, sha256: str, problem: str) -> None:
        """This bundle cannot be tried here."""
        self.stop()
        self._trial.fail(sha256, problem)

    def end(self) -> None:
        """Nothing is to be tried any more."""
        self.stop()
        self._trial.end()

    def stop(self) -> None:
        """The process ends; the trial goes on after the next start."""
        if self._starting is not None:
            self._starting[2].close()
            self._starting = None
        self._trial.stop()
