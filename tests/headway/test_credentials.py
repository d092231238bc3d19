"""Secrets that systemd hands over: the copy is read, and only where there is one."""

from __future__ import annotations

from pathlib import Path

import pytest

from headway.credentials import readable_copy
from headway.mqtt import MqttSettings


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the secrets, beside what systemd made of it."""
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "secrets_mqtt.password").write_text("from systemd\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    folder = tmp_path / "secrets"
    folder.mkdir()
    return folder


def test_the_copy_of_systemd_is_read(secrets: Path) -> None:
    settings = MqttSettings(host="broker", port=1883, username="pump-7", password_file=secrets / "mqtt.password")
    assert settings.password() == "from systemd"


def test_other_folders_and_files_without_a_copy_are_read_themselves(secrets: Path) -> None:
    for path in (secrets.with_name("elsewhere") / "mqtt.password", secrets / "other.password"):
        assert readable_copy(path) == path


def test_outside_a_service_nothing_changes(secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    assert readable_copy(secrets / "mqtt.password") == secrets / "mqtt.password"
