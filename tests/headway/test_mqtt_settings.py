"""The [mqtt] table: what it takes, and what it refuses in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from aggregator.commands.place import Place
from aggregator.config import read_settings
from edge_agent.config import read_config
from headway.errors import ConfigError
from headway.fields import Fields
from headway.mqtt.settings import MqttSettings
from headway.mqtt.tls import tls_context
from headway.settings import settings_from
from testbed.certificates import Authority


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
        ({"host": ""}, "host of mqtt is empty; name the broker, or leave the table out"),
        ({"host": "mqtt://broker:1883"}, "host of mqtt is 'mqtt://broker:1883'; give a name or an address alone"),
        ({"host": "broker\n"}, "host of mqtt is 'broker\\n'"),
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


FILES = ("password_file", "ca_file", "cert_file", "key_file")
AGENT = '[device]\nid = "a"\n[bundle]\npath = "m.hwb"\npublic_key = "k.pub"\n[storage]\nstate_dir = "s"\n'
AGGREGATOR = '[fleet]\nname = "f"\n[bundle]\npath = "m.hwb"\n[storage]\nstate_dir = "s"\n'
MQTT = '[mqtt]\nusername = "u"\ntls = true\n' + "".join(f'{name} = "secrets/{name}"\n' for name in FILES)


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory is not that of the configuration, `tmp_path`."""
    here = tmp_path / "elsewhere"
    here.mkdir()
    monkeypatch.chdir(here)
    return here


def test_every_path_of_a_configuration_counts_from_its_folder(tmp_path: Path, elsewhere: Path) -> None:
    (tmp_path / "agent.toml").write_text(AGENT + MQTT)
    (tmp_path / "aggregator.toml").write_text(AGGREGATOR + MQTT)
    agent, server = read_config(Path("../agent.toml")), read_settings(Path("../aggregator.toml"))
    assert agent.mqtt is not None
    for settings in (agent.mqtt, server.mqtt):
        assert [getattr(settings, name) for name in FILES] == [tmp_path / "secrets" / name for name in FILES]
    assert (agent.bundle, agent.state_dir, agent.public_key) == (
        tmp_path / "m.hwb",
        tmp_path / "s",
        tmp_path / "k.pub",
    )
    assert (agent.sensor.spool_dir, agent.sensor.predictions_dir) == (tmp_path / "spool", tmp_path / "predictions")
    assert (server.bundle, server.state_dir) == (tmp_path / "m.hwb", tmp_path / "s")
    with pytest.raises(ConfigError, match=str(tmp_path / "secrets" / "password_file")):
        agent.mqtt.password()


def test_an_option_of_the_command_counts_from_where_it_runs(tmp_path: Path, elsewhere: Path) -> None:
    (tmp_path / "aggregator.toml").write_text(AGGREGATOR)
    place = Place(Path("../aggregator.toml"), "mine")
    assert place.settings("other.hwb", None, None, None, None, None).bundle == elsewhere / "other.hwb"
    assert place.folder() == elsewhere / "mine"


def test_what_is_only_where_it_was_looked_for_before_is_taken_with_a_warning(
    tmp_path: Path, elsewhere: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "aggregator.toml").write_text(
        AGGREGATOR + '[mqtt]\nusername = "u"\npassword_file = "p"\nca_file = ""\n'
    )
    (elsewhere / "s").mkdir()
    (elsewhere / "p").write_text("secret")
    settings = read_settings(tmp_path / "aggregator.toml")
    assert (settings.state_dir, settings.mqtt.password(), settings.mqtt.ca_file) == (elsewhere / "s", "secret", None)
    assert caplog.text.count("write the whole path") == 2
    (tmp_path / "p").write_text("newer")
    assert read_settings(tmp_path / "aggregator.toml").mqtt.password() == "newer"


def test_an_empty_password_file_and_a_key_with_a_passphrase_are_named(tmp_path: Path) -> None:
    (tmp_path / "p").write_text("\n")
    with pytest.raises(ConfigError, match=r"password_file .*/p is empty; write the password into it"):
        read(username="u", password_file=str(tmp_path / "p")).password()
    certificate, key = Authority(tmp_path).issue("wrist-1")
    locked = serialization.load_pem_private_key(key.read_bytes(), None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"word"),
    )
    key.write_bytes(locked)
    with pytest.raises(ConfigError, match="key_file needs a passphrase, and nobody is there to type it"):
        tls_context(read(tls=True, cert_file=str(certificate), key_file=str(key)))


def test_secrets_that_everybody_may_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("secret")
    settings = read(username="u", password_file=str(tmp_path / "password"))
    for mode, named in ((0o644, [tmp_path / "password"]), (0o640, []), (0o600, [])):
        (tmp_path / "password").chmod(mode)
        assert settings.readable_by_everybody() == named
    (tmp_path / "password").unlink()
    assert settings.readable_by_everybody() == []
