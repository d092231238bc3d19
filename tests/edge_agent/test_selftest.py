"""The self-test's process: what it finds, and every way in which it can end without an answer."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from edge_agent.delivery import selftest
from edge_agent.delivery.ports import Examined
from edge_agent.delivery.selftest import Subprocess, decode_examined, examine
from headway.errors import BundleError
from headway.ports import SystemClock
from tests.edge_agent.variants import IdentityRuntime, variant

GOOD = {"problem": "", "space": "5" * 64, "runtime": "identity", "latency_ms": 0.5}


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    variant().write(tmp_path / "model.hwb")
    return tmp_path / "model.hwb"


def program(folder: Path, text: str) -> str:
    """An interpreter that ignores its arguments and runs `text`."""
    path = folder / "python"
    path.write_text(f"#!{sys.executable}\n{text}\n")
    path.chmod(0o755)
    return str(path)


def outcome(bundle: Path, timeout_s: float = 30.0) -> Examined:
    clock = SystemClock()
    test = Subprocess(bundle, 1, None, timeout_s, clock)
    deadline_s = clock.monotonic_s() + 30.0
    while (found := test.poll()) is None:
        assert clock.monotonic_s() < deadline_s
    return found


def test_a_bundle_that_runs(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selftest, "open_runtime", lambda variant: IdentityRuntime())
    found = examine(bundle, 1, None, SystemClock())
    assert (found.problem, found.space, found.runtime) == ("", variant().space, "identity")
    assert found.latency_ms > 0


def test_an_older_release_is_no_candidate(bundle: Path) -> None:
    with pytest.raises(BundleError, match="release 1 is older than 2"):
        examine(bundle, 2, None, SystemClock())


def test_the_process_tells_why_a_bundle_does_not_run(bundle: Path) -> None:
    """The real process: no runtime can load a backbone that is the word "identity"."""
    found = outcome(bundle)
    assert "no runtime here can run bundle walk 1.0.0" in found.problem


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "the self-test's process ended with code -11"),
        ("raise SystemExit(3)", "the self-test's process ended with code 3 and said nothing"),
        ("print('no JSON')", "the self-test printed no result: the self-test's result is not valid JSON"),
        ("print('{}')", "the self-test printed no result: the self-test's result lacks 'problem'"),
        ("import time; time.sleep(60)", "the self-test took more than 0.5 s"),
    ],
)
def test_a_process_without_an_answer_fails_the_bundle(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, problem: str
) -> None:
    monkeypatch.setattr(sys, "executable", program(tmp_path, text))
    found = outcome(bundle, timeout_s=0.5 if "sleep" in text else 30.0)
    assert found.problem.startswith(problem)


def test_a_runtime_may_chatter_before_the_answer() -> None:
    answer = b"INFO: delegate created\n" + json.dumps(GOOD).encode() + b"\n"
    assert decode_examined(answer) == Examined("", "5" * 64, "identity", 0.5)
