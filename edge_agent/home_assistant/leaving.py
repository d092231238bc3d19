"""Takes a device out of Home Assistant while no agent runs: before it is uninstalled, or for good."""

from __future__ import annotations

import queue
import secrets
from collections.abc import Callable
from dataclasses import replace

from edge_agent.config import AgentConfig
from edge_agent.home_assistant.announced import Announced
from headway.errors import ConfigError, TransportError
from headway.ports import Clock, Connected, Delivered, Disconnected, Outgoing, Transport, TransportEvent
from headway.wire import Kind, topic

WAIT_S = 15.0


def leave(config: AgentConfig, clock: Clock, build_transport: Callable[..., Transport]) -> tuple[str, ...]:
    """Clear every topic that the broker retains for Home Assistant; returns them.

    Raises ConfigError without a broker, TransportError when it does not answer or refuses, StoreError.
    """
    announced = Announced(config.state_dir)
    topics = announced.topics
    if not topics:
        return ()
    if config.mqtt is None:
        raise ConfigError("this device was announced to Home Assistant, but there is no [mqtt] table any more")
    events: queue.Queue[TransportEvent] = queue.Queue()
    # another client id and no session: the agent's session, and what waits for it, stays as it is
    settings = replace(config.mqtt, session_expiry_s=0)
    client_id = f"{config.fleet}.{config.device}.{secrets.token_hex(4)}"
    will = Outgoing(topic(config.fleet, config.device, Kind.SUMMARY), b"", retain=True)
    transport = build_transport(settings, client_id, (), will, events.put)
    transport.start()
    try:
        _clear(announced, topics, transport, events, clock)
    finally:
        transport.stop()
    return topics


def _clear(
    announced: Announced,
    topics: tuple[str, ...],
    transport: Transport,
    events: queue.Queue[TransportEvent],
    clock: Clock,
) -> None:
    waiting: dict[int, str] = {}
    deadline_s, problem = clock.monotonic_s() + WAIT_S, "it does not answer"
    while announced.topics:
        try:
            event = events.get(timeout=max(0.0, deadline_s - clock.monotonic_s()))
        except queue.Empty as error:
            left = ", ".join(announced.topics)
            words = f"the broker still retains {left} ({problem}); clear each: mosquitto_pub -r -n -t TOPIC"
            raise TransportError(words) from error
        match event:
            case Connected():
                sent = {name: transport.publish(Outgoing(name, b"", retain=True)) for name in topics}
                waiting = {token: name for name, token in sent.items() if token is not None}
            case Disconnected(reason):
                problem = reason
            case Delivered(token, reason, refused) if token in waiting:
                if refused:
                    problem = f"{waiting[token]}: {reason}"
                else:
                    announced.gone(waiting[token])
