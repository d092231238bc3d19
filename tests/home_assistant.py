"""Home Assistant in small: what it does with MQTT discovery, as its documentation says, on a real broker.

https://www.home-assistant.io/integrations/mqtt/ and its pages for sensor.mqtt, binary_sensor.mqtt, select.mqtt and
button.mqtt, and the schemas in homeassistant/components/mqtt of its source, which refuse a key that they do not know:
topics, the schema of a message, templates (Jinja2, sandboxed, with value, value_json and this), availability, and what
is published when a person chooses or presses.
"""

from __future__ import annotations

import json
import re
import threading
from typing import Any

import jsonschema_rs
from jinja2.sandbox import SandboxedEnvironment

from headway.mqtt import MqttSettings
from headway.mqtt.transport import MqttTransport
from headway.ports import Connected, Outgoing, Received, TransportEvent
from testbed.broker import Broker

# (?P<component>)/[(?P<node_id>)/](?P<object_id>)/config below the prefix
TOPIC = re.compile(r"(?P<component>\w+)/(?:(?P<node_id>[a-zA-Z0-9_-]+)/)?(?P<object_id>[a-zA-Z0-9_-]+)/config")
UNKNOWN = "unknown"

_TEXT = {"type": "string", "minLength": 1}
_TOPIC = {"type": "string", "minLength": 1, "pattern": "^[^#+\\u0000]+$"}
_QOS = {"enum": [0, 1, 2]}
_AVAILABILITY = {
    "availability": {
        "type": "array",
        "items": {
            "type": "object",
            "required": ["topic"],
            "additionalProperties": False,
            "properties": {
                "topic": _TOPIC,
                "payload_available": _TEXT,
                "payload_not_available": _TEXT,
                "value_template": _TEXT,
            },
        },
    },
    "availability_mode": {"enum": ["all", "any", "latest"]},
    "availability_topic": _TOPIC,
    "availability_template": _TEXT,
}
_ENTITY = {
    **_AVAILABILITY,
    "platform": _TEXT,
    "unique_id": _TEXT,
    "name": {"type": ["string", "null"]},
    "icon": {"type": "string", "pattern": "^mdi:[a-z0-9-]+$"},
    "entity_category": {"enum": ["config", "diagnostic"]},
    "enabled_by_default": {"type": "boolean"},
    "json_attributes_topic": _TOPIC,
    "json_attributes_template": _TEXT,
    "qos": _QOS,
    "encoding": {"type": "string"},
    "default_entity_id": _TEXT,
}
_STATE = {"state_topic": _TOPIC, "value_template": _TEXT}
_COMMAND = {"command_topic": _TOPIC, "command_template": _TEXT, "retain": {"type": "boolean"}}
_PLATFORMS: dict[str, tuple[dict[str, object], list[str]]] = {
    "sensor": (
        {
            **_STATE,
            "device_class": _TEXT,
            "state_class": {"enum": ["measurement", "measurement_angle", "total", "total_increasing"]},
            "unit_of_measurement": {"type": ["string", "null"]},
            "suggested_display_precision": {"type": "integer", "minimum": 0},
            "expire_after": {"type": "integer", "minimum": 0},
            "force_update": {"type": "boolean"},
            "options": {"type": "array", "items": {"type": "string"}},
            "last_reset_value_template": _TEXT,
        },
        [],
    ),
    "binary_sensor": (
        {
            **_STATE,
            "device_class": {"enum": ["problem", "connectivity", "running", "battery", "safety"]},
            "payload_on": _TEXT,
            "payload_off": _TEXT,
            "off_delay": {"type": "integer", "minimum": 0},
            "expire_after": {"type": "integer", "minimum": 0},
            "force_update": {"type": "boolean"},
        },
        [],
    ),
    "select": (
        {
            **_STATE,
            **_COMMAND,
            "options": {"type": "array", "items": {"type": "string", "maxLength": 255}},
            "optimistic": {"type": "boolean"},
        },
        ["command_topic", "options"],
    ),
    "button": (
        {**_COMMAND, "device_class": {"enum": ["identify", "restart", "update"]}, "payload_press": _TEXT},
        ["command_topic"],
    ),
}
_COMPONENTS = [
    {
        "type": "object",
        "additionalProperties": False,
        "properties": {**_ENTITY, **properties, "platform": {"const": platform}},
        "required": ["platform", "unique_id", *required],
    }
    for platform, (properties, required) in _PLATFORMS.items()
]
SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["device", "origin", "components"],
    "properties": {
        **_AVAILABILITY,
        "device": {
            "type": "object",
            "additionalProperties": False,
            "anyOf": [{"required": ["identifiers"]}, {"required": ["connections"]}],
            "properties": {
                "identifiers": {"type": "array", "minItems": 1, "items": _TEXT},
                "connections": {"type": "array"},
                **dict.fromkeys(
                    ("name", "manufacturer", "model", "model_id", "hw_version", "sw_version", "serial_number",
                     "suggested_area", "via_device"), _TEXT,
                ),
                "configuration_url": {"type": "string", "pattern": "^(https?|homeassistant)://"},
            },
        },
        "origin": {
            "type": "object",
            "additionalProperties": False,
            "required": ["name"],
            "properties": {
                "name": _TEXT,
                "sw_version": _TEXT,
                "support_url": {"type": "string", "pattern": "^https?://"},
            },
        },
        "components": {"type": "object", "minProperties": 1, "additionalProperties": {"oneOf": _COMPONENTS}},
        "state_topic": _TOPIC,
        "command_topic": _TOPIC,
        "qos": _QOS,
        "encoding": {"type": "string"},
    },
}  # fmt: skip
# what of a message its components get, unless they say otherwise; qos and encoding are taken, and not given on
SHARED = frozenset({
    "availability", "availability_mode", "availability_template", "availability_topic", "command_topic",
    "payload_available", "payload_not_available", "state_topic",
})  # fmt: skip
CHECK = jsonschema_rs.validator_for(SCHEMA)


def whole(announced: dict[str, Any], entity: dict[str, Any]) -> dict[str, Any]:
    """An entity with what it shares."""
    return {key: value for key, value in announced.items() if key in SHARED} | entity


class SmallHomeAssistant:
    """Use as a context manager. Devices by their identifier, entities of each by key."""

    def __init__(self, broker: Broker, prefix: str = "homeassistant") -> None:
        self._prefix = prefix
        self._environment = SandboxedEnvironment()
        self._lock = threading.Lock()
        self._connected = threading.Event()
        self.devices: dict[str, dict[str, Any]] = {}
        self.newest: dict[str, bytes] = {}
        self.problems: list[str] = []
        topics = (f"{prefix}/+/+/config", f"{prefix}/+/+/+/config", "headway/v1/+/+/summary", "headway/v1/+/+/status")
        will = Outgoing(f"{prefix}/status", b"offline")
        settings = MqttSettings(broker.host, broker.port)
        self._transport = MqttTransport(settings, f"home-{prefix.replace('/', '-')}", topics, will, self._take)

    def __enter__(self) -> SmallHomeAssistant:
        self._transport.start()
        assert self._connected.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._transport.stop()

    def states(self, device: str) -> dict[str, str]:
        """State of each entity; unknown before the first message, unavailable while its availability says so."""
        with self._lock:
            announced = self.devices.get(device)
            if announced is None:
                return {}
            return {key: self._state(announced, entity) for key, entity in announced["components"].items()}

    def attributes(self, device: str, key: str) -> dict[str, Any]:
        with self._lock:
            announced = self.devices[device]
            return self._attributes(whole(announced, announced["components"][key]))

    def choose(self, device: str, key: str, option: str) -> None:
        """A person chooses an option of a select; Home Assistant offers no others."""
        assert option in self.devices[device]["components"][key]["options"]
        self._command(device, key, option)

    def press(self, device: str, key: str) -> None:
        """A person presses a button."""
        self._command(device, key, "PRESS")

    def _command(self, device: str, key: str, value: str) -> None:
        assert self.states(device)[key] != "unavailable"
        entity = self.devices[device]["components"][key]
        this = {"attributes": self.attributes(device, key)}
        payload = self._environment.from_string(entity["command_template"]).render(value=value, this=this)
        assert self._transport.publish(Outgoing(entity["command_topic"], payload.encode())) is not None

    def _state(self, announced: dict[str, Any], entity: dict[str, Any]) -> str:
        both = whole(announced, entity)
        available = [self._is_available(each) for each in both.get("availability", [])]
        if not (all(available) if both.get("availability_mode") == "all" else any(available)):
            return "unavailable"
        if "value_template" not in entity or both["state_topic"] not in self.newest:
            return UNKNOWN
        state = self._render(entity["value_template"], self.newest[both["state_topic"]])
        if entity["platform"] == "select" and state not in (*entity["options"], "None"):
            self.problems.append(f"{state!r} is no option")
        assert len(state) <= 255
        return UNKNOWN if state == "None" else state

    def _is_available(self, each: dict[str, Any]) -> bool:
        payload = self.newest.get(each["topic"])
        return payload is not None and self._render(each["value_template"], payload) == "online"

    def _attributes(self, both: dict[str, Any]) -> dict[str, Any]:
        payload = self.newest[both["json_attributes_topic"]]
        found: dict[str, Any] = json.loads(self._render(both["json_attributes_template"], payload))
        return found

    def _render(self, template: str, payload: bytes) -> str:
        text = payload.decode()
        return self._environment.from_string(template).render(value=text, value_json=json.loads(text))

    def _take(self, event: TransportEvent) -> None:
        match event:
            case Connected():
                self._connected.set()
            case Received(topic, payload) if topic.startswith(f"{self._prefix}/"):
                self._discovered(topic, payload)
            case Received(topic, payload):
                with self._lock:
                    self.newest.pop(topic, None)
                    if payload:
                        self.newest[topic] = payload

    def _discovered(self, topic: str, payload: bytes) -> None:
        matched = TOPIC.fullmatch(topic.removeprefix(f"{self._prefix}/"))
        if matched is None or matched["component"] != "device":
            self.problems.append(f"{topic} is no discovery topic")
            return
        with self._lock:
            for name in [name for name, each in self.devices.items() if each["topic"] == topic]:
                del self.devices[name]
            if payload:
                message = json.loads(payload)
                self.problems += [error.message for error in CHECK.iter_errors(message)]
                self.devices[message["device"]["identifiers"][0]] = {**message, "topic": topic}
