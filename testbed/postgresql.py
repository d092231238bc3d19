"""A real PostgreSQL server in a scratch folder, on a Unix socket, on request on an address as well; found on PATH or
where Debian puts it."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

DEBIAN = "/usr/lib/postgresql"
START_TIMEOUT_S = 60.0


class PostgresqlMissing(RuntimeError):
    """There is no server here; the message names the command that installs it."""


def folder_of_programs() -> Path:
    """Where initdb and pg_ctl are, the newest version first. Raises PostgresqlMissing."""
    versions = sorted(Path(DEBIAN).glob("*/bin"), key=lambda path: float(path.parent.name), reverse=True)
    folders = [*versions, *([Path(found).resolve().parent] if (found := shutil.which("pg_ctl")) else [])]
    for folder in folders:
        if (folder / "initdb").exists() and (folder / "pg_ctl").exists():
            return folder
    raise PostgresqlMissing("PostgreSQL's server is needed and is not here; install it: apt install postgresql")


class Postgresql:
    """A server while the context is open. durable: what is committed is on the disk; tests ask of it only the language
    it speaks. within: words before the command that starts it, such as those that enter a network; address: where it
    listens there, and trusts everybody."""

    def __init__(self, durable: bool = False, within: Sequence[str] = (), address: str = "") -> None:
        self._durable, self._within, self._address = durable, within, address
        self._programs = folder_of_programs()
        # a socket's path has to be short
        self._folder = Path(tempfile.mkdtemp(prefix="hw-pg-", dir="/tmp"))
        # the server refuses to run as root
        self._user = next((user for user in ("postgres", "nobody") if os.geteuid() == 0 and _exists(user)), None)
        self._databases = 0

    def __enter__(self) -> Postgresql:
        if self._user is not None:
            shutil.chown(self._folder, self._user)
        data = str(self._folder / "data")
        # sorts by code point, so a query that leaves the order to the database does not show here
        self._run("initdb", "-D", data, "-U", "headway", "-A", "trust", "-E", "UTF8", "--no-sync", "--locale=C.UTF-8")
        options = f"-k {self._folder} -c listen_addresses='{self._address}'"
        options += "" if self._durable else " -c fsync=off -c full_page_writes=off"
        log = str(self._folder / "log")
        if self._address:
            with (self._folder / "data" / "pg_hba.conf").open("a") as rules:
                rules.write("host all all all trust\n")
        started = ("-D", data, "-w", "-t", str(int(START_TIMEOUT_S)), "-l", log, "-o", options, "start")
        self._run("pg_ctl", *started, within=self._within)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run("pg_ctl", "-D", str(self._folder / "data"), "-w", "-m", "immediate", "stop")
        shutil.rmtree(self._folder)

    @property
    def pid(self) -> int:
        """Process id of the server, whose children serve its sessions."""
        return int((self._folder / "data" / "postmaster.pid").read_text().split()[0])

    def new_database(self) -> str:
        """The URL of an empty database."""
        self._databases += 1
        name = f"fleet_{self._databases}"
        self._run("psql", "-h", str(self._folder), "-U", "headway", "-d", "postgres", "-qc", f"CREATE DATABASE {name}")
        return f"postgresql+psycopg://headway@/{name}?host={self._folder}"

    def _run(self, program: str, *arguments: str, within: Sequence[str] = ()) -> None:
        # pg_ctl's server keeps what it inherits open: a pipe would never end
        with (self._folder / f"{program}.out").open("w+") as output:
            command, user = [str(self._programs / program), *arguments], self._user
            if within and user is not None:
                # to enter takes the rights that are given up afterwards
                command, user = [*within, "setpriv", "--reuid", user, "--clear-groups", *command], None
            done = subprocess.run(
                command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, user=user, cwd="/", check=False,
                timeout=2 * START_TIMEOUT_S,
            )  # fmt: skip
            output.seek(0)
            if done.returncode:
                raise RuntimeError(f"{program} failed: {output.read()[-2000:]}")


def _exists(user: str) -> bool:
    return any(entry.pw_name == user for entry in pwd.getpwall())
