"""The commands of ``edge-fleet`` about what waits for a person; what they do is in inbox.py."""

from __future__ import annotations

from pathlib import Path

import click

from aggregator.commands.place_options import reached, with_place
from headway.command_line import Command, file_path, option
from headway.ports import SystemClock


@click.command("inbox", cls=Command)
@with_place
@option("--kind", default="", metavar="KIND", help="Only these: rollout, certificate, quarantine, drift, alert, labels")
@option("--device", default="", metavar="DEVICE", help="The windows whose class this device wants to know")
@option("--limit", type=int, default=100, show_default=True, metavar="N", limits="1 to 1,000", help="At most so many")
@option("--json", "as_json", is_flag=True, help="Print JSON")
def _inbox(config: Path | None, state_dir: str | None, kind: str, device: str, limit: int, as_json: bool) -> None:
    """Show what waits for a person, the most urgent first."""
    from aggregator.commands.inbox import show_inbox

    show_inbox(reached(config, state_dir), SystemClock(), kind, device, limit, as_json)


@click.command("label", cls=Command)
@with_place
@click.argument("device", metavar="DEVICE")
@click.argument("said", nargs=-1, metavar="[WINDOW CLASS | WINDOW=CLASS...]")
@option("--from", "file", type=file_path(), metavar="FILE", help="Labels from a CSV file with the columns window,class")
@option("--none", "is_none", is_flag=True, help="It is none of the device's classes; it is not asked about again")
@option("--skip", is_flag=True, help="Nobody wants to say; it is not asked about again")
@option("--undo", is_flag=True, help="Take back what was said; the device ends as without it, to the bit")
@option("--json", "as_json", is_flag=True, help="Print JSON")
def _label(
    config: Path | None, state_dir: str | None, device: str, said: tuple[str, ...], file: Path | None, is_none: bool,
    skip: bool, undo: bool, as_json: bool,
) -> None:  # fmt: skip
    """Tell a device what a window was, or what several were.

    A device that is away is told when it is back, within seven days; each label counts once. Of several, all
    are told or none: `edge-fleet label pump-7 w1=walk w2=run`, or `--from labels.csv`.
    """
    from aggregator.commands.inbox import label_window
    from aggregator.commands.labels_given import label_windows, several
    from aggregator.inbox import LabelAct

    given = {LabelAct.NONE: is_none, LabelAct.SKIP: skip, LabelAct.UNDO: undo}
    acts = [act for act, wanted in given.items() if wanted]
    labels = several(said, file, len(acts))
    fleet = reached(config, state_dir)
    if labels is not None:
        label_windows(fleet, device, labels, as_json)
        return
    window, class_name = (*said, "")[:2]
    label_window(fleet, device, window, class_name, acts, as_json)


COMMANDS: tuple[click.Command, ...] = (_inbox, _label)
