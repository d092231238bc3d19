"""An environment that holds what a device runs and nothing else: the layout of a venv, without pip.

It is made from distributions that are installed somewhere, or unpacked from wheels for another machine.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution
from pathlib import Path, PurePosixPath

from headway.errors import StoreError

OWN_PACKAGES = ("headway", "edge_agent")
LIBRARIES = ("numpy", "paho-mqtt", "safetensors")
# checks signatures where Python brings no libcrypto and there is no program openssl
OPTIONAL_LIBRARIES = ("cryptography", "cffi", "pycparser")

# Folders that no module of a device imports (python -X importtime; the tests run the agent on what is left).
UNUSED_FOLDERS = {
    "numpy": ("f2py", "distutils", "_core/include", "core/include", "random/_examples", "_pyinstaller", "_core/lib"),
    "ai_edge_litert": ("aot", "tools", "tflite"),
    "tflite_runtime": (),
    "onnxruntime": ("backend", "datasets", "quantization", "tools", "transformers"),
}
# The interpreter takes no module of the converter, the calibrator or a graphics card.
UNUSED_NAMES = re.compile(
    r"libLiteRtWebGpuAccelerator\.so|_pywrap_(litert_converter|tfl_calibration|modify_model_interface)\.so"
    r"|_pywrap_tensorflow_lite_calibration_wrapper\.so|.*\.(pyi|pyx|pxd|c|h|a|pyc)"
)
# besides these, what a wheel says about itself is not needed to run it
METADATA = ("METADATA", "entry_points.txt")
SCRIPT = """\
#!{prefix}/bin/python3 -I
import sys

from {package}.cli import main

sys.exit(main())
"""


def is_needed(name: PurePosixPath) -> bool:
    """Whether a device needs this file, named as below site-packages."""
    package, inside = name.parts[0], name.parts[1:]
    if ".." in name.parts:
        return False
    if package.endswith(".dist-info"):
        return inside[-1] in METADATA or "licenses" in inside or inside[-1].startswith(("LICENSE", "COPYING"))
    if "tests" in inside[:-1] or "__pycache__" in inside or UNUSED_NAMES.fullmatch(name.name):
        return False
    below = "/".join(inside)
    return not any(below.startswith(f"{folder}/") for folder in UNUSED_FOLDERS.get(package, ()))


@dataclass(frozen=True, slots=True)
class Layout:
    """What an environment is for. final: where it is to be found later; python: the interpreter there, of `version`.

    packages: which of ours it holds; command: the program in bin/, whose main stands in `command_package`.cli.
    """

    final: Path
    python: Path
    version: tuple[int, int]
    packages: tuple[str, ...] = OWN_PACKAGES
    command: str = "edge-agent"
    command_package: str = "edge_agent"

    def site(self, prefix: Path) -> Path:
        """The folder of the modules below `prefix`."""
        return prefix / "lib" / f"python{self.version[0]}.{self.version[1]}" / "site-packages"


def write_environment(prefix: Path, layout: Layout, libraries: Iterable[Distribution], own: Path) -> None:
    """Fill the new folder `prefix`. own: the folder that holds our packages. Raises StoreError."""
    site, (major, minor) = layout.site(prefix), layout.version
    try:
        site.mkdir(parents=True)
        (prefix / "bin").mkdir()
        for name, source in _files(libraries):
            _copy(source, site / name)
        for package in layout.packages:
            for source in sorted((own / package).rglob("*")):
                name = PurePosixPath(source.relative_to(own).as_posix())
                if source.is_file() and is_needed(name):
                    _copy(source, site / name)
        (prefix / "bin" / "python3").symlink_to(layout.python)
        home = f"home = {layout.python.parent}\n"
        words = f"{home}include-system-site-packages = false\nversion = {major}.{minor}\n"
        (prefix / "pyvenv.cfg").write_text(words)
        script = prefix / "bin" / layout.command
        script.write_text(SCRIPT.format(prefix=layout.final, package=layout.command_package))
        script.chmod(0o755)
    except OSError as error:
        raise StoreError(f"cannot write {prefix}: {error}") from error


def write_own_metadata(site: Path, own: Distribution, packages: tuple[str, ...] = OWN_PACKAGES) -> None:
    """Version and entry points of headway itself, without the programs that a device does not hold."""
    folder = site / f"headway-{own.version}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: headway\nVersion: {own.version}\n")
    lines = (own.read_text("entry_points.txt") or "").splitlines()
    kept = [line for line in lines if "=" not in line or line.split("=")[1].strip().startswith(packages)]
    (folder / "entry_points.txt").write_text("\n".join(kept) + "\n")


def _files(distributions: Iterable[Distribution]) -> Iterator[tuple[PurePosixPath, Path]]:
    for distribution in distributions:
        files = distribution.files
        if not files:
            raise StoreError(f"{distribution.name} does not say which files it has; install it with pip")
        for file in files:
            source = Path(str(distribution.locate_file(file)))
            if is_needed(PurePosixPath(file)) and source.is_file():
                yield PurePosixPath(file), source


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(0o755 if target.suffix == ".so" else 0o644)
