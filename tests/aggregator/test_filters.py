"""Filters over devices: what they mean, on every store alike, and one line for each mistake."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aggregator.filters import CHARACTERS_MAX, parse_filter
from aggregator.registry import VOCABULARY, Request, put_filter_group, put_list_group
from aggregator.registry.listing import device_names
from aggregator.store import MemoryStore, RegistryRow, Store
from aggregator.store.rows import ATTRIBUTE, NOTE, PROPERTIES, QUARANTINED, TAG, PropertyRow, QuarantineRow
from aggregator.store.sql import SqlStore
from headway.errors import ConfigError
from headway.printable import is_printable

NOW_S = 1_000_000.0
HOUR_S = 3600.0
ROWS = [
    RegistryRow(
        "a", NOW_S - 90 * 86_400, NOW_S - 60.0, "online", NOW_S - HOUR_S, "good", bundle="watch", bundle_version="1.2",
        bundle_and_version="watch 1.2", labels=120, accuracy_gain=0.1, served_accuracy=0.9, disk_free_bytes=2 * 10**9,
        head="lda/source",
    ),
    RegistryRow(
        "b", NOW_S - 10.0, NOW_S - 3 * HOUR_S, "offline", NOW_S - 3 * HOUR_S, "degraded", bundle="watch",
        bundle_version="2.0", bundle_and_version="watch 2.0", labels=51, accuracy_gain=-0.05, served_accuracy=0.5,
        disk_free_bytes=10**6, temperature_c=71.5, refused=3, refused_s=NOW_S - 5.0,
    ),
    RegistryRow("c", NOW_S - 86_400.0, NOW_S - 2 * HOUR_S),
    RegistryRow(
        "d", NOW_S - 86_400.0, NOW_S, bundle="Pump 100%_", bundle_and_version="Pump 100%_", labels=50,
        accuracy_gain=-0.5, link="online",
    ),
]  # fmt: skip
TEXTS = [
    PropertyRow("a", TAG, "site", "north"),
    PropertyRow("b", TAG, "site", "south"),
    PropertyRow("b", TAG, "canary", ""),
    PropertyRow("c", ATTRIBUTE, "room-1", "cellar"),
    PropertyRow("d", NOTE, "", "screen 'cracked'; 100 % sure"),
]


def filled(store: Store) -> Store:
    with store.transaction():
        store.registry.put(ROWS)
        for text in TEXTS:
            store.rows(PROPERTIES).put(text)
        store.rows(QUARANTINED).put(QuarantineRow("c", 1, "no head", 0.0))
        put_list_group(store, "pilots", ["a", "c"], [], NOW_S)
        put_filter_group(store, "losing", "accuracy_gain < 0", NOW_S)
        put_filter_group(store, "losing-south", 'group == "losing" and tag.site == "south"', NOW_S)
    return store


@pytest.fixture(scope="module", params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    if request.param == "memory":
        yield filled(MemoryStore())
    else:
        database = SqlStore(f"sqlite:///{tmp_path_factory.mktemp('filters') / 'store.sqlite'}")
        yield filled(database)
        database.close()


def found(store: Store, text: str) -> str:
    with store.transaction():
        return "".join(device_names(store, Request(text), NOW_S))


@pytest.mark.parametrize(
    ("text", "devices"),
    [
        ('accuracy_gain < 0 and labels > 50 and bundle == "watch 2.0"', "b"),
        ('bundle == "watch"', "ab"),
        ('bundle != "watch"', "cd"),
        ('bundle_version in ("1.2", "2.0")', "ab"),
        ('bundle_version not in ("1.2", "2.0")', "cd"),
        ("labels >= 50", "abd"),
        ("labels > 50.5", "ab"),
        ("labels == 50", "d"),
        ("labels in (50, 51)", "bd"),
        ("accuracy_gain < 0", "bd"),
        ("not accuracy_gain < 0", "ac"),
        ("accuracy_gain != -0.05", "acd"),
        ("accuracy_gain == unknown", "c"),
        ("accuracy_gain != unknown", "abd"),
        ("accuracy_gain < -10%", "d"),
        ("served_accuracy >= 90%", "a"),
        ("silent_for > 2h", "b"),
        ("silent_for >= 2h", "bc"),
        ("silent_for < 2min", "ad"),
        ("silent_for < 60", "d"),
        ("known_for < 1min or known_for > 4w", "ab"),
        ("since_refusal < 1h", "b"),
        ("since_refusal == unknown", "acd"),
        ("not since_refusal < 1h", "acd"),
        ("disk_free < 500MB", "b"),
        ("disk_free > 1.5e9", "a"),
        ("temperature > 70", "b"),
        ('link == "online" and not health == "good"', "d"),
        ('link in ("offline", "unknown")', "bc"),
        ('tag.site == "north"', "a"),
        ('tag.site != "north"', "bcd"),
        ('tag.site in ("north", "south")', "ab"),
        ("tag.site", "ab"),
        ("not tag.site", "cd"),
        ("tag.site == unknown", "cd"),
        ("tag.canary", "b"),
        ('tag.canary == ""', "b"),
        ('tag.site contains "ort"', "a"),
        ('attribute.room-1 == "cellar"', "c"),
        ("quarantined", "c"),
        ("quarantined == false", "abd"),
        ("quarantined != true", "abd"),
        ("note", "d"),
        ('note contains "\'cracked\'"', "d"),
        ("note contains \"'cracked'; 100 %\"", "d"),
        ('bundle contains "100%_"', "d"),
        ('bundle contains "p%m"', ""),
        ('bundle contains "pump"', ""),
        ('bundle contains "ump"', "d"),
        ('bundle == ""', "c"),
        ("bundle == unknown", "c"),
        ('device in ("a", "d", "z")', "ad"),
        ('device contains "b"', "b"),
        ('group == "pilots"', "ac"),
        ('group != "pilots"', "bd"),
        ('group == "losing"', "bd"),
        ('group == "losing-south"', "b"),
        ('group in ("pilots", "losing-south") and labels > 0', "ab"),
        ("not (labels > 50 or quarantined)", "d"),
        ("labels > 50 and tag.canary or quarantined", "bc"),
        ("labels > 50 and (tag.canary or quarantined)", "b"),
        ("not not labels > 50", "ab"),
        ('head == "lda/source"', "a"),
        ("bundle == 'watch'", "ab"),
        (r'note == "a \" quote"', ""),
        ('bundle == "x\' or \'1\'=\'1"', ""),
        ('bundle == "x\\"; drop table registry; --"', ""),
    ],
)  # fmt: skip
def test_what_a_filter_finds(store: Store, text: str, devices: str) -> None:
    assert found(store, text) == devices


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the filter is empty; write a comparison"),
        ("labls > 3", "at character 1, 'labls > 3': there is no field labls; did you mean 'labels'?"),
        ("labels > 3 and", "at the end: the name of a field is missing; write for example"),
        ("labels > ", "at the end: a value is missing; write a number"),
        ("labels 3", "labels is compared with nothing; write labels == ..."),
        ("labels > 3 health == 1", "at character 12, 'health == 1': two comparisons side by side; join"),
        ("(labels > 3", "at the end: a parenthesis that is not closed; close it with )"),
        ("labels > 3)", "at character 11, ')': a parenthesis that nothing opened"),
        ("labels = 3", "at character 8, '= 3': no part of a filter; write == to compare"),
        ("labels > 3 && quarantined", "write and"),
        ("labels > 3 | quarantined", "write or"),
        ("!quarantined", "write not, or != to compare"),
        ('bundle == "watch', "the text has no closing quote"),
        ("bundle == “watch”", 'write straight quotes: "..."'),
        ("bundle == watch", "at character 11, 'watch': a text without quotes; write \"watch\""),
        ("bundle == 3", 'bundle is a text; write "3"'),
        ('bundle < "3"', "bundle is a text, which has no order"),
        ('labels > "3"', "labels is a number; write a number"),
        ('labels contains "3"', "labels is a number; write ==, !=, <"),
        ('link == "on"', 'link is never "on"; it is one of "online", "offline", "unknown"'),
        ("silent_for > 2 fortnights", "two comparisons side by side"),
        ("silent_for > 2fortnights", "'fortnights' is no unit of silent_for; write a number, in a duration or"),
        ("labels > 3%", "'%' is no unit of labels"),
        ("disk_free < 3 or tag", "tag needs a name; write for example tag.site"),
        ("tag.site > 3", 'tag is a text; write ==, !=, in or contains and a "text"'),
        ("tag.site == 3", "tag is a text"),
        ("tag.a.b == 'x'", "there is no field tag.a.b"),
        ("tags.site == 'x'", "there is no field tags.site"),
        ("labels in 3", "a list is missing; write labels in"),
        ("labels in (3", "the list is not closed"),
        ("labels in ()", "a value is missing"),
        ("labels not 3", "a list is missing"),
        ("labels < unknown", "< with unknown; write == unknown"),
        ("quarantined > 3", "quarantined holds or does not; write quarantined or not quarantined"),
        ("group", "group is compared with nothing"),
        ("group contains 'a'", "a group is one by its name"),
        ("and", "the name of a field is missing"),
        ("labels > 1e999", "a number that is too large"),
        ("labels > 3\x1b[2J", "a character that does not print; leave it out"),
        ("x" * (CHARACTERS_MAX + 1), f"the filter has {CHARACTERS_MAX + 1} characters; at most"),
        ("(" * 40 + "labels > 1" + ")" * 40, "more than 32 levels of parentheses and not"),
        ("not " * 40 + "labels > 1", "more than 32 levels"),
        ("labels in (" + ",".join("1" * 300) + ")", "more than 200 comparisons"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_with_its_place_and_the_fix(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_filter(text, VOCABULARY)
    assert message in str(caught.value)
    assert str(caught.value).isprintable()


def test_groups_that_are_not_there_or_mean_themselves_are_refused() -> None:
    store = filled(MemoryStore())
    with store.transaction(), pytest.raises(ConfigError, match="there is no group 'pilot'; did you mean 'pilots'"):
        device_names(store, Request('group == "pilot"'), NOW_S)
    for text in ('group == "loop" or labels > 3', 'not group == "through"'):
        with store.transaction():
            put_filter_group(store, "through", 'group == "losing"', NOW_S)
            put_filter_group(store, "loop", 'group == "through"', NOW_S)
        with store.transaction(), pytest.raises(ConfigError, match="means itself"):
            put_filter_group(store, "through", text.replace("through", "loop"), NOW_S)


def test_groups_of_groups_of_groups_are_bounded() -> None:
    store = filled(MemoryStore())
    with store.transaction():
        put_filter_group(store, "g0", "labels > 1", NOW_S)
        for level in range(5):
            put_filter_group(store, f"g{level + 1}", f'group == "g{level}" or not group == "g{level}"', NOW_S)
            if level == 3:
                with pytest.raises(ConfigError, match="comes to more than 50 groups"):
                    put_filter_group(store, "g5", 'group == "g4" or not group == "g4"', NOW_S)
                break


def refusal(text: str) -> str:
    """What is said of a text that is no filter; empty for one that is."""
    try:
        parse_filter(text, VOCABULARY)
    except ConfigError as error:
        return str(error)
    return ""


WORDS = st.sampled_from(
    ["labels", "bundle", "tag.site", "silent_for", "group", "note", "quarantined", "and", "or", "not", "in", "(", ")",
     ",", "==", "!=", "<", ">=", "contains", "3", "2h", "50%", "1e9", '"watch"', "'a'", "unknown", "true",
     "=", '"', "é"]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(WORDS, max_size=12).map(" ".join) | st.text(max_size=60))
def test_any_text_is_read_or_refused_in_one_line(text: str) -> None:
    assert is_printable(refusal(text))


NUMBERS = st.sampled_from(["labels", "accuracy_gain", "silent_for", "disk_free", "temperature", "refused"])
COMPARED = st.builds(
    "{} {} {}".format,
    NUMBERS,
    st.sampled_from(["==", "!=", "<", "<=", ">", ">="]),
    st.sampled_from(["0", "50", "51", "-0.05", "3600", "1e6"]),
) | st.builds("{} {} unknown".format, NUMBERS, st.sampled_from(["==", "!="]))
LEAVES = COMPARED | st.sampled_from(['tag.site == "south"', "tag.canary", 'group == "pilots"', "quarantined", "note"])
CONDITIONS = st.recursive(
    LEAVES,
    lambda inner: (
        st.builds("({} and {})".format, inner, inner)
        | st.builds("({} or {})".format, inner, inner)
        | st.builds("not {}".format, inner)
    ),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, Store]]:
    database = SqlStore(f"sqlite:///{tmp_path_factory.mktemp('both') / 'store.sqlite'}")
    yield filled(MemoryStore()), filled(database)
    database.close()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=CONDITIONS)
def test_memory_and_database_find_the_same(both: tuple[Store, Store], text: str) -> None:
    memory, database = both
    assert found(memory, text) == found(database, text)
    assert sorted(found(memory, text) + found(memory, f"not ({text})")) == list("abcd")


def test_every_field_reads_a_column_that_there_is() -> None:
    row = replace(ROWS[0])
    for field in VOCABULARY.fields.values():
        for column in field.columns:
            getattr(row, column)
