"""deploy/: each path, port, command, setting and topic that its files name is there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import click
import pytest
import yaml

from aggregator.commands.program import edge_fleet
from aggregator.config import read_settings
from headway.wire import AskedWindow, GivenLabels, Summary, parse_topic
from tests.project.files import ROOT

DEPLOY = ROOT / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
FLOW = {node["id"]: node for node in json.loads((DEPLOY / "node-red" / "headway-flow.json").read_text())}
CONTAINERFILE = (DEPLOY / "Containerfile").read_text()
NODE = shutil.which("node")


def configured(tmp_path: Path) -> str:
    """The server's configuration as set-up.sh writes it."""
    text = (DEPLOY / "compose" / "aggregator.toml").read_text()
    return text.replace("@HOST@", "fleet.example").replace("@FLEET@", "plant")


def test_every_file_that_is_mounted_is_there_and_every_volume_is_declared() -> None:
    used = set()
    for name, service in SERVICES.items():
        for mount in service["volumes"]:
            source, target, *_ = mount.replace("${HEADWAY_BUNDLE:?the bundle of the fleet, model.hwb}", "BUNDLE").split(
                ":"
            )
            assert target.startswith("/"), name
            if source.startswith("."):
                assert (DEPLOY / source).exists(), mount
            elif source != "BUNDLE":
                used.add(source)
    assert used == set(COMPOSE["volumes"])


def test_every_command_is_one_of_ours_with_its_options() -> None:
    commands = []
    for service in SERVICES.values():
        words = service.get("entrypoint", [])
        if words[:1] == ["edge-fleet"]:
            commands.append(words[1])
            command = edge_fleet.get_command(click.Context(edge_fleet), words[1])
            assert command is not None, words
            known = {option for each in command.params for option in each.opts}
            assert {word for word in words if word.startswith("--")} <= known
    assert sorted(commands) == ["api", "join-server", "serve"]
    script = (DEPLOY / "compose" / "set-up.sh").read_text()
    command = edge_fleet.get_command(click.Context(edge_fleet), "broker-config")
    assert command is not None
    assert {"--name", "--user", "--persistence", "--config"} <= {o for p in command.params for o in p.opts}
    assert "edge-fleet broker-config" in script


def test_ports_are_those_of_the_configuration_and_nothing_else_is_open(tmp_path: Path) -> None:
    (tmp_path / "aggregator.toml").write_text(configured(tmp_path))
    config = read_settings(tmp_path / "aggregator.toml")
    ports = {name: service.get("ports", []) for name, service in SERVICES.items()}
    assert config.mqtt is not None
    assert ports.pop("broker") == [f"{config.mqtt.port}:{config.enrolment.broker_port}"]
    assert ports.pop("api") == [f"{config.api.port}:{config.api.port}"]
    assert ports.pop("join-server") == [f"{config.enrolment.port}:{config.enrolment.port}"]
    opened = [port for each in ports.values() for port in each]
    assert all(port.startswith("127.0.0.1:") for port in opened)
    scraped = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())["scrape_configs"][0]
    assert scraped["static_configs"][0]["targets"] == [f"aggregator:{config.metrics.port}"]
    assert config.mqtt.host in SERVICES
    assert config.enrolment.broker_host == "fleet.example"


def test_images_have_a_version_and_ours_is_the_projects() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    for service in SERVICES.values():
        image = service["image"]
        assert re.fullmatch(r"[a-z0-9./-]+:v?\d+(\.\d+)+", image), image
        if image.startswith("headway"):
            version = re.search(r'(?m)^version = "(\d+\.\d+)', project)
            assert version is not None
            assert image == f"headway-server:{version[1]}"
            assert (DEPLOY / service["build"]["context"]).resolve() == ROOT
            assert (ROOT / service["build"]["dockerfile"]).exists()
            assert service["read_only"]
            assert service["cap_drop"] == ["ALL"]


def test_grafana_and_prometheus_find_each_other_and_their_files() -> None:
    mounts = dict(mount.split(":")[:2][::-1] for mount in SERVICES["grafana"]["volumes"])
    provider = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/headway.yaml").read_text())["providers"][0]
    assert f"{provider['options']['path']}/headway.json" in mounts
    source = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yaml").read_text())["datasources"][0]
    assert source["url"] == "http://prometheus:9090"
    rules = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())["rule_files"]
    mounted = [mount.split(":")[1] for mount in SERVICES["prometheus"]["volumes"]]
    assert all(f"/etc/prometheus/{name}" in mounted for name in rules)


def test_no_file_holds_a_secret() -> None:
    for path in DEPLOY.rglob("*"):
        if path.is_file():
            text = path.read_text()
            assert not re.search(
                r"(?i)(password|token|secret)[ \t]*[:=][ \t]*['\"]?[A-Za-z0-9][A-Za-z0-9+/]{5,}", text
            ), path
            assert "PRIVATE KEY" not in text


def test_what_the_containerfile_copies_is_there_and_its_user_owns_each_folder_that_a_volume_takes() -> None:
    for line in re.findall(r"(?m)^COPY (?!--)(.*)$", CONTAINERFILE):
        assert all((ROOT / source).exists() for source in line.split()[:-1]), line
    made = {word for line in re.findall(r"RUN install -d .*", CONTAINERFILE) for word in line.split() if word[0] == "/"}
    for service in SERVICES.values():
        if service["image"].startswith("headway"):
            targets = {mount.split(":")[1] for mount in service["volumes"] if re.match(r"[a-z-]+:", mount)}
            assert targets <= made


def test_the_flow_is_wired_and_uses_topics_of_ours() -> None:
    core = {"tab", "mqtt-broker", "mqtt in", "mqtt out", "function", "debug", "inject"}
    for node in FLOW.values():
        assert node["type"] in core
        assert all(target in FLOW for wire in node.get("wires", []) for target in wire)
        assert node.get("broker", "hw-broker") == "hw-broker" or node["type"] == "mqtt-broker"
        if node["type"] == "mqtt in":
            assert parse_topic(node["topic"].replace("+", "x"))


SUMMARY = Summary("walk", 0.875, (), 0.931, 48, "exact", True, AskedWindow("w-17", 1.75e9, "idle", 0.52), "w-12")
RUN = """
const {func, msg, kept} = JSON.parse(require('fs').readFileSync(0));
const store = {get: key => kept[key], set: (key, value) => { kept[key] = value; }};
const node = {warn: () => undefined};
const made = new Function('msg', 'context', 'flow', 'node', func)(msg, store, store, node);
process.stdout.write(JSON.stringify({made, kept}));
"""


def run_function(node: str, msg: dict[str, object], kept: dict[str, object]) -> tuple[object, dict[str, object]]:
    """A function of the flow by node itself, with what Node-RED gives it; returns its message and what it keeps."""
    given = json.dumps({"func": FLOW[node]["func"], "msg": msg, "kept": kept})
    done = subprocess.run([str(NODE), "-e", RUN], input=given, capture_output=True, text=True, check=True, timeout=60)
    found = json.loads(done.stdout)
    return found.get("made"), found["kept"]


@pytest.mark.skipif(NODE is None, reason="node is not installed")
def test_the_flows_functions_read_the_fields_that_a_device_sends() -> None:
    topic = "headway/v1/plant/pump-7/summary"
    msg: dict[str, object] = {"topic": topic, "payload": json.loads(SUMMARY.encode())}
    changed, _ = run_function("hw-change", msg, {"pump-7": "idle"})
    assert isinstance(changed, dict)
    assert changed["payload"] == "pump-7: idle -> walk (88 %)"
    drift, kept = run_function("hw-drift", msg, {"pump-7": False})
    assert isinstance(drift, dict)
    assert drift["payload"] == "pump-7 drifts: accuracy 0.931"
    assert run_function("hw-drift", msg, kept)[0] is None
    asked, kept = run_function("hw-ask", msg, {})
    assert isinstance(asked, dict)
    assert "w-17" in asked["payload"]
    assert run_function("hw-ask", msg, kept)[0] is None
    for said, label in (("", "idle"), ("leak", "leak")):
        out, _ = run_function("hw-label", {"payload": said}, kept)
        assert isinstance(out, dict)
        assert parse_topic(out["topic"]).device == "pump-7"
        (given,) = GivenLabels.decode(json.dumps(out["payload"]).encode()).labels
        assert (given.id, given.label) == ("w-17", label)
