"""Carries out a Containerfile's steps in a Debian tree, where no container engine runs. Linux, root.

Takes what ours uses: FROM of one Debian release (each stage is the same tree here), COPY, RUN, USER, ENTRYPOINT, CMD.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

RUN_TIMEOUT_S = 1200.0
# what this machine needs to reach packages, which an engine would be told by its own configuration
HOST_FILES = (
    "/etc/resolv.conf",
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/apt/apt.conf.d",
    "/etc/pip.conf",
    "/etc/xdg/pip",
)
HOST_VARIABLES = ("PIP_", "HTTP", "http", "NO_PROXY", "no_proxy", "SSL_CERT")


class StepFailed(RuntimeError):
    """A step could not be carried out; the message ends with what it said last."""


@dataclass(frozen=True, slots=True)
class Image:
    """What a Containerfile says of how to start. user: "" for root."""

    user: str
    entrypoint: tuple[str, ...]


def build(file: Path, context: Path, tree: Path) -> Image:
    """Carry out every step in `tree`, a Debian of the release that FROM names. Raises StepFailed."""
    user, entrypoint, stages = "", (), 0
    lent = list(_lend(tree))
    for word, rest in steps(file.read_text()):
        match word:
            case "FROM":
                stages += 1
            case "COPY" if rest.startswith("--from="):
                _, source, target = rest.split()
                if source != target:
                    raise StepFailed(f"COPY {rest}: stages share a tree here, so both paths must be the same")
            case "COPY":
                *sources, target = rest.split()
                for source in sources:
                    _copy(context / source, tree / target.lstrip("/"), into=len(sources) > 1 or target.endswith("/"))
            case "RUN":
                run(tree, "sh", "-ec", rest)
            case "USER":
                user = rest
            case "ENTRYPOINT":
                entrypoint = tuple(json.loads(rest))
            case "CMD":
                json.loads(rest)
            case _:
                raise StepFailed(f"{word} {rest}: not known here")
    for path in lent:
        path.unlink(missing_ok=True)
    return Image(user, entrypoint)


def steps(text: str) -> Iterator[tuple[str, str]]:
    """Instructions and what follows them, lines joined, comments left out."""
    for line in text.replace("\\\n", " ").splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            word, _, rest = line.strip().partition(" ")
            yield word.upper(), rest.strip()


def run(tree: Path, *words: str, user: str = "") -> str:
    """A command inside; gives what it wrote. Raises StepFailed."""
    environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
    environment |= {name: value for name, value in os.environ.items() if name.startswith(HOST_VARIABLES)}
    environment |= {"DEBIAN_FRONTEND": "noninteractive"}
    command = inside(tree, *words, user=user)
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=RUN_TIMEOUT_S, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        raise StepFailed(
            f"{' '.join(words)[:200]}: {' | '.join((done.stderr or done.stdout).strip().splitlines()[-4:])}"
        )
    return done.stdout


def inside(tree: Path, *words: str, user: str = "") -> list[str]:
    """The words of a command that runs in the tree, with /proc and /dev of its own."""
    mounts = f'mount -t proc proc "{tree}/proc"; mount --bind /dev "{tree}/dev"; mount --bind "{tree}" "{tree}"'
    become = f"--userspec={user}" if user else "--userspec=root"
    script = f'{mounts}; exec chroot {become} "{tree}" "$@"'
    return ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-ec", script, "sh", *words]


def _lend(tree: Path) -> Iterator[Path]:
    """What must be there to reach packages; gives what was not there before."""
    for name in HOST_FILES:
        source, target = Path(name), tree / name.lstrip("/")
        if source.is_dir():
            target.mkdir(parents=True, exist_ok=True)
            for each in source.iterdir():
                if each.is_file() and not (target / each.name).exists():
                    shutil.copy(each, target / each.name)
                    yield target / each.name
        elif source.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists():
                yield target
            shutil.copy(source, target)


def _copy(source: Path, target: Path, *, into: bool) -> None:
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        target = target / source.name if into else target
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
