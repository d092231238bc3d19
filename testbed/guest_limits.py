"""Runs as a service in a virtual machine (`testbed.virtual_system`): the agent's limits and secrets under systemd.

Prints "PROOF {...}" on the serial line, or "STUCK" with what it waited for, and switches the machine off.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

UNIT = "edge-agent.service"
GROUP = Path("/sys/fs/cgroup/system.slice/edge-agent.service")
CREDENTIALS = Path("/run/credentials/edge-agent.service")
SPOOL, ANSWERS = Path("/var/spool/headway/in"), Path("/var/spool/headway/predictions")
WAIT_S = 600.0
# less than Python and the runtime take
SMALL = "24M"


def main() -> None:
    try:
        print("PROOF " + json.dumps(proof()), flush=True)
    except TimeoutError as stuck:
        for line in run("journalctl", "--no-pager", "--output=cat", "--lines=12", f"--unit={UNIT}").splitlines():
            print(f"LOG {line}", flush=True)
        print(f"STUCK {stuck}", flush=True)
    run("systemctl", "poweroff", "--force", "--force")


def proof() -> dict[str, object]:
    """What was found, one after the other. Raises TimeoutError."""
    wait(is_ready, "READY")
    wait(lambda: status()["link"]["state"] == "connected", "the broker, which wants the password")
    found: dict[str, object] = {
        "systemd": run("systemctl", "--version").split()[1],
        "physical_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "limit_bytes": int((GROUP / "memory.max").read_text()),
        "kill_together": (GROUP / "memory.oom.group").read_text().strip(),
        "credentials": credentials(),
    }
    (SPOOL / ".first.npz").write_bytes(Path("/root/first.npz").read_bytes())
    (SPOOL / ".first.npz").rename(SPOOL / "first.npz")
    wait((ANSWERS / "first.npz").exists, "the answer")
    found["labels_before"] = status()["labels"]
    before, boot = main_pid(), Path("/proc/sys/kernel/random/boot_id").read_text()
    run("systemctl", "set-property", "--runtime", UNIT, f"MemoryMax={SMALL}")
    wait(lambda: main_pid() != before, "the kernel to end the agent")
    run("systemctl", "set-property", "--runtime", UNIT, "MemoryMax=60%")
    wait(is_ready, "READY after it")
    found["restarts"] = int(show("NRestarts"))
    found["labels_after"] = status()["labels"]
    found["same_boot"] = Path("/proc/sys/kernel/random/boot_id").read_text() == boot
    found["broker"] = run("systemctl", "is-active", "mosquitto.service").strip()
    said = run("journalctl", "--no-pager", "--output=cat", f"--unit={UNIT}").splitlines()
    found["said"] = [line for line in said if "oom" in line.lower()]
    return found


def credentials() -> dict[str, object]:
    """Who may see the copy that the service got, and whether nobody else can."""
    (secret,) = CREDENTIALS.rglob("*password")
    kinds = [
        line.split()[2] for line in Path("/proc/mounts").read_text().splitlines() if line.split()[1] == str(CREDENTIALS)
    ]
    service = int(Path(f"/proc/{main_pid()}/status").read_text().split("Uid:")[1].split()[0])
    words = ("setpriv", "--reuid=nobody", "--clear-groups", "cat")
    others = [
        subprocess.run([*words, str(path)], capture_output=True).returncode
        for path in (secret, "/etc/headway/secrets/mqtt.password")
    ]
    return {
        "mount": kinds,
        "written_on_disk": "ext4" in kinds,
        "service_is_root": service == 0,
        "others_can_read": 0 in others,
        "mode": oct(secret.stat().st_mode & 0o777),
    }


def status() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run("edge-agent", "status", "--json", "/etc/headway/agent.toml"))
    return found


def is_ready() -> bool:
    return show("ActiveState") == "active"


def main_pid() -> int:
    return int(show("MainPID"))


def show(name: str) -> str:
    return run("systemctl", "show", "--value", f"--property={name}", UNIT).strip()


def run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S).stdout


def wait(done: Callable[[], object], what: str) -> None:
    """Raises TimeoutError."""
    deadline = time.monotonic() + WAIT_S
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {WAIT_S:.0f} s for {what}")
        time.sleep(0.2)


if __name__ == "__main__":
    main()
