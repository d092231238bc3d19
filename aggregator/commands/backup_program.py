"""The commands ``edge-fleet backup`` and ``restore`` and their options; what they do is in backup.py."""

from __future__ import annotations

from pathlib import Path

import click

from aggregator.commands.done import with_json
from aggregator.commands.place import Place
from aggregator.commands.place_options import server_elsewhere, with_place
from headway.command_line import Command, file_path, option
from headway.ports import SystemClock


@click.command("backup", cls=Command)
@with_place
@click.argument("file", type=file_path(), metavar="FILE")
@option("--with-keys", is_flag=True, help="Also the fleet's authority, which lets devices in; keep FILE secret")
@with_json
def _backup(config: Path | None, state_dir: str | None, file: Path, with_keys: bool) -> None:
    """Copy the store into FILE, also while the service runs."""
    from aggregator.commands.backup import back_up, download_backup

    server = server_elsewhere(config, state_dir)
    if server is not None:
        download_backup(server, file, with_keys)
    else:
        back_up(file, with_keys, Place(config, state_dir), SystemClock())


@click.command("restore", cls=Command)
@with_place
@click.argument("file", type=file_path(), metavar="FILE")
@with_json
def _restore(config: Path | None, state_dir: str | None, file: Path) -> None:
    """Put a backup in the place of the store.

    The service must be stopped. The old store is kept beside the new one.
    """
    from aggregator.commands.backup import restore_backup

    restore_backup(file, Place(config, state_dir), SystemClock())


COMMANDS: tuple[click.Command, ...] = (_backup, _restore)
