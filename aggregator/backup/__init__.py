"""Backups of the server: a consistent copy of what it must not lose in one file, and that file put back."""

from aggregator.backup.archive import Contents, checked_contents
from aggregator.backup.making import make_backup
from aggregator.backup.restoring import Restored, restore
from aggregator.backup.sqlite_file import file_of

__all__ = ["Contents", "Restored", "checked_contents", "file_of", "make_backup", "restore"]
