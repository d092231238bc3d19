"""deploy/Containerfile is built step by step in a Debian tree, and every service of deploy/compose.yaml starts in it.

No container engine runs here: the tree stands for each container, volumes are its folders, and one network of its own
stands for theirs.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

from testbed.containerfile import Image, build, inside, run
from testbed.debian import Debian, why_not
from tests.project.files import ROOT
from tests.realsystem.machine import wait_until
from tests.system.conftest import bundle as bundle

DEPLOY = ROOT / "deploy"
SERVICES = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
HOST = "fleet.example"
LOOK = """
import json, ssl, sys, urllib.request
context = ssl.create_default_context(cafile="/etc/headway-broker/ca.pem")
def get(url, **headers):
    request = urllib.request.Request(url, headers=headers)
    tls = context if url.startswith("https") else None
    return urllib.request.urlopen(request, context=tls, timeout=20).read().decode()
token = sys.argv[1]
print(json.dumps({
    "devices": json.loads(get("https://fleet.example:8885/v1/devices", Authorization="Bearer " + token)),
    "metrics": get("http://aggregator:9477/metrics"),
}))
"""

MISSING = why_not("chroot:coreutils", "ip:iproute2")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(MISSING), reason=MISSING)]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Image]:
    tree = tmp_path_factory.mktemp("image") / "tree"
    Debian("trixie", ("ca-certificates",)).unpack(tree)
    (tree / "etc" / "hosts").write_text(f"127.0.0.1 localhost broker aggregator {HOST}\n")
    return tree, build(DEPLOY / "Containerfile", ROOT, tree)


@pytest.fixture
def network() -> Iterator[str]:
    name = f"headway-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
    yield name
    subprocess.run(["ip", "netns", "delete", name], check=True)


def test_the_image_is_built_and_its_services_serve(image: tuple[Path, Image], network: str, bundle: Path) -> None:
    tree, made = image
    assert (made.user, made.entrypoint) == ("headway", ("edge-fleet",))
    assert run(tree, *made.entrypoint, "--version", user=made.user).startswith("edge-fleet ")
    shutil.copytree(DEPLOY / "compose", tree / "usr/local/share/headway")
    shutil.copy(bundle, tree / "usr/local/share/model.hwb")
    set_up = ["env", f"HEADWAY_HOST={HOST}", "HEADWAY_FLEET=plant", *SERVICES["set-up"]["entrypoint"]]
    run(tree, *set_up, user=made.user)
    password = (tree / "var/lib/headway-grafana/password").read_text()
    assert len(password) == 32
    run(tree, *set_up, user=made.user)
    assert (tree / "var/lib/headway-grafana/password").read_text() == password
    with ExitStack() as running:
        logs = tree.parent

        def start(name: str) -> subprocess.Popen[bytes]:
            log = running.enter_context((logs / f"{name}.log").open("wb"))
            command = ["ip", "netns", "exec", network, *inside(tree, *SERVICES[name]["entrypoint"], user=made.user)]
            process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )
            running.callback(process.wait)
            # with what it has started: the service is a child of the program that puts it into its tree
            running.callback(os.killpg, process.pid, signal.SIGKILL)
            return process

        processes = {name: start(name) for name in ("broker", "aggregator", "api", "join-server")}
        config = ("--config", "/etc/headway/aggregator.toml")
        run(tree, "edge-fleet", "users", "add", "ada", "--role", "viewer", *config, user=made.user)
        token = run(tree, "edge-fleet", "tokens", "create", "ada", *config, user=made.user).split()[0]
        found: dict[str, object] = {}

        def serves() -> bool:
            for name, process in processes.items():
                assert process.poll() is None, (logs / f"{name}.log").read_text()
            command = ["ip", "netns", "exec", network, *inside(tree, "/opt/headway/bin/python3", "-c", LOOK, token)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode == 0:
                found.update(json.loads(done.stdout))
            return bool(found) and "headway_broker_connected 1.0" in str(found["metrics"])

        wait_until(serves, "the API, the metrics and the connection to the broker")
        assert json.loads(json.dumps(found["devices"]))["devices"] == []


def test_docker_compose_takes_the_file(tmp_path: Path, bundle: Path) -> None:
    """Debian's docker-compose 2 reads it as a whole; that needs no engine."""
    Debian("trixie", ("docker-compose",), variant="extract").unpack(tmp_path / "tree")
    command = [tmp_path / "tree/usr/bin/docker-compose", "-f", DEPLOY / "compose.yaml", "config", "--format", "json"]
    missing = subprocess.run(command, capture_output=True, text=True, env={"HEADWAY_BUNDLE": str(bundle)})
    assert missing.returncode != 0
    assert "the name or address by which devices and browsers reach this machine" in missing.stderr
    environment = {"HEADWAY_BUNDLE": str(bundle), "HEADWAY_HOST": HOST}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    read = json.loads(done.stdout)
    assert set(read["services"]) == set(SERVICES)
    assert read["services"]["set-up"]["environment"] == {"HEADWAY_HOST": HOST, "HEADWAY_FLEET": "plant"}
