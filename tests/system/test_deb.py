"""The agent's Debian package, built from wheels and installed in a Debian tree of its own: slow, and needs root.

What is promised: it runs a bundle without any other package of Python, holds nothing of the server, keeps its state
over an upgrade, and leaves nothing when it is purged.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.architecture.rules import ROOT
from tests.system.make_model import data

INSTALLED_BYTES_MAX = 120_000_000
SUITES = {"deb12": "bookworm", "deb13": "trixie"}
TOOLS = ("mmdebstrap", "dpkg-deb", "unshare")

pytestmark = [
    pytest.mark.system,
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(any(shutil.which(tool) is None for tool in TOOLS), reason=f"needs {', '.join(TOOLS)}"),
]
PAGE = (ROOT / "docs" / "howto" / "raspberry-pi.md").read_text()


def inside(tree: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run in the tree, with a /proc, which systemd's tools need."""
    words = ["unshare", "--mount", "--pid", "--fork", f"--mount-proc={tree / 'proc'}", "chroot", str(tree), *command]
    return subprocess.run(words, capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL)


def succeed(tree: Path, *command: str) -> str:
    done = inside(tree, *command)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def files(tree: Path) -> set[str]:
    """Everything below the tree but what dpkg and the system's own tools keep and log."""
    kept = ("var/lib/dpkg/", "var/log/", "var/cache/", "root/", "proc/", "dev/", "run/", "tmp/")
    names = {str(path.relative_to(tree)) for path in tree.rglob("*") if not path.is_dir() or path.is_symlink()}
    return {name for name in names if not name.startswith(kept) and not name.endswith("-") and ".pyc" not in name}


@pytest.fixture(scope="module", params=SUITES)
def package_and_tree(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("debian")
    name = request.param
    command = [sys.executable, "-m", "scripts.deb", "headway-agent", name, "amd64", "--out", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500)
    assert built.returncode == 0, built.stderr
    archive = ROOT / ".cache" / f"debian-{name}.tar"
    if not archive.exists():
        archive.parent.mkdir(exist_ok=True)
        part = archive.with_suffix(".part.tar")
        include = "--include=python3,systemd,openssl,ca-certificates,passwd,libstdc++6"
        command = ["mmdebstrap", "--variant=minbase", include, SUITES[name], str(part)]
        subprocess.run(command, check=True, capture_output=True, timeout=900)
        part.rename(archive)
    tree = folder / "tree"
    tree.mkdir()
    subprocess.run(["tar", "-xf", str(archive), "-C", str(tree)], check=True)
    return Path(built.stdout.strip()), tree


def test_installed_used_upgraded_and_purged(package_and_tree: tuple[Path, Path], bundle: Path) -> None:
    package, tree = package_and_tree
    before = files(tree)
    shutil.copy(package, tree / "root" / "agent.deb")
    said = succeed(tree, "dpkg", "--install", "/root/agent.deb")
    assert "edge-agent init" in said
    environment = tree / "opt" / "headway"
    assert sum(path.lstat().st_size for path in environment.rglob("*")) <= INSTALLED_BYTES_MAX
    (site,) = environment.glob("lib/python3*/site-packages")
    held = {path.name for path in site.iterdir()}
    assert not held & {"pip", "setuptools", "converter", "aggregator", "headway_simulation", "tensorflow", "tqdm"}
    assert not list(site.rglob("tests")) + list(site.rglob("*WebGpu*"))
    modules = list((site / "edge_agent").rglob("*.py"))
    assert len(list((site / "edge_agent").rglob("*.pyc"))) == len(modules)

    shutil.copy(bundle, tree / "etc" / "headway" / "model.hwb")
    (command,) = re.findall(r"sudo (edge-agent init .*)", PAGE)
    assert "runs on ai_edge_litert" in succeed(tree, *shlex.split(command))
    config = (tree / "etc" / "headway" / "agent.toml").read_text()
    x, y = data(8, seed=2)
    np.savez(tree / "var" / "spool" / "headway" / "in" / "one.npz", x=x, y=y)
    succeed(tree, "edge-agent", "run", "/etc/headway/agent.toml", "--once")
    assert (tree / "var" / "spool" / "headway" / "predictions" / "one.npz").exists()
    state = {path: path.read_bytes() for path in (tree / "var" / "lib" / "edge-agent").rglob("*") if path.is_file()}
    assert state

    succeed(tree, "dpkg", "--install", "/root/agent.deb")
    assert {path: path.read_bytes() for path in state} == state
    assert (tree / "etc" / "headway" / "agent.toml").read_text() == config
    succeed(tree, "dpkg", "--remove", "headway-agent")
    assert not environment.exists()
    assert {path: path.read_bytes() for path in state} == state
    succeed(tree, "dpkg", "--purge", "headway-agent")
    assert files(tree) == before
    for folder in ("opt/headway", "etc/headway", "var/lib/edge-agent", "var/spool/headway"):
        assert not (tree / folder).exists(), folder
    assert "headway" not in (tree / "etc" / "group").read_text()
