"""Topics, messages and the documented settings fit what AWS IoT Core takes, as docs/howto/mqtt.md says."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from edge_agent.config import SyncSettings
from headway.errors import ConfigError
from headway.fields import Fields
from headway.mqtt import MqttSettings
from headway.mqtt.reason_codes import reason_of
from headway.names import checked_name
from headway.ports import NotSubscribed
from headway.settings import settings_from
from headway.wire import MESSAGE_BYTES_MAX, Kind, aggregator_subscriptions, device_subscriptions, space_name, topic
from headway.wire.bundle_transfer import CHUNK_BYTES_MAX
from tests.headway.scripted_broker import Step, connack, suback
from tests.headway.test_mqtt import running

# AWS IoT Core endpoints and quotas, and what its own SDK checks (AwsIotCoreDefaults)
PAYLOAD_BYTES, TOPIC_BYTES, SLASHES, CLIENT_ID_BYTES, TOGETHER = 128 * 1024, 256, 7, 128, 8
KEEPALIVE_S, SESSION_S, UNACKNOWLEDGED = (30, 1200), 7 * 86_400, 100
PAGE = (Path(__file__).parents[2] / "docs" / "howto" / "mqtt.md").read_text()
LONGEST = "a" * 64


def test_every_topic_fits_with_the_longest_names() -> None:
    checked_name(LONGEST, "device id")
    with pytest.raises(ConfigError):
        checked_name(LONGEST + "a", "device id")
    topics = [topic(LONGEST, each, kind) for each in (LONGEST, space_name("5" * 64)) for kind in Kind]
    topics += [*device_subscriptions(LONGEST, LONGEST, "5" * 64, labels=True), *aggregator_subscriptions(LONGEST)]
    assert max(len(each.encode()) for each in topics) <= TOPIC_BYTES
    assert max(each.count("/") for each in topics) <= SLASHES
    said = re.search(r"at most (\d+) bytes, (\d) slashes", PAGE)
    assert said is not None
    assert [int(said[1]), int(said[2])] == [
        max(len(each.encode()) for each in topics), max(each.count("/") for each in topics)
    ]  # fmt: skip


def test_every_payload_fits_and_the_largest_are_made_to() -> None:
    assert MESSAGE_BYTES_MAX <= PAYLOAD_BYTES
    assert CHUNK_BYTES_MAX < MESSAGE_BYTES_MAX
    assert SyncSettings().whole_bytes_max < MESSAGE_BYTES_MAX


def test_a_client_id_fits_where_the_names_do() -> None:
    assert len(f"{LONGEST}.{LONGEST}") == CLIENT_ID_BYTES + 1, "the page says to take a letter less"
    assert "127 letters together" in PAGE


def test_the_documented_settings_are_read_and_within_the_limits() -> None:
    section = PAGE.split("## AWS IoT Core")[1].split("## Other brokers")[0]
    block = re.search(r"```toml\n(.*?)```", section, re.DOTALL)
    assert block is not None
    table = tomllib.loads(block[1])["mqtt"]
    settings = settings_from(MqttSettings, Fields(table, "page", ConfigError))
    for each in (settings, MqttSettings()):
        assert KEEPALIVE_S[0] <= each.keepalive_s <= KEEPALIVE_S[1]
        assert each.session_expiry_s <= SESSION_S
        assert each.receive_max <= UNACKNOWLEDGED
    assert settings.reconnect_min_s >= 1.0


def test_no_more_than_eight_topics_are_asked_for_at_once_and_a_refusal_names_its_own() -> None:
    wanted = device_subscriptions("plant", "wrist-1", "5" * 64, labels=True)
    assert len(wanted) > TOGETHER
    rest = len(wanted) - TOGETHER
    codes = [1] * (rest - 1) + [135]
    script: list[Step] = ["connect", connack(0), "subscribe", suback(*[1] * TOGETHER), "subscribe", suback(*codes)]
    with running(script, subscriptions=wanted) as (_, events, _broker):
        assert events.wait_for(NotSubscribed) == NotSubscribed(wanted[-1], str(reason_of(135)))
