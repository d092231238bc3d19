"""edge-agent init: the commented file with this device's values, checked before it is written."""

from __future__ import annotations

import socket
import tomllib
from pathlib import Path

import pytest

from edge_agent.cli import main
from edge_agent.config import read_config
from edge_agent.example import example, is_untouched, with_values, without_table
from edge_agent.installation import answer
from edge_agent.installing import first_configuration
from headway.errors import ConfigError
from tests.headway.bundles import small_variant


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle whose backbone is no model: what opens it is put in its place."""

    class Opened:
        name = "onnxruntime 1.23 float32"

    monkeypatch.setattr(first_configuration, "open_runtime", lambda variant: Opened())
    path = tmp_path / "model.hwb"
    path.write_bytes(small_variant().encode())
    return path


def init(tmp_path: Path, bundle: Path, *words: str) -> int:
    config = tmp_path / "agent.toml"
    return main(["init", "--config", str(config), "--bundle", str(bundle), "--device", "pump-7", *words])


def test_the_file_holds_the_values_and_every_comment_of_the_example(tmp_path: Path, bundle: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert init(tmp_path, bundle, "--fleet", "plant-1", "--broker", f"127.0.0.1:{port}") == 0
    config = read_config(tmp_path / "agent.toml")
    assert (config.device, config.fleet) == ("pump-7", "plant-1")
    assert config.mqtt is not None
    assert (config.state_dir, config.sensor.spool_dir) == (tmp_path / "state", tmp_path / "spool"), "no service's"
    assert config.sources == (), "an empty table is in force too, and most bundles take no rows"
    assert (config.mqtt.host, config.mqtt.port) == ("127.0.0.1", port)
    comments = [line for line in example().splitlines() if line.startswith("#")]
    assert [line for line in (tmp_path / "agent.toml").read_text().splitlines() if line.startswith("#")] == comments


def test_without_a_broker_no_table_is_in_force(tmp_path: Path, bundle: Path) -> None:
    assert init(tmp_path, bundle, "--broker", "") == 0
    assert read_config(tmp_path / "agent.toml").mqtt is None
    assert "#[mqtt]\n" in (tmp_path / "agent.toml").read_text()


def test_a_broker_that_is_away_is_said_and_the_file_is_written(
    tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert init(tmp_path, bundle, "--broker", f"127.0.0.1:{port}") == 0
    assert f"broker 127.0.0.1:{port} does not answer now" in capsys.readouterr().out


def test_an_edited_file_stays_unless_it_is_to_be_replaced(
    tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "agent.toml").write_text("# mine\n")
    assert init(tmp_path, bundle, "--broker", "") == 2
    assert "was edited before and stays; --replace" in capsys.readouterr().err
    assert (tmp_path / "agent.toml").read_text() == "# mine\n"
    assert init(tmp_path, bundle, "--broker", "", "--replace") == 0


def test_the_untouched_example_is_replaced(tmp_path: Path, bundle: Path) -> None:
    (tmp_path / "agent.toml").write_text(example())
    assert is_untouched(tmp_path / "agent.toml")
    assert init(tmp_path, bundle, "--broker", "") == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "nobody is there to ask; give --broker"),
        (("--broker", "host:port"), "HOST or HOST:PORT, not 'host:port'"),
        (("--broker", "", "--join", "https://x"), "--join and --code belong together"),
        (("--broker", "b", "--join", "https://x", "--code", "c"), "--broker or --join, not both"),
        (("--broker", "", "--device", "a b"), "id"),
    ],
)
def test_what_does_not_fit_is_said_and_nothing_is_written(
    tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    assert init(tmp_path, bundle, *words) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "agent.toml").exists()


def test_what_cannot_be_is_asked_again_until_nobody_is_there(
    tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    typed = iter(["none.hwb", str(bundle), "pump 7", "pump-7", "here:there", ""])
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda question: next(typed))
    assert main(["init", "--config", str(tmp_path / "agent.toml")]) == 0
    said = capsys.readouterr().out
    for problem in ("cannot read bundle none.hwb", "'pump 7'", "not 'here:there'"):
        assert problem in said
    assert read_config(tmp_path / "agent.toml").device == "pump-7"

    def ended(question: str) -> str:
        raise EOFError

    with pytest.raises(ConfigError, match="nobody is there to ask; give --bundle"):
        answer("--bundle", "bundle", "", lambda said: None, ask=ended)


def test_values_are_set_where_they_stand_and_nowhere_else() -> None:
    text = '[a]\n# port, say 1\n#port = 1\nhost = "x"\n\n[b]\n#port = 2\n'
    assert with_values(text, {"a.port": 5}) == text.replace("#port = 1", "port = 5")
    assert tomllib.loads(with_values(text, {"b.port": 5})) == {"a": {"host": "x"}, "b": {"port": 5}}
    with pytest.raises(ConfigError, match=r"no key size in \[b\]"):
        with_values(text, {"b.size": 1})
    with pytest.raises(ConfigError, match=r"no table \[c\]"):
        with_values(text, {"c.size": 1})
    assert tomllib.loads(without_table(text, "a")) == {"b": {}}
    idle = text.replace("[b]", "#[b]")
    assert tomllib.loads(with_values(idle, {"a.port": 5})) == {"a": {"host": "x", "port": 5}}
    assert tomllib.loads(with_values(idle, {"b.port": 5})) == {"a": {"host": "x"}, "b": {"port": 5}}


def test_a_place_that_cannot_be_written_is_said_before_a_code_is_spent(
    tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    words = ["--join", "https://localhost:1", "--code", "hw1-x", "--device", "pump-7"]
    assert main(["init", "--config", str(tmp_path / "file" / "agent.toml"), "--bundle", str(bundle), *words]) == 7
    assert "cannot make" in (said := capsys.readouterr().err)
    assert said.endswith("; run this with sudo, or give --config a file of your own\n")
