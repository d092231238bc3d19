"""What was taken out of the fleet on request: to which mark, by which record, and that it stays out."""

from aggregator.removals.marking import Marks, kept_before
from aggregator.removals.records import ForgottenEpoch, RemovalRecord, add_record, record_problems, records_of
from aggregator.removals.removing import Removals
from aggregator.removals.tombstones import REMOVALS_FOLDER, keep_out, records_in, write_records

__all__ = [
    "REMOVALS_FOLDER",
    "ForgottenEpoch",
    "Marks",
    "RemovalRecord",
    "Removals",
    "add_record",
    "keep_out",
    "kept_before",
    "record_problems",
    "records_in",
    "records_of",
    "write_records",
]
