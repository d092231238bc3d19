"""The [mqtt] table: what it takes, and what it refuses in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from headway.errors import ConfigError
from headway.fields import Fields
from headway.mqtt.settings import MqttSettings
from headway.mqtt.tls import tls_context
from headway.settings import settings_from


def read(**table: object) -> MqttSettings:
    return settings_from(MqttSettings, Fields(table, "[mqtt] in agent.toml", ConfigError))


def test_port_443_with_alpn_and_a_client_certificate() -> None:
    settings = read(host="h", port=443, tls=True, alpn=["x-amzn-mqtt-ca"], cert_file="c", key_file="k")
    assert (settings.alpn, settings.port, settings.cert_file) == (("x-amzn-mqtt-ca",), 443, Path("c"))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"ca_file": "ca.pem"}, "ca_file is set but tls is false; add tls = true"),
        ({"alpn": ["mqtt"]}, "alpn is set but tls is false"),
        ({"tls": True, "cert_file": "c"}, "cert_file needs key_file beside it"),
        ({"password_file": "p"}, "password_file needs username beside it"),
        ({"websocket_path": "mqtt"}, "websocket_path 'mqtt' must start with '/'"),
        ({"reconnect_min_s": 9.0, "reconnect_max_s": 1.0}, "reconnect_max_s 1.0 is below reconnect_min_s"),
        ({"use_tls": True}, "unknown key 'use_tls'"),
    ],
)
def test_what_contradicts_itself_is_refused(table: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(**table)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="password_file .*none: No such file"):
        read(username="u", password_file=str(tmp_path / "none")).password()
    with pytest.raises(ConfigError, match=r"cannot use .*none\.pem for TLS: No such file"):
        tls_context(read(tls=True, ca_file=str(tmp_path / "none.pem")))
    (tmp_path / "text.pem").write_text("not a certificate")
    with pytest.raises(ConfigError, match=r"cannot use .*text\.pem for TLS"):
        tls_context(read(tls=True, ca_file=str(tmp_path / "text.pem")))


def test_the_password_is_the_files_text_without_the_newline(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("secret word\n")
    assert read(username="u", password_file=str(tmp_path / "password")).password() == "secret word"
