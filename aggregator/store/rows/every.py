"""Which collections there are: the stores have a table for each."""

from __future__ import annotations

from typing import Any

from aggregator.store.collection import Collection
from aggregator.store.rows.access import DONE_ACTS, TOKENS, USERS
from aggregator.store.rows.alerts import (
    ALERT_ACTS,
    ALERT_CHANNELS,
    ALERT_EVENTS,
    ALERT_RULES,
    ALERTS,
    SILENCES,
)
from aggregator.store.rows.audit import AUDIT
from aggregator.store.rows.commands import ASKED_WITH, DEVICE_COMMANDS, SUPPORTED_COMMANDS
from aggregator.store.rows.enrolment import CERTIFICATES, JOIN_CODES
from aggregator.store.rows.heads import (
    AVERAGING,
    HEAD_CANDIDATES,
    HEAD_FIELD,
    HEAD_GATES,
    HEAD_NEWS,
    HEAD_SPANS,
    HEAD_TRIALS,
)
from aggregator.store.rows.labels import (
    LABEL_ACTS,
    LABELS_WANTED,
    WANTED_LISTS,
)
from aggregator.store.rows.privacy import NOISY_ROUNDS, PRIVACY_SPENT
from aggregator.store.rows.quarantine import QUARANTINED, VOUCHED
from aggregator.store.rows.regions import REGIONS_BELOW
from aggregator.store.rows.registry import (
    DAYS,
    GROUPS,
    MEMBERS,
    PROPERTIES,
    SCORED_EPOCHS,
)
from aggregator.store.rows.removals import FORGET_REQUESTS, REMOVALS, STATISTICS_MARKS, TOLD_PRIORS
from aggregator.store.rows.rollouts import (
    ORDER_MODES,
    ROLLOUT_ACTS,
    ROLLOUT_DEVICES,
    ROLLOUTS,
    TRIALS,
)
from aggregator.store.rows.spaces import SPACES
from aggregator.store.rows.sums import RIPE, SUMS
from aggregator.store.rows.tallies import TALLIES
from aggregator.store.rows.twins import (
    SENT_SETTINGS,
    SETTINGS_PENDING,
    SETTINGS_REFUSED,
    SETTINGS_STATES,
    WANTED_SETTINGS,
)
from aggregator.store.rows.workers import APART, WORKER_CHANGES, WORKER_SUMS

# a collection is stored because it is named here; the conformance suite of the stores goes over it
EVERY: tuple[Collection[Any], ...] = (
    ALERTS,
    ALERT_ACTS,
    ALERT_CHANNELS,
    ALERT_EVENTS,
    ALERT_RULES,
    APART,
    ASKED_WITH,
    AUDIT,
    AVERAGING,
    CERTIFICATES,
    DAYS,
    DEVICE_COMMANDS,
    DONE_ACTS,
    FORGET_REQUESTS,
    GROUPS,
    HEAD_CANDIDATES,
    HEAD_FIELD,
    HEAD_GATES,
    HEAD_NEWS,
    HEAD_SPANS,
    HEAD_TRIALS,
    JOIN_CODES,
    LABELS_WANTED,
    LABEL_ACTS,
    MEMBERS,
    ORDER_MODES,
    NOISY_ROUNDS,
    PRIVACY_SPENT,
    PROPERTIES,
    QUARANTINED,
    REGIONS_BELOW,
    REMOVALS,
    RIPE,
    ROLLOUTS,
    ROLLOUT_ACTS,
    ROLLOUT_DEVICES,
    SCORED_EPOCHS,
    SENT_SETTINGS,
    SETTINGS_PENDING,
    SETTINGS_REFUSED,
    SETTINGS_STATES,
    SILENCES,
    SPACES,
    STATISTICS_MARKS,
    SUMS,
    SUPPORTED_COMMANDS,
    TALLIES,
    TOKENS,
    TOLD_PRIORS,
    TRIALS,
    USERS,
    VOUCHED,
    WANTED_LISTS,
    WANTED_SETTINGS,
    WORKER_CHANGES,
    WORKER_SUMS,
)
