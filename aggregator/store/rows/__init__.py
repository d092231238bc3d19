"""Declares what the service keeps in collections, a module for each part of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headway.later import loaded_later

if TYPE_CHECKING:
    from aggregator.store.rows.access import DONE_ACTS, TOKENS, USERS, DoneActRow, TokenRow, UserRow
    from aggregator.store.rows.alerts import (
        ALERT_ACTS,
        ALERT_CHANNELS,
        ALERT_EVENTS,
        ALERT_RULES,
        ALERTS,
        SILENCES,
        AlertActRow,
        AlertChannelRow,
        AlertEventRow,
        AlertRow,
        AlertRuleRow,
        SilenceRow,
    )
    from aggregator.store.rows.audit import AUDIT, AuditRow
    from aggregator.store.rows.commands import (
        ASKED_WITH,
        DEVICE_COMMANDS,
        SUPPORTED_COMMANDS,
        AskedWithRow,
        CommandRow,
        SupportedCommandsRow,
    )
    from aggregator.store.rows.enrolment import CERTIFICATES, JOIN_CODES, CertificateRow, JoinCodeRow
    from aggregator.store.rows.every import EVERY
    from aggregator.store.rows.heads import (
        AVERAGING,
        HEAD_CANDIDATES,
        HEAD_FIELD,
        HEAD_GATES,
        HEAD_NEWS,
        HEAD_SPANS,
        HEAD_TRIALS,
        AveragingRow,
        HeadCandidateRow,
        HeadFieldRow,
        HeadGateRow,
        HeadNewsRow,
        HeadSpanRow,
        HeadTrialRow,
    )
    from aggregator.store.rows.labels import (
        LABEL_ACTS,
        LABELS_WANTED,
        WANTED_LISTS,
        LabelActRow,
        LabelsWantedRow,
        WantedListRow,
    )
    from aggregator.store.rows.privacy import NOISY_ROUNDS, PRIVACY_SPENT, NoisyRoundsRow, PrivacySpentRow
    from aggregator.store.rows.quarantine import (
        BY_HAND,
        EVERY_EPOCH,
        QUARANTINED,
        SUSPICIOUS,
        VOUCHED,
        QuarantineRow,
        VouchedRow,
    )
    from aggregator.store.rows.regions import REGIONS_BELOW, RegionBelowRow
    from aggregator.store.rows.registry import (
        ATTRIBUTE,
        DAYS,
        GROUPS,
        MEMBERS,
        NOTE,
        PROPERTIES,
        SCORED_EPOCHS,
        TAG,
        DayRow,
        GroupRow,
        MemberRow,
        PropertyRow,
        ScoredEpochRow,
    )
    from aggregator.store.rows.removals import (
        FORGET_REQUESTS,
        REMOVALS,
        STATISTICS_MARKS,
        TOLD_PRIORS,
        ForgetRequestRow,
        MarkRow,
        RemovalRow,
        ToldPriorRow,
    )
    from aggregator.store.rows.rollouts import (
        ORDER_MODES,
        ROLLOUT_ACTS,
        ROLLOUT_DEVICES,
        ROLLOUTS,
        TRIALS,
        OrderModeRow,
        RolloutActRow,
        RolloutDeviceRow,
        RolloutRow,
        TrialRow,
    )
    from aggregator.store.rows.spaces import SPACES, SpaceRow
    from aggregator.store.rows.sums import RIPE, SUMS, RipeRow, SumRow
    from aggregator.store.rows.tallies import TALLIES, TallyRow
    from aggregator.store.rows.twins import (
        DEVICE,
        FLEET,
        GROUP,
        SENT_SETTINGS,
        SETTINGS_PENDING,
        SETTINGS_REFUSED,
        SETTINGS_STATES,
        WANTED_SETTINGS,
        DeviceSinceRow,
        SentSettingsRow,
        SettingsStateRow,
        WantedSettingsRow,
    )
    from aggregator.store.rows.workers import (
        APART,
        HANDOVER,
        NO_REPORT,
        WORKER_CHANGES,
        WORKER_SUMS,
        ApartRow,
        Handover,
        WorkerChangeRow,
        WorkerSumRow,
    )

__all__ = [
    "ALERTS",
    "ALERT_ACTS",
    "ALERT_CHANNELS",
    "ALERT_EVENTS",
    "ALERT_RULES",
    "APART",
    "ASKED_WITH",
    "ATTRIBUTE",
    "AUDIT",
    "AVERAGING",
    "BY_HAND",
    "CERTIFICATES",
    "DAYS",
    "DEVICE",
    "DEVICE_COMMANDS",
    "DONE_ACTS",
    "EVERY",
    "EVERY_EPOCH",
    "FLEET",
    "FORGET_REQUESTS",
    "GROUP",
    "GROUPS",
    "HANDOVER",
    "HEAD_CANDIDATES",
    "HEAD_FIELD",
    "HEAD_GATES",
    "HEAD_NEWS",
    "HEAD_SPANS",
    "HEAD_TRIALS",
    "JOIN_CODES",
    "LABELS_WANTED",
    "LABEL_ACTS",
    "MEMBERS",
    "NOISY_ROUNDS",
    "NOTE",
    "NO_REPORT",
    "ORDER_MODES",
    "PRIVACY_SPENT",
    "PROPERTIES",
    "QUARANTINED",
    "REGIONS_BELOW",
    "REMOVALS",
    "RIPE",
    "ROLLOUTS",
    "ROLLOUT_ACTS",
    "ROLLOUT_DEVICES",
    "SCORED_EPOCHS",
    "SENT_SETTINGS",
    "SETTINGS_PENDING",
    "SETTINGS_REFUSED",
    "SETTINGS_STATES",
    "SILENCES",
    "SPACES",
    "STATISTICS_MARKS",
    "SUMS",
    "SUPPORTED_COMMANDS",
    "SUSPICIOUS",
    "TAG",
    "TALLIES",
    "TOKENS",
    "TOLD_PRIORS",
    "TRIALS",
    "USERS",
    "VOUCHED",
    "WANTED_LISTS",
    "WANTED_SETTINGS",
    "WORKER_CHANGES",
    "WORKER_SUMS",
    "AlertActRow",
    "AlertChannelRow",
    "AlertEventRow",
    "AlertRow",
    "AlertRuleRow",
    "ApartRow",
    "AskedWithRow",
    "AuditRow",
    "AveragingRow",
    "CertificateRow",
    "CommandRow",
    "DayRow",
    "DeviceSinceRow",
    "DoneActRow",
    "ForgetRequestRow",
    "GroupRow",
    "Handover",
    "HeadCandidateRow",
    "HeadFieldRow",
    "HeadGateRow",
    "HeadNewsRow",
    "HeadSpanRow",
    "HeadTrialRow",
    "JoinCodeRow",
    "LabelActRow",
    "LabelsWantedRow",
    "MarkRow",
    "MemberRow",
    "NoisyRoundsRow",
    "OrderModeRow",
    "PrivacySpentRow",
    "PropertyRow",
    "QuarantineRow",
    "RegionBelowRow",
    "RemovalRow",
    "RipeRow",
    "RolloutActRow",
    "RolloutDeviceRow",
    "RolloutRow",
    "ScoredEpochRow",
    "SentSettingsRow",
    "SettingsStateRow",
    "SilenceRow",
    "SpaceRow",
    "SumRow",
    "SupportedCommandsRow",
    "TallyRow",
    "TokenRow",
    "ToldPriorRow",
    "TrialRow",
    "UserRow",
    "VouchedRow",
    "WantedListRow",
    "WantedSettingsRow",
    "WorkerChangeRow",
    "WorkerSumRow",
]
WHERE = {
    "access": "DONE_ACTS DoneActRow TOKENS TokenRow USERS UserRow",
    "alerts": (
        "ALERTS ALERT_ACTS ALERT_CHANNELS ALERT_EVENTS ALERT_RULES AlertActRow AlertChannelRow AlertEventRow AlertRow "
        "AlertRuleRow SILENCES SilenceRow"
    ),
    "audit": "AUDIT AuditRow",
    "commands": "ASKED_WITH AskedWithRow CommandRow DEVICE_COMMANDS SUPPORTED_COMMANDS SupportedCommandsRow",
    "enrolment": "CERTIFICATES CertificateRow JOIN_CODES JoinCodeRow",
    "every": "EVERY",
    "heads": (
        "AVERAGING HEAD_GATES HEAD_NEWS AveragingRow HeadGateRow HeadNewsRow "
        "HEAD_CANDIDATES HEAD_FIELD HEAD_SPANS HEAD_TRIALS HeadCandidateRow HeadFieldRow HeadSpanRow HeadTrialRow"
    ),
    "labels": "LABELS_WANTED LABEL_ACTS LabelActRow LabelsWantedRow WANTED_LISTS WantedListRow",
    "privacy": "NOISY_ROUNDS PRIVACY_SPENT NoisyRoundsRow PrivacySpentRow",
    "quarantine": "BY_HAND EVERY_EPOCH QUARANTINED QuarantineRow SUSPICIOUS VOUCHED VouchedRow",
    "registry": (
        "ATTRIBUTE DAYS DayRow GROUPS GroupRow MEMBERS MemberRow NOTE PROPERTIES PropertyRow SCORED_EPOCHS "
        "ScoredEpochRow TAG"
    ),
    "regions": "REGIONS_BELOW RegionBelowRow",
    "rollouts": (
        "ORDER_MODES OrderModeRow ROLLOUTS ROLLOUT_ACTS ROLLOUT_DEVICES RolloutActRow RolloutDeviceRow RolloutRow "
        "TRIALS TrialRow"
    ),
    "removals": (
        "FORGET_REQUESTS ForgetRequestRow MarkRow REMOVALS RemovalRow STATISTICS_MARKS TOLD_PRIORS ToldPriorRow"
    ),
    "spaces": "SPACES SpaceRow",
    "sums": "RIPE RipeRow SUMS SumRow",
    "tallies": "TALLIES TallyRow",
    "twins": (
        "DEVICE DeviceSinceRow FLEET GROUP SENT_SETTINGS SETTINGS_PENDING SETTINGS_REFUSED SETTINGS_STATES "
        "SentSettingsRow SettingsStateRow WANTED_SETTINGS WantedSettingsRow"
    ),
    "workers": ("APART ApartRow HANDOVER Handover NO_REPORT WORKER_CHANGES WORKER_SUMS WorkerChangeRow WorkerSumRow"),
}
if not TYPE_CHECKING:
    __getattr__ = loaded_later(__name__, WHERE)
