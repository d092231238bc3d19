"""What goes together, what a device needs of its libraries, and install / uninstall into a folder of its own."""

from __future__ import annotations

import os
import sys
from pathlib import Path, PurePosixPath

import pytest

from edge_agent.combinations import Combination, fitting_runtime
from edge_agent.installing import system
from edge_agent.installing.environment import is_needed
from edge_agent.installing.system import PLACES, PREFIX, Machine, carry_out, install_steps, uninstall_steps
from headway.errors import ConfigError, HeadwayError, RuntimeUnavailableError


@pytest.mark.parametrize(
    ("combination", "words"),
    [
        (Combination((3, 11), "aarch64", "ai-edge-litert"), None),
        (Combination((3, 13), "x86_64", "onnxruntime", "2.4.6"), None),
        (Combination((3, 11), "armv7l", "tflite-runtime", "1.26.4"), None),
        (Combination((3, 11), "x86_64", "tflite-runtime", "2.1.0"), "numpy<2, found 2.1.0: pip install 'numpy<2'"),
        (Combination((3, 13), "aarch64", "tflite-runtime", "1.26.4"), r"pip install 'headway\[litert\]'"),
        (Combination((3, 13), "armv7l", "tflite-runtime"), "this is 3.13; use Python 3.11"),
        (Combination((3, 11), "armv7l", "ai-edge-litert"), "no wheels for armv7l; use tflite-runtime"),
        (Combination((3, 11), "riscv64", "onnxruntime"), "riscv64; use a 64-bit system"),
        (Combination((3, 10), "x86_64", "ai-edge-litert"), "3.10 is not supported; use 3.11"),
        (Combination((3, 12), "x86_64", "ai-edge-litert", libc="musl"), "musl; use a system with glibc"),
    ],
)
def test_a_combination_that_cannot_work_says_so_in_one_line(combination: Combination, words: str | None) -> None:
    name = combination.runtime
    if words is None:
        assert combination.problem() is None
        assert fitting_runtime({name: combination}) == name
        return
    with pytest.raises(RuntimeUnavailableError, match=words) as caught:
        fitting_runtime({name: combination})
    assert "\n" not in str(caught.value)


def test_the_runtime_that_can_work_is_taken_whatever_else_is_installed() -> None:
    good = Combination((3, 13), "x86_64", "onnxruntime")
    bad = Combination((3, 13), "x86_64", "tflite-runtime")
    assert fitting_runtime({"tflite-runtime": bad, "onnxruntime": good}) == "onnxruntime"


@pytest.mark.parametrize(
    ("name", "needed"),
    [
        ("numpy/__init__.py", True),
        ("numpy/_core/tests/test_multiarray.py", False),
        ("numpy/_core/_multiarray_umath.cpython-311-x86_64-linux-gnu.so", True),
        ("numpy/f2py/rules.py", False),
        ("numpy/__init__.pyi", False),
        ("numpy/testing/__init__.py", True),
        ("numpy-2.4.6.dist-info/METADATA", True),
        ("numpy-2.4.6.dist-info/licenses/LICENSE.txt", True),
        ("numpy-2.4.6.dist-info/RECORD", False),
        ("ai_edge_litert/libLiteRtWebGpuAccelerator.so", False),
        ("ai_edge_litert/libLiteRt.so", True),
        ("ai_edge_litert/tools/mmap_utils.py", False),
        ("../../../bin/f2py", False),
    ],
)
def test_what_a_device_needs_of_its_libraries(name: str, needed: bool) -> None:
    assert is_needed(PurePosixPath(name)) == needed


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """An empty system; the interpreter of these tests may live where services see nothing."""
    monkeypatch.setattr(system, "HIDDEN_FROM_SERVICES", ("/nowhere/",))
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "group").write_text("root:x:0:\n")
    (tmp_path / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    return Machine(tmp_path)


def everything(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): b"" if path.is_symlink() else path.read_bytes()
        for path in root.rglob("*")
        if path.is_symlink() or path.is_file()
    }


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="systemd-tmpfiles gives folders to root")


def test_a_dry_run_says_every_step_and_does_none(machine: Machine) -> None:
    before = everything(machine.root)
    said = list(carry_out(install_steps(machine), dry_run=True))
    written = (PREFIX, *PLACES.values(), system.CONFIG, system.COMMAND, system.MANUAL, system.COMPLETION)
    for place in (*written, "systemd-sysusers", "systemd-tmpfiles"):
        assert [line for line in said if str(place) in line], place
    assert everything(machine.root) == before


@pytest.mark.slow
@needs_root
def test_installed_twice_and_purged(machine: Machine) -> None:
    root = machine.root
    told = list(carry_out(install_steps(machine), dry_run=True))
    assert not (root / "opt").exists()
    assert list(carry_out(install_steps(machine), dry_run=False)) == told
    site = next((root / "opt/headway/lib").glob("python*/site-packages"))
    assert {"edge_agent", "headway", "numpy", "paho", "safetensors"} <= {path.name for path in site.iterdir()}
    assert not any((site / name).exists() for name in ("converter", "aggregator", "headway_simulation", "pip"))
    assert list((site / "edge_agent").glob("__pycache__/cli.*.pyc"))
    assert (root / "usr/local/bin/edge-agent").readlink() == PREFIX / "bin/edge-agent"
    completion = root / "usr/local/share/bash-completion/completions/edge-agent"
    assert completion.read_text() == 'eval "$(edge-agent completion bash)"\n'
    assert (root / "usr/local/share/man/man1/edge-agent.1").read_text().startswith(".\\")
    assert "headway:" in (root / "etc/group").read_text()
    assert (root / "var/spool/headway/in").stat().st_mode & 0o7777 == 0o2770
    for name, place in PLACES.items():
        assert machine.at(place).read_text() == (system.files("edge_agent") / "systemd" / name).read_text()
    config = root / "etc/headway/agent.toml"
    config.write_text(config.read_text() + "# mine\n")
    state = root / "var/lib/edge-agent/agent.db"
    state.parent.mkdir(parents=True)
    state.write_bytes(b"what was learned")

    before = everything(root)
    list(carry_out(install_steps(machine), dry_run=False))
    assert {name: text for name, text in everything(root).items() if not name.endswith(".pyc")} == {
        name: text for name, text in before.items() if not name.endswith(".pyc")
    }
    list(carry_out(uninstall_steps(machine, purge=False), dry_run=False))
    assert not (root / "opt/headway").exists()
    assert config.exists()
    assert state.read_bytes() == b"what was learned"
    list(carry_out(uninstall_steps(machine, purge=True), dry_run=False))
    left = {name for name in everything(root) if not name.endswith("-") and "/.pwd.lock" not in name}
    assert not [name for name in left if "headway" in name or "edge-agent" in name], left
    assert "headway" not in (root / "etc/group").read_text()
    assert uninstall_steps(machine, purge=True) == []


def test_not_beside_the_debian_package(machine: Machine) -> None:
    listed = machine.at(system.PACKAGE)
    listed.parent.mkdir(parents=True)
    listed.touch()
    for steps in (install_steps, lambda found: uninstall_steps(found, purge=True)):
        with pytest.raises(ConfigError, match="headway-agent is installed here"):
            steps(machine)


def test_an_interpreter_that_services_cannot_see_is_refused(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "HIDDEN_FROM_SERVICES", (f"{Path(sys._base_executable).resolve().parents[1]}/",))
    with pytest.raises(ConfigError, match="hidden from services"):
        install_steps(machine)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_without_the_right_to_write_one_line_says_sudo(machine: Machine) -> None:
    machine.root.chmod(0o500)
    with pytest.raises(HeadwayError, match="run it with sudo"):
        list(carry_out(install_steps(machine), dry_run=False))
