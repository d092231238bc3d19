"""Builds what announces a device to Home Assistant: MQTT device discovery, one message with all of its entities.

https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery; since Home Assistant 2024.12. Names stand only where
Home Assistant takes plain text, never in a template, so that none can be taken for one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from headway.fields import JsonValue, canonical_json
from headway.maths import Task
from headway.wire import Kind, topic

# what a person can choose from, and what a state of Home Assistant may hold
OPTIONS_MAX = 256
STATE_CHARACTERS_MAX = 255
VALUES_MAX = 32
SUPPORT_URL = "https://github.com/headway-edge/headway"
_ESCAPED = re.compile(r"_(?=2e|5f)")

_STATUS = "{{ 'online' if value_json.online else 'offline' }}"
_WANTED = "{{ 'online' if value_json.wanted else 'offline' }}"
_PERCENT = "{{{{ (100 * value_json.{0}) | round(1) if value_json.{0} is not none else none }}}}"

Table = dict[str, JsonValue]


@dataclass(frozen=True, slots=True)
class Described:
    """What is announced of a device. classes: that it may predict, or its outputs. teachable: labels are taken from
    the topic labels."""

    fleet: str
    device: str
    task: Task
    classes: tuple[str, ...]
    bundle: str
    bundle_version: str
    agent_version: str
    teachable: bool


def discovery_topic(prefix: str, fleet: str, device: str) -> str:
    """Where it is retained, `PREFIX/device/FLEET/DEVICE/config`, in the letters that Home Assistant takes."""
    return f"{prefix}/device/{_level(fleet)}/{_level(device)}/config"


def discovery_payload(described: Described) -> bytes:
    """The message. Its entities have the same ids whatever changes, so that what people set of them stays."""
    fleet, device = described.fleet, described.device
    name = f"headway/{fleet}/{device}"
    entities = _sensors(described)
    if described.teachable and described.task is Task.CLASSIFICATION:
        entities |= _labelling(described)
    # of what stands beside the components they get topics and availability alone, no quality of service
    components: Table = {key: {**entity, "unique_id": f"{name}/{key}", "qos": 1} for key, entity in entities.items()}
    announced: Table = {
        "device": {
            "identifiers": [name],
            "name": device,
            "manufacturer": "Headway",
            "model": described.bundle,
            "model_id": f"{described.bundle} {described.bundle_version}",
            "sw_version": described.agent_version,
        },
        "origin": {"name": "Headway", "sw_version": described.agent_version, "support_url": SUPPORT_URL},
        "availability": [_is_online(fleet, device)],
        "state_topic": topic(fleet, device, Kind.SUMMARY),
        "components": components,
    }
    return canonical_json(announced)


def _sensors(described: Described) -> dict[str, Table]:
    summary = topic(described.fleet, described.device, Kind.SUMMARY)
    found: dict[str, Table] = {}
    if described.task is Task.REGRESSION:
        for place, output in enumerate(described.classes[:VALUES_MAX]):
            value = f"{{{{ value_json['values'][{place}] if value_json['values'] | length > {place} else none }}}}"
            found[f"value-{place}"] = _entity("sensor", output, "mdi:chart-line", value, state_class="measurement")
    else:
        said = f"{{{{ value_json.prediction[:{STATE_CHARACTERS_MAX}] or none }}}}"
        head = "{{ {'head': value_json.head, 'labels': value_json.labels} | tojson }}"
        attributes: Table = {"json_attributes_topic": summary, "json_attributes_template": head}
        sure = {"unit_of_measurement": "%", "state_class": "measurement"}
        found["prediction"] = _entity("sensor", "Prediction", "mdi:brain", said) | attributes
        found["probability"] = _entity(
            "sensor",
            "Probability",
            "mdi:percent",
            _PERCENT.format("probability"),
            suggested_display_precision=0,
            **sure,
        )
        found["accuracy"] = _entity(
            "sensor",
            "Accuracy",
            "mdi:bullseye-arrow",
            _PERCENT.format("accuracy"),
            suggested_display_precision=1,
            **sure,
        )
    drift = "{{ 'ON' if value_json.drift else 'OFF' }}"
    found["drift"] = _entity("binary_sensor", "Drift", "mdi:chart-bell-curve", drift, device_class="problem")
    learned = "{{ value_json.labels }}"
    found["labels"] = _entity("sensor", "Labels learned", "mdi:school", learned, state_class="total")
    return found


def _labelling(described: Described) -> dict[str, Table]:
    """A select for what the window was; buttons for: as predicted, not known, and the last one was wrong.

    They hold the id of the window as an attribute; a command names that window, whatever has come since.
    """
    fleet, device = described.fleet, described.device
    summary, labels = topic(fleet, device, Kind.SUMMARY), topic(fleet, device, Kind.LABELS)
    is_wanted: Table = {"topic": summary, "value_template": _WANTED}
    wanted: Table = {
        "command_topic": labels,
        "json_attributes_topic": summary,
        "json_attributes_template": "{{ (value_json.wanted or {}) | tojson }}",
        "availability": [_is_online(fleet, device), is_wanted],
        "availability_mode": "all",
    }
    chosen = {"value_template": "{{ value_json.wanted.label if value_json.wanted else none }}"}
    options: list[JsonValue] = [name for name in described.classes if len(name) <= STATE_CHARACTERS_MAX]
    last: Table = {
        "json_attributes_topic": summary,
        "json_attributes_template": "{{ {'id': value_json.labelled} | tojson }}",
        "availability": [
            _is_online(fleet, device),
            {"topic": summary, "value_template": "{{ 'online' if value_json.labelled else 'offline' }}"},
        ],
        "availability_mode": "all",
    }
    return {
        "wanted": {
            **_entity("select", "Label wanted", "mdi:tag-text"),
            **wanted,
            **chosen,
            "options": options[:OPTIONS_MAX],
            "command_template": "{{ {'id': this.attributes.id, 'label': value} | tojson }}",
        },
        "as-predicted": {
            **_entity("button", "As predicted", "mdi:check"),
            **wanted,
            "command_template": "{{ {'id': this.attributes.id, 'label': this.attributes.label} | tojson }}",
        },
        "skip": {
            **_entity("button", "Skip this window", "mdi:debug-step-over"),
            **wanted,
            "command_template": "{{ {'id': this.attributes.id, 'label': ''} | tojson }}",
        },
        "undo": {
            **_entity("button", "Undo the last label", "mdi:undo"),
            **last,
            "command_topic": labels,
            "command_template": "{{ {'id': this.attributes.id, 'label': ''} | tojson }}",
        },
    }


def _entity(platform: str, name: str, icon: str, value: str = "", **further: JsonValue) -> Table:
    """value: the template of its state, of the summary."""
    found: Table = {"platform": platform, "name": name, "icon": icon, **further}
    return found | {"value_template": value} if value else found


def _is_online(fleet: str, device: str) -> Table:
    return {"topic": topic(fleet, device, Kind.STATUS), "value_template": _STATUS}


def _level(name: str) -> str:
    """A name in letters, digits, '_' and '-' alone: another one for each name, and the same where that is possible."""
    return _ESCAPED.sub("_5f", name).replace(".", "_2e")
