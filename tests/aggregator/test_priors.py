"""What a device with few labels is told of the others: exactly their sum, never of too few, never its own."""

from __future__ import annotations

import pytest

from aggregator.effects import Effect
from aggregator.policy import AveragingPolicy, Method, Policy
from headway.ports import Outgoing, Received
from headway.wire.fleet_prior import FleetPrior, PriorRequest
from headway.wire.topics import Kind, topic
from tests.aggregator.fleets import CLASSES, FLEET, SPACE, Fleet, statistics_message, tables

PARTS = {name: tables(20 + number, number) for number, name in enumerate("abc")}
EVERYTHING = PARTS["a"] + PARTS["b"] + PARTS["c"]


def request(device: str, samples: int = 0, space: str = SPACE) -> Received:
    return Received(topic(FLEET, device, Kind.PRIOR_REQUEST), PriorRequest(space, samples).encode())


def told(effects: list[Effect], device: str) -> list[FleetPrior]:
    wanted = topic(FLEET, device, Kind.PRIOR)
    messages = [e for e in effects if isinstance(e, Outgoing) and e.topic == wanted]
    assert not any(message.retain for message in messages)
    return [FleetPrior.decode(message.payload) for message in messages]


def fleet(**policy: object) -> Fleet:
    made = Fleet(Policy(publish_interval_s=0.0, **policy))  # type: ignore[arg-type]
    made.send(*[statistics_message(name, 1, 5, part) for name, part in PARTS.items()])
    made.pass_time()
    return made


def test_a_new_device_is_told_the_sum() -> None:
    (prior,) = told(fleet().send(request("new")), "new")
    assert prior == FleetPrior(3, EVERYTHING)


def test_a_device_is_never_told_what_it_contributed_itself() -> None:
    subject = fleet(prior_devices_min=2)
    subject.send(statistics_message("a", 2, 1, PARTS["b"]))  # another epoch of the same device
    (prior,) = told(subject.send(request("a")), "a")
    assert prior == FleetPrior(2, PARTS["b"] + PARTS["c"])


def test_a_class_that_only_the_asking_device_knows_is_not_told() -> None:
    subject = fleet(prior_devices_min=2)
    own = tables(9, 5, (*CLASSES, "swim"))
    subject.send(statistics_message("d", 1, 1, own))
    (mine,) = told(subject.send(request("d")), "d")
    (theirs,) = told(subject.send(request("new")), "new")
    assert mine.statistics.classes == CLASSES
    assert theirs.statistics.classes == (*CLASSES, "swim")


@pytest.mark.parametrize(("least", "answers"), [(1, 1), (3, 1), (4, 0), (0, 0)])
def test_the_sum_of_too_few_devices_is_not_told(least: int, answers: int) -> None:
    subject = fleet(prior_devices_min=least)
    assert len(told(subject.send(request("new")), "new")) == answers
    assert not subject.refusals


def test_nothing_is_told_to_who_knows_as_much() -> None:
    subject = fleet()
    assert not told(subject.send(request("new", samples=EVERYTHING.samples)), "new")


@pytest.mark.parametrize(
    ("subject", "asked", "reason"),
    [
        (fleet(), request("new", space="0" * 64), "space"),
        (fleet(method=Method.AVERAGE, averaging=AveragingPolicy()), request("new"), "unused"),
        (fleet(), Received(topic(FLEET, "new", Kind.PRIOR_REQUEST), b"{"), "malformed"),
    ],
)
def test_what_cannot_be_answered_is_refused_and_counted(subject: Fleet, asked: Received, reason: str) -> None:
    before = dict(subject.refusals)
    assert not told(subject.send(asked), "new")
    assert {key for key in subject.refusals if key not in before} == {("new", reason)}
