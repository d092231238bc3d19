"""Answers devices that ask for a prior: the sum of the other devices' statistics, as `ToldSum` has it.

What the asking device itself contributed, in whichever epoch, is subtracted as it is in that sum, exactly: integers,
no rounding.
"""

from __future__ import annotations

from aggregator.effects import Effect, Refused
from aggregator.heads.fleet_model import FleetModel
from aggregator.heads.publisher import HeadPublisher
from aggregator.policy import Method, Policy
from aggregator.store import Store
from headway.ports import Outgoing
from headway.wire import MESSAGE_BYTES_MAX, TENSORS_TYPE, FleetPrior, Kind, PriorRequest, topic


class Priors:
    """Answers requests. Every method must run inside a transaction of the store."""

    def __init__(self, fleet: str, model: FleetModel, policy: Policy, store: Store, heads: HeadPublisher) -> None:
        self._fleet, self._model, self._policy, self._store, self._heads = fleet, model, policy, store, heads
        # for the many that contributed nothing yet: generation, bytes and samples of the sum that is told
        self._known: tuple[int, bytes, int] | None = None

    def on_request(self, device: str, request: PriorRequest) -> list[Effect]:
        """The sum of the others' statistics, or nothing when too few devices are in it, or no more samples than
        the device has itself."""
        if self._policy.method is not Method.EXACT:
            raise Refused("unused", "statistics are asked for in a fleet with method = average, which has none")
        if request.space != self._model.space:
            raise Refused("space", f"feature space {request.space[:12]} is not the bundle's, {self._model.space[:12]}")
        told, least = self._heads.told, self._policy.prior_devices_min
        if not least:
            return []
        told.advance()
        others = told.devices_besides(device)
        if others < least:
            return []
        own = told.contains(device)
        if own or self._known is None or self._known[0] != told.generation:
            total = told.without(device)
            encoded, samples = FleetPrior(others, total).encode(), total.samples
        else:
            _, encoded, samples = self._known
        if not own:
            self._known = told.generation, encoded, samples
        if samples <= request.samples:
            return []
        if len(encoded) > MESSAGE_BYTES_MAX:
            raise Refused("limit", f"the fleet's statistics have {len(encoded)} bytes, a message {MESSAGE_BYTES_MAX}")
        return [Outgoing(topic(self._fleet, device, Kind.PRIOR), encoded, content_type=TENSORS_TYPE)]
