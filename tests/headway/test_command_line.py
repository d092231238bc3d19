"""The programs of the server's side as a shell meets them: grouped help, completion, one line for a mistake."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable

import pytest

from aggregator.cli import main as edge_fleet
from converter.cli import main as edge_convert
from converter.options import Options
from headway.settings import entries
from tests.system.conftest import BIN

Main = Callable[[list[str]], int]


def completed(program: str, *words: str) -> list[str]:
    """What bash would be offered for the last word."""
    variable = f"_{program.upper().replace('-', '_')}_COMPLETE"
    typed = {variable: "bash_complete", "COMP_WORDS": " ".join((program, *words)), "COMP_CWORD": str(len(words))}
    done = subprocess.run([str(BIN / program)], capture_output=True, text=True, env=os.environ | typed, timeout=60)
    assert done.stderr == ""
    return [line.removeprefix("plain,") for line in done.stdout.splitlines()]


def told(main: Main, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(arguments) == 0
    return " ".join(capsys.readouterr().out.split())


def test_the_help_shows_every_option_of_a_conversion_once_with_default_and_limits(
    capsys: pytest.CaptureFixture[str],
) -> None:
    said = told(edge_convert, ["--help"], capsys)
    for entry in entries(Options):
        assert len(re.findall(rf"(?:^| ){re.escape(entry.key)}[ ,]", said)) >= 1, entry.key
    assert "[default: 0.5; 0 to 100 points]" in said
    assert "[default: none; one of none, median, ewma, low-pass, high-pass]" in said
    assert "[default: by-model; auto, by-model, or 0 to 65,536]" in said
    assert "[default: auto; auto, or 0 to 65,536]" in said
    groups = ("Commands:", "Needed:", "The bundle:", "Backbones:", "Preprocessing:", "Features:", "Options:")
    assert [said.index(group) for group in groups] == sorted(said.index(group) for group in groups)


def test_the_help_of_serve_shows_what_the_file_would_say(capsys: pytest.CaptureFixture[str]) -> None:
    said = told(edge_fleet, ["serve", "--help"], capsys)
    assert "[default: 1883; 1 to 65,535]" in said
    assert "[default: /var/lib/headway-aggregator]" in said


@pytest.mark.parametrize(
    ("main", "arguments", "message"),
    [
        (edge_fleet, [], "missing command; see edge-fleet --help"),
        (edge_fleet, ["sevre"], "no such command 'sevre'"),
        (edge_fleet, ["devices", "--jso"], "no such option '--jso'"),
        (edge_fleet, ["serve", "--port", "many"], "invalid value for '--port'"),
        (edge_fleet, ["--log-level", "loud", "devices"], "'loud' is not one of"),
        (edge_fleet, ["remove"], "missing argument 'DEVICE'; see edge-fleet remove --help"),
        (edge_convert, [], "missing option '-o' / '--out'; see edge-convert --help"),
        (edge_convert, ["m.onnx", "--out", "m.hwb"], "or a table alone: --from-csv DATA.csv"),
        (edge_convert, ["m.onnx", "n.onnx", "--data", "d", "--out", "o"], "unexpected extra argument (n.onnx)"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    main: Main, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert message in said.err
    assert said.err.count("\n") == 1


def test_a_shell_completes_commands_options_and_values() -> None:
    assert completed("edge-convert", "ve") == ["file,ve", "verify"]
    assert completed("edge-convert", "m.onnx", "--min-a") == ["--min-agreement"]
    assert completed("edge-convert", "--tr") == ["--trainable"]
    assert completed("edge-convert", "m.onnx", "--quantize", "none,i") == ["none,int8"]
    assert completed("edge-fleet", "deliv") == ["deliver", "deliveries"]
    assert completed("edge-fleet", "serve", "--method", "") == ["exact", "average"]
