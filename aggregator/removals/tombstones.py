"""What was removed stays out, also of a store that knows nothing of it: an older one that was put back, or a new one.

Beside the store lies a folder with a file for each record. At each start both are compared: a record that the store
does not know is carried out once more, and one that the folder does not have is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from aggregator.beside_store import files_in, write_files
from aggregator.heads import take_out_at_once
from aggregator.removals.marking import forget_marks, kept_before
from aggregator.removals.records import RECORD_BYTES_MAX, ForgottenEpoch, RemovalRecord, digest
from aggregator.removals.renewing import ask_again
from aggregator.store import Store, StoredStatistics
from aggregator.store.rows import REMOVALS, RemovalRow
from headway.fields import JsonValue

REMOVALS_FOLDER = "removals"
# the record is a text in it, whose quotes are escaped
FILE_BYTES_MAX = 2 * RECORD_BYTES_MAX


def write_records(folder: Path, rows: Sequence[RemovalRow]) -> int:
    """A file for each record that has none yet, for the owner alone; how many were written. Raises StoreError."""
    return write_files(folder, _files(rows), "records of removals")


def records_in(folder: Path) -> list[RemovalRow]:
    """The records of a folder, by number; none where there is no folder. Raises StoreError for one that is damaged."""
    rows = []
    for file, fields in files_in(folder, FILE_BYTES_MAX):
        text, signature = fields.text("record", length_max=FILE_BYTES_MAX), fields.text("signature")
        fields.finish()
        rows.append(RemovalRow(RemovalRecord.decode(text, file).number, text, signature))
    return rows


def keep_out(store: Store, rows: Sequence[RemovalRow], fleet: str, now_s: float) -> int:
    """Carry out what this store does not know of, before anything is made of it; how many records those were.

    What is kept of an epoch is the mark that the record names, where this store has it, and nothing otherwise: rather
    too much is gone than too little. Who was asked to renew a prior is asked again. now_s: wall clock. Raises
    StoreError.
    """
    known = {digest(row.record) for row in store.rows(REMOVALS).all()}
    done = 0
    for row in rows:
        record = RemovalRecord.decode(row.record, f"removal {row.number}")
        if digest(row.record) in known or record.fleet != fleet:
            continue
        done += 1
        for epoch in record.epochs:
            _keep_out(store, record, epoch)
        if not record.since_s and not store.epochs(record.device):
            # as it was, with its name, tags and events; one that came back since has other epochs, and stays
            store.remove_device(record.device)
        ask_again(store, record, now_s)
        free = store.rows(REMOVALS).get(row.number) is None
        number = row.number if free else store.rows(REMOVALS).count() + 1
        store.rows(REMOVALS).put(RemovalRow(number, row.record, row.signature))
    return done


def _keep_out(store: Store, record: RemovalRecord, epoch: ForgottenEpoch) -> None:
    device = record.device
    stored = store.statistics(device, epoch.epoch)
    mark = None if stored is None or not record.since_s else kept_before(store, stored, record.since_s)
    store.remove_epoch(device, epoch.epoch)
    forget_marks(store, device, record.since_s, epoch.epoch)
    if epoch.space:
        take_out_at_once(store, epoch.space)
    if stored is None or mark is None or not mark.payload or mark.space != stored.space:
        return
    if mark.counter <= epoch.kept_counter:
        store.put_statistics(StoredStatistics(device, epoch.epoch, mark.counter, mark.space, mark.payload))


def _files(rows: Sequence[RemovalRow]) -> Iterator[tuple[str, dict[str, JsonValue]]]:
    for row in rows:
        # named by its digest, too: after a restore another record may have the same number
        yield f"{row.number:06d}-{digest(row.record)[:16]}.json", {"record": row.record, "signature": row.signature}
