"""Which servers' sums are in a report, so that none adds up its own once more. docs/protocol.md, 4.33.

It stands in the table `optional` of the metadata: who does not know it passes over it.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from headway.errors import RemoteError
from headway.fields import Fields
from headway.tensors import decode_metadata, decode_tensors, encode_tensors
from headway.wire.codec import REPORT_BYTES_MAX

# so many that one who sums up twenty regions of twenty is told whole
REGIONS_MAX = 500


def with_regions(payload: bytes, regions: Iterable[int]) -> bytes:
    """A report that says of which regions it is the sum, by their epochs; of more than REGIONS_MAX, the first ones.
    payload: as it was encoded. Raises RemoteError for what is no report."""
    arrays, metadata = decode_tensors(payload, "statistics", RemoteError, REPORT_BYTES_MAX)
    if not isinstance(metadata, dict):
        raise RemoteError("only a report can say of which regions it is the sum")
    return encode_tensors(arrays, {**metadata, "optional": {"regions": [*islice(regions, REGIONS_MAX)]}})


def regions_in(payload: bytes) -> tuple[int, ...]:
    """What such a report says; empty for that of a device. Raises RemoteError."""
    metadata = decode_metadata(payload, "statistics", RemoteError, REPORT_BYTES_MAX)
    told = Fields(metadata, "statistics metadata", RemoteError).optional()
    return told.integers("regions", count_max=REGIONS_MAX, default=())
