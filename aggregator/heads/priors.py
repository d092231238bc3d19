"""Answers devices that ask for a prior: the sum of the other devices' statistics.

What the asking device itself contributed, in whichever epoch, is subtracted, exactly: integers, no rounding.
"""

from __future__ import annotations

from aggregator.effects import Effect, Refused
from aggregator.heads.contributions import stored_report
from aggregator.heads.publisher import FleetModel, HeadPublisher
from aggregator.policy import Method, Policy
from aggregator.store import Store
from headway.ports import Outgoing
from headway.wire import MESSAGE_BYTES_MAX, TENSORS_TYPE, FleetPrior, Kind, PriorRequest, topic


class Priors:
    """Answers requests. Every method must run inside a transaction of the store."""

    def __init__(self, fleet: str, model: FleetModel, policy: Policy, store: Store, heads: HeadPublisher) -> None:
        self._fleet, self._model, self._policy, self._store, self._heads = fleet, model, policy, store, heads
        # for the many that contributed nothing yet: the same bytes until the next head is published
        self._known: tuple[int, bytes] | None = None

    def on_request(self, device: str, payload: bytes) -> list[Effect]:
        """The sum of the others' statistics, or nothing when too few devices are in it, or no more samples than
        the device has itself."""
        request = PriorRequest.decode(payload)
        if self._policy.method is not Method.EXACT:
            raise Refused("unused", "statistics are asked for in a fleet with method = average, which has none")
        if request.space != self._model.space:
            raise Refused("space", f"feature space {request.space[:12]} is not the bundle's, {self._model.space[:12]}")
        reports = map(stored_report, self._store.every_statistics(self._model.space, device))
        own = [report.statistics for report in reports if report is not None]
        others = self._store.contributor_count(self._model.space) - bool(own)
        least = self._policy.prior_devices_min
        if not least or others < least:
            return []
        total = self._heads.sum.without(device)
        if total.samples <= request.samples:
            return []
        version = self._heads.version
        if not own and self._known is not None and self._known[0] == version:
            encoded = self._known[1]
        else:
            encoded = FleetPrior(others, total).encode()
        if not own:
            self._known = version, encoded
        if len(encoded) > MESSAGE_BYTES_MAX:
            raise Refused("limit", f"the fleet's statistics have {len(encoded)} bytes, a message {MESSAGE_BYTES_MAX}")
        return [Outgoing(topic(self._fleet, device, Kind.PRIOR), encoded, content_type=TENSORS_TYPE)]
