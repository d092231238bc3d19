"""Whatever is wrong with the URL of a database, its password is in no message, and the message is one line."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from aggregator.backup import file_of
from aggregator.config import read_settings
from aggregator.store.serving import ServingPlace
from aggregator.store.sql import SqlStore
from aggregator.store.working import WorkerStore
from headway.errors import ConfigError, HeadwayError

# nobody listens at port 1
NOBODY = "127.0.0.1:1/headway"
URLS = {
    f"postgresql://headway:s3cret@{NOBODY}": "Connection refused",
    f"postgresql://headway:s3cret%40%2F@{NOBODY}": "Connection refused",
    f"postgresql://headway:s3@cret@{NOBODY}": "more than one @",
    f"postgresql://headway:s3cret@s3cret@{NOBODY}": "more than one @",
    f"postgresql://{NOBODY}?user=headway&password=s3cret": "Connection refused",
    f"postgresql://headway@{NOBODY}?passwrd=s3cret": "passwrd",
    "postgresql://headway:s3cret": "is no URL",
    "postgresql:/headway:s3cret": "is no URL",
    "postgresql://headway:s3cret@127.0.0.1:1x/headway": "is no URL",
    "postgresql://headway:s3cret@127.0.0.1:99999/headway": "port",
    "headway:s3cret": "is no URL",
}
OPENED: dict[str, Callable[[str], object]] = {
    "a store": SqlStore,
    "the place": lambda url: ServingPlace(url).take(),
    "a worker": WorkerStore,
}


@pytest.mark.parametrize("opened", OPENED)
def test_no_part_of_a_password_is_said(opened: str) -> None:
    for url, said in URLS.items():
        with pytest.raises(HeadwayError, match=said) as refused:
            OPENED[opened](url)
        assert "cret" not in str(refused.value), url
        assert "\n" not in str(refused.value), url
        if said == "is no URL":
            # nothing that made it carries the password into a traceback
            assert refused.value.__suppress_context__
            assert refused.value.exit_code == ConfigError.exit_code


def test_a_backup_says_nothing_of_it_either() -> None:
    for url in URLS:
        with pytest.raises(ConfigError) as refused:
            file_of(url)
        assert "cret" not in str(refused.value), url


@pytest.mark.parametrize("url", ["postgresql://headway:s3cret" + "x" * 5000 + "@h/d", ["postgresql://u:s3cret@h/d"],
                                 ["postgresql://h/d?user=u&password=s3cret"], ["postgresql://u:a s3cret@h/d"],
                                 ["postgresql://h/d?password=a s3cret"]])  # fmt: skip
def test_a_setting_that_is_refused_is_shown_without_it(url: object) -> None:
    given = {("fleet", "name"): "f", ("bundle", "path"): "b", ("storage", "state_dir"): "s"}
    with pytest.raises(ConfigError, match="database_url") as refused:
        read_settings(None, given | {("storage", "database_url"): url})
    assert "s3cret" not in str(refused.value)
