"""Compares devices in one place, by all that the fleet holds of them: who contradicts the others, and who does not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping

from aggregator.core import Aggregator
from aggregator.heads import FleetSum, Outliers, joined_portrait
from aggregator.policy import Method, Policy
from headway.maths import Statistics
from headway_simulation.ledger import Content, Key
from headway_simulation.model import Model
from headway_simulation.server_disk import ServerStore
from headway_simulation.trust import Judgement, Trust


def judged(
    models: Mapping[str, Model], held: Mapping[Key, Content], aside: Collection[str], policy: Policy
) -> Judgement:
    """held: what the server holds of each epoch; aside: of whom nothing counts."""
    if policy.method is not Method.EXACT or policy.outliers.devices_min == 0:
        return Judgement()
    named, back = set[str](), set[str]()
    for space, model in models.items():
        source, parts = model.variant.training_statistics, defaultdict[str, list[Statistics]](list)
        for (device, _), content in held.items():
            if content.tables.space == space:
                parts[device].append(content.tables)
        tables = {device: sum(some[1:], some[0]) for device, some in parts.items()}
        outliers = Outliers(source, policy.shrinkage)
        portraits = {device: joined_portrait(map(outliers.portrait, some)) for device, some in parts.items()}
        if sum(bool(portrait.counts.any()) for portrait in portraits.values()) < policy.outliers.devices_min:
            continue
        counted = FleetSum(source, policy.shrinkage, policy.weighing, tables.__getitem__)
        for device in tables.keys() - aside:
            counted.replace(device, None, tables[device])
        weights = {device: counted.weight(device) for device in tables.keys() - aside}
        for device, finding in outliers.judge(portraits, weights, counted.weighed, tables.__getitem__).items():
            named |= {device} if finding.named else set()
            back |= {device} if finding.back else set()
    return Judgement(named, back)


class Views:
    """What the server held, and who was aside, at each moment at which the comparison at hand may have begun."""

    def __init__(self, models: Mapping[str, Model], policy: Policy) -> None:
        self._models, self._policy = models, policy
        self._earlier: list[tuple[Mapping[Key, Content], Collection[str]]] = []

    def committed(
        self,
        trust: Trust,
        store: ServerStore,
        removed: Collection[str],
        counted: Mapping[Key, Content],
        core: Aggregator | None,
    ) -> None:
        """The server has ended a transaction. counted: what it holds now. Raises Violation."""
        held = dict(counted)

        def judgements() -> Iterator[Judgement]:
            # by what is held now, then by what was held earlier, the last moment first
            for then, aside in [(held, trust.counted_without), *reversed(self._earlier)]:
                yield judged(self._models, then, aside, self._policy)

        trust.committed(store, removed, judgements)
        self._earlier.append((held, trust.counted_without))
        if core is None or not core.at_work:
            self._earlier.clear()
