"""A server that is cut off, or stands still, with whatever it has locked: the one that stands by serves in time."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import make_url, text

from aggregator.store.engine import READING, SERVING, TRANSACTIONS, open_engine
from headway.errors import StoreError
from headway_simulation.model import Model
from testbed.broker import die_with_parent
from testbed.mosquitto import find_or_fetch
from testbed.postgresql import Postgresql, PostgresqlMissing, folder_of_programs
from tests.network.namespaces import SERVER, Cable, why_not
from tests.network.test_faults import MOSQUITTO, PORT
from tests.system.conftest import BIN, wait_until


def _why_not() -> str:
    try:
        folder_of_programs()
    except PostgresqlMissing as missing:
        return str(missing)
    return why_not()


REASON = _why_not()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.system,
    pytest.mark.broker,
    pytest.mark.skipif(bool(REASON), reason=REASON or "namespaces work"),
]
TAKE_OVER_S = 10.0
# holds both locks of a server: between two statements, while the database works for it, or while a long answer travels
HOLD = f"""
import sys, time
from aggregator.store.engine import READING, open_engine
with open_engine(sys.argv[1]).execution_options(**{{READING: True}}).begin() as connection:
    connection.exec_driver_sql("SELECT pg_advisory_lock({SERVING}), pg_advisory_xact_lock({TRANSACTIONS})")
    print("held", flush=True)
    if len(sys.argv) > 2:
        connection.exec_driver_sql(sys.argv[2]).all()
    time.sleep(600)
"""
DOING = {
    "nothing": (),
    "a statement": ("SELECT pg_sleep(1)",),
    "a long answer": ("SELECT repeat('x', 100000) FROM generate_series(1, 10000)",),
}


@pytest.fixture(scope="module")
def cable() -> Iterator[Cable]:
    with Cable() as cable:
        yield cable


@pytest.fixture(scope="module")
def database(cable: Cable) -> Iterator[Postgresql]:
    """At the server's end."""
    with Postgresql(within=cable.command(cable.server), address=SERVER) as server:
        yield server


def remote(url: str) -> str:
    """The same database from the other end."""
    return f"postgresql://headway@{SERVER}/{make_url(url).database}"


@pytest.mark.parametrize("doing", DOING)
def test_locks_of_a_machine_that_is_cut_off_are_free_in_ten_seconds(
    cable: Cable, database: Postgresql, doing: str
) -> None:
    url = database.new_database()
    command = cable.command(cable.device, sys.executable, "-c", HOLD, remote(url), *DOING[doing])
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, preexec_fn=die_with_parent)
    engine = open_engine(url).execution_options(**{READING: True})
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with cable.partition():
            cut_s = time.monotonic()
            for lock in (SERVING, TRANSACTIONS):

                def free(lock: int = lock) -> bool:
                    with engine.begin() as connection:
                        return bool(connection.execute(text(f"SELECT pg_try_advisory_xact_lock({lock})")).scalar())

                wait_until(free, "a lock that is free")
            assert time.monotonic() - cut_s < TAKE_OVER_S
    finally:
        holder.kill()
        holder.communicate()
        engine.dispose()


@pytest.mark.parametrize("fault", ["cut off", "stopped"])
def test_the_second_serves_ten_seconds_after_the_first_is(
    cable: Cable, database: Postgresql, tmp_path: Path, fault: str
) -> None:
    mosquitto, config = find_or_fetch(), tmp_path / "mosquitto.conf"
    config.write_text(MOSQUITTO.format(port=PORT, host=SERVER, folder=tmp_path))
    Model(6, ("idle", "run")).variant.write(tmp_path / "plant.hwb")
    url = database.new_database()
    processes = []

    def start(end: str, *command: str, log: str, environment: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
        with (tmp_path / log).open("ab") as output:
            process = subprocess.Popen(
                cable.command(end, *command), stdout=output, stderr=output, preexec_fn=die_with_parent, env=environment
            )
        processes.append(process)
        return process

    def serve(end: str, name: str, its_url: str, word: str) -> subprocess.Popen[bytes]:
        (tmp_path / f"{name}.toml").write_text(
            f'[fleet]\nname = "plant"\n[bundle]\npath = "plant.hwb"\n[storage]\nstate_dir = "{name}-state"\n'
            f'database_url = "{its_url}"\n[mqtt]\nhost = "{SERVER}"\nport = {PORT}\nkeepalive_s = 5\n'
        )
        process = start(end, str(BIN / "edge-fleet"), "serve", "--config", str(tmp_path / f"{name}.toml"), log=name)
        wait_until(lambda: word in (tmp_path / name).read_text(), f"{word!r} of the {name}")
        return process

    try:
        program = str(mosquitto.program), "-c", str(config)
        start(cable.server, *program, log="broker", environment=mosquitto.environment())
        first = serve(cable.device, "first", remote(url), "connected to the broker")
        serve(cable.server, "second", url, "standing by")
        with contextlib.ExitStack() as undo:
            if fault == "stopped":
                first.send_signal(signal.SIGSTOP)
                undo.callback(first.send_signal, signal.SIGCONT)
            else:
                undo.enter_context(cable.partition())
            began_s = time.monotonic()
            wait_until(lambda: " serving, boot 2" in (tmp_path / "second").read_text(), "the second server")
            assert time.monotonic() - began_s < TAKE_OVER_S
        # and the first, which runs again, is shut out
        assert first.wait(60) == StoreError.exit_code
    finally:
        for process in processes:
            process.kill()
            process.wait()
