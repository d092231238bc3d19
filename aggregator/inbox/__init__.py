"""What waits for a person: labels that devices want, and everything else that only somebody can decide."""

from aggregator.inbox.acting import LABEL_SECONDS, say
from aggregator.inbox.items import KINDS, InboxItem, InboxPage, Kind, count_waiting, inbox_page, news_of
from aggregator.inbox.reading import (
    ActState,
    LabelAct,
    WantedView,
    WantedWindow,
    plain_window,
    stands,
    wanted_view,
)
from aggregator.inbox.wishes import LabelWishes

__all__ = [
    "KINDS",
    "LABEL_SECONDS",
    "ActState",
    "InboxItem",
    "InboxPage",
    "Kind",
    "LabelAct",
    "LabelWishes",
    "WantedView",
    "WantedWindow",
    "count_waiting",
    "inbox_page",
    "news_of",
    "plain_window",
    "say",
    "stands",
    "wanted_view",
]
