"""Builds the Debian packages into build/deb: the agent for each system and machine, and the server.

    make deb                                          # all of them
    python -m scripts.deb headway-agent deb12 amd64   # one

`--source FOLDER` packs another tree of ours, such as an earlier version of git's history, and `--version` calls the
package so. Wheels are fetched for the system they are meant for, whatever this machine is; python3 of the system runs
them.
"""

from __future__ import annotations

import argparse
import gzip
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path

from edge_agent.completion import LOADED_BY_BASH
from edge_agent.installing.environment import (
    LIBRARIES,
    OWN_PACKAGES,
    Layout,
    write_environment,
    write_own_metadata,
)

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "build" / "deb"
MAINTAINER = "Headway <https://github.com/headway-edge/headway>"
# what today's scripts call, and a tree of earlier has not
COMPILING = "edge_agent/installing/compiling.py"
# an agent of armv7 has no LiteRT, and tflite-runtime no wheel for its system's Python 3.13
RUNTIME = "ai-edge-litert"


@dataclass(frozen=True, slots=True)
class System:
    """One release of Debian; Raspberry Pi OS of the same number has the same Python and C library."""

    name: str
    python: tuple[int, int]
    glibc_minor: int


@dataclass(frozen=True, slots=True)
class Program:
    """One package. units: glob in systemd/."""

    name: str
    prefix: str
    command: str
    example: str
    units: tuple[str, ...]
    summary: str
    depends: str


@dataclass(frozen=True, slots=True)
class Source:
    """The tree that is packed, and what the package is called."""

    root: Path
    version: str


SYSTEMS = {"deb12": System("deb12", (3, 11), 36), "deb13": System("deb13", (3, 13), 41)}
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
PROGRAMS = {
    "headway-agent": Program(
        "headway-agent",
        "/opt/headway",
        "edge-agent",
        "agent.toml",
        ("edge-agent*",),
        "keeps a neural network learning on this device",
        "openssl, ca-certificates",
    ),
    "headway-server": Program(
        "headway-server",
        "/opt/headway-server",
        "edge-fleet",
        "aggregator.toml",
        ("headway-*.service",),
        "combines what a fleet of devices learned",
        "ca-certificates",
    ),
}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="scripts.deb")
    parser.add_argument("program", nargs="?", choices=tuple(PROGRAMS))
    parser.add_argument("system", nargs="?", choices=tuple(SYSTEMS))
    parser.add_argument("machine", nargs="?", choices=tuple(MACHINES))
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--source", type=Path, default=ROOT)
    parser.add_argument("--version", help="of the package; else that of the source")
    options = parser.parse_args(arguments)
    source = Source(options.source, options.version or _version(options.source))
    for program in [options.program] if options.program else PROGRAMS:
        for system in [options.system] if options.system else SYSTEMS:
            for machine in [options.machine] if options.machine else MACHINES:
                print(build(PROGRAMS[program], SYSTEMS[system], machine, options.out, source))


def build(program: Program, system: System, machine: str, out: Path, source: Source) -> Path:
    """One package; its path."""
    work = out / "work" / f"{program.name}-{system.name}-{machine}"
    shutil.rmtree(work, ignore_errors=True)
    tree = work / "tree"
    libraries = list(distributions(path=[str(_unpacked(program, system, machine, work))]))
    own = _own(work, source)
    prefix = tree / program.prefix.lstrip("/")
    packages: tuple[str, ...] = OWN_PACKAGES
    if program.name == "headway-agent":
        wanted = (*LIBRARIES, RUNTIME)
        libraries = [library for library in libraries if library.name.lower().replace("_", "-") in wanted]
    else:
        packages = ("headway", "aggregator", "headway_client")
    layout = Layout(
        Path(program.prefix), Path("/usr/bin/python3"), system.python, packages, program.command, packages[1]
    )
    write_environment(prefix, layout, libraries, Path(str(own.locate_file(""))))
    write_own_metadata(layout.site(prefix), own, packages)
    _write_system_files(program, tree, source)
    _write_control(program, system, machine, tree, source)
    package = out / f"{program.name}_{source.version}+{system.name}_{machine}.deb"
    _run("dpkg-deb", "--root-owner-group", "-Zxz", "-z3", "--build", str(tree), str(package))
    return package


def _unpacked(program: Program, system: System, machine: str, work: Path) -> Path:
    """The wheels of everything that the program needs, unpacked into one folder."""
    wheels, folder = work / "wheels", work / "unpacked"
    platform = [f"manylinux_2_{minor}_{MACHINES[machine]}" for minor in range(17, system.glibc_minor + 1)]
    platform.append(f"manylinux2014_{MACHINES[machine]}")
    python = f"{system.python[0]}{system.python[1]}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:", "--dest", str(wheels)]
    command += ["--disable-pip-version-check", "--python-version", python, "--implementation", "cp"]
    command += [word for abi in (f"cp{python}", "abi3", "none") for word in ("--abi", abi)]
    command += [word for name in platform for word in ("--platform", name)]
    command += ["--constraint", str(ROOT / "constraints.txt")]
    if program.name == "headway-agent":
        # the interpreter of LiteRT imports numpy alone; what else it names serves its tools
        _run(*command, "--no-deps", *LIBRARIES, RUNTIME)
    else:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        _run(*command, *project["dependencies"], *project["optional-dependencies"]["aggregator"])
    for wheel in sorted(wheels.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
    return folder


def _own(work: Path, source: Source) -> Distribution:
    """Our own wheel, unpacked."""
    copy = work / "source"
    copy.mkdir()
    for path in _sources(source.root):
        target = copy / path.relative_to(source.root)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", str(copy)]
    _run(*command, "--disable-pip-version-check", "--wheel-dir", str(work))
    (wheel,) = work.glob("headway-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(work / "own")
    (found,) = distributions(path=[str(work / "own")])
    return found


def _version(root: Path) -> str:
    found = re.search(r'(?m)^__version__ = "(.+)"$', (root / "headway" / "__init__.py").read_text())
    if found is None:
        sys.exit(f"{root}/headway/__init__.py says no __version__")
    return found[1]


def _sources(root: Path) -> Iterator[Path]:
    """Copied first: pip builds in the tree, and would leave its folders here."""
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        yield root / name
    for package in ("headway", "edge_agent", "aggregator", "headway_client", "converter", "headway_simulation"):
        # rglob does not follow the links to the units and the manual page
        linked = (path for name in ("systemd", "man") for path in (root / package / name).glob("*"))
        for path in (*(root / package).rglob("*"), *linked):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path


def _write_system_files(program: Program, tree: Path, source: Source) -> None:
    """Units, group, folders, the example from which the configuration is made, the command in the path."""
    units = tree / "lib" / "systemd" / "system"
    units.mkdir(parents=True)
    for pattern in program.units:
        for path in sorted((source.root / "systemd").glob(pattern)):
            text = path.read_text().replace("/opt/headway/", f"{program.prefix}/")
            (units / path.name).write_text(text)
    for kind in ("sysusers", "tmpfiles"):
        folder = tree / "usr" / "lib" / f"{kind}.d"
        folder.mkdir(parents=True)
        text = (source.root / "systemd" / f"headway.{kind}").read_text()
        if program.name == "headway-server":
            devices = ("/var/spool", "/run/headway")
            text = "".join(line for line in text.splitlines(keepends=True) if not any(map(line.__contains__, devices)))
        (folder / f"{program.name}.conf").write_text(text)
    (tree / "etc" / "headway").mkdir(parents=True)
    # postinst copies it to /etc/headway: a file that `init` writes must not be dpkg's own, which would ask at upgrades
    shared = tree / "usr" / "share" / program.name
    shared.mkdir(parents=True)
    shutil.copy(source.root / "systemd" / program.example, shared / program.example)
    (shared / program.example).chmod(0o644)
    (tree / "usr" / "bin").mkdir(parents=True)
    (tree / "usr" / "bin" / program.command).symlink_to(f"{program.prefix}/bin/{program.command}")
    manual = source.root / "docs" / "man" / f"{program.command}.1"
    if manual.exists():
        pages = tree / "usr" / "share" / "man" / "man1"
        pages.mkdir(parents=True)
        (pages / f"{manual.name}.gz").write_bytes(gzip.compress(manual.read_bytes(), 9, mtime=0))
    if program.command == "edge-agent":
        completions = tree / "usr" / "share" / "bash-completion" / "completions"
        completions.mkdir(parents=True)
        (completions / program.command).write_text(LOADED_BY_BASH)
    documents = tree / "usr" / "share" / "doc" / program.name
    documents.mkdir(parents=True)
    shutil.copy(ROOT / "LICENSE", documents / "copyright")


def _write_control(program: Program, system: System, machine: str, tree: Path, source: Source) -> None:
    kilobytes = sum(path.stat().st_size for path in tree.rglob("*") if path.is_file()) // 1024
    python, following = f"3.{system.python[1]}", f"3.{system.python[1] + 1}"
    folder = tree / "DEBIAN"
    folder.mkdir()
    (folder / "control").write_text(
        f"Package: {program.name}\nVersion: {source.version}+{system.name}\nArchitecture: {machine}\n"
        f"Maintainer: {MAINTAINER}\nInstalled-Size: {kilobytes}\nSection: science\nPriority: optional\n"
        f"Depends: python3 (>= {python}), python3 (<< {following}), libstdc++6, systemd | systemd-standalone-sysusers, "
        f"{program.depends}\n"
        f"Description: Headway, {program.summary}\n Neural networks that keep learning on small Linux devices.\n"
    )
    for script in sorted((ROOT / "packaging" / program.name).iterdir()):
        text = script.read_text()
        if not (source.root / COMPILING).exists():
            text = re.sub(r"(/opt/\S+/bin/python3) -I -c .*", r"\1 -I -m compileall -q /opt/headway/lib", text)
        (folder / script.name).write_text(text)
        (folder / script.name).chmod(0o755)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command[:4])} ...: {done.stderr.strip() or done.stdout.strip()}")


if __name__ == "__main__":
    main()
