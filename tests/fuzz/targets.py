"""What is fuzzed: every parser of bytes from outside, its valid inputs, and the family it may raise.

Some targets repair hashes and check sums after the mutation, so that the mutated content is reached at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from aggregator.enrolment.authority import requested_key
from aggregator.filters import parse_filter
from aggregator.registry import VOCABULARY
from edge_agent.labels import RememberedWindows
from edge_agent.labels.wanted import WantedLabels
from edge_agent.labels_wanted_settings import LabelsWantedSettings
from edge_agent.learner import HeadLearner
from edge_agent.learner_settings import LearnerSettings
from edge_agent.remote.kept import Kept
from edge_agent.store import COMMANDS, WANTED, Extent
from edge_agent.sync import CommandLog
from headway.bundle.container import HEADER, MAGIC, decode_container, encode_container
from headway.bundle.variant import decode_variant
from headway.durable import checked
from headway.errors import BundleError, ConfigError, DataError, HeadwayError, RemoteError, StoreError
from headway.fields import canonical_json, parse_json
from headway.joining import JoinCode
from headway.wire.topics import parse_topic
from tests.fuzz.mutation import exchanged, mutated
from tests.fuzz.spool import NAMES, SpoolFolder, arrays, packed, seeds
from tests.fuzz.state import SavedLearner, StateFolder, in_place
from tests.fuzz.tables import TableFolder, tables
from tests.headway.bundles import golden_bundles, small_variant
from tests.headway.test_joining import CODE
from tests.headway.test_joining import DECODE as JOINING_DECODE
from tests.headway.test_joining import GOLDEN as JOINING_FOLDER
from tests.headway.test_joining import MESSAGES as JOINING
from tests.headway.test_messages import DECODE, MESSAGES

TENSORS = "tensors.safetensors"
CERTIFICATE_REQUEST = (JOINING_FOLDER / "certificate-request.pem").read_bytes()
KEPT = Kept(3, {"sync.interval_s": 60.0}, {"sync.interval_s": 60.0}, {"drift.method": "no"}, {}, False, 1, 2.5)
KEPT_COMMANDS = (
    b'{"commands":[{"arrived":false,"result":{"at_s":1.0,"detail":{"label":"learned"},"id":"00000000000000a1",'
    b'"state":"done"}}]}'
)
KEPT_WISHES = (
    b'{"dismissed":["w1"],"seen":[{"at_s":1.5,"id":"w2",'
    b'"sketch":{"high":1.0,"kind":"series","low":0.0,"rows":["AQ=="]}}]}'
)
STREAM = canonical_json(
    {"channels": [{"name": "x", "unit": "g"}, {"name": "y", "unit": ""}], "rate_hz": 50.0, "length": 2, "hop": 1,
     "resampling": "linear", "gap": "missing", "gap_s": 0.5}
)  # fmt: skip
FILTERS = (
    b'accuracy_gain < 0 and labels > 50 and bundle == "watch 1.2"',
    b'not (silent_for > 2h or group in (\'a\', "b")) and tag.site != "north"',
    b"disk_free < 500MB or note contains \"x\" or link == 'online' or temperature == unknown",
)


@dataclass(frozen=True, slots=True)
class Target:
    """seeds: valid inputs, or their maker; parse raises `family` on bad ones; wrap turns a mutated part into the whole.

    cost: how many inputs of another target take as long as one of this.
    """

    name: str
    seeds: tuple[bytes, ...] | Callable[[], tuple[bytes, ...]]
    parse: Callable[[bytes], object]
    family: type[HeadwayError]
    wrap: Callable[[bytes], bytes | None] = lambda part: part
    mutate: Callable[[bytes, Sequence[bytes], np.random.Generator], bytes] = mutated
    cost: int = 1

    def valid(self) -> tuple[bytes, ...]:
        """The valid inputs."""
        return self.seeds if isinstance(self.seeds, tuple) else self.seeds()


def targets() -> list[Target]:
    """All of them."""
    small, spool = decode_container(small_variant().encode()), SpoolFolder()
    # an agent learns for these: each process of tests collects all targets, and one of them needs these
    exact, gradient = cache(lambda: StateFolder("exact")), cache(lambda: StateFolder("gradient"))
    learner = cache(SavedLearner)

    def with_manifest(part: bytes) -> bytes | None:
        """The mutated manifest in its canonical form, over the members as they are."""
        try:
            table = parse_json(part, "manifest", BundleError)
        except BundleError:
            return None
        if not isinstance(table, dict):
            return None
        manifest = canonical_json(table)
        body = small_variant().encode()[HEADER.size + len(small.manifest_bytes) :]
        padding = -(HEADER.size + len(small.manifest_bytes)) % 64
        head = HEADER.pack(MAGIC, 1, 0, len(manifest)) + manifest
        return head + bytes(-len(head) % 64) + body[padding:]

    def with_stream(part: bytes) -> bytes | None:
        """The mutated table of the stream, in the manifest of a bundle that is whole otherwise."""
        try:
            table = parse_json(part, "stream", BundleError)
        except BundleError:
            return None
        rest = {key: value for key, value in small.manifest.items() if key != "members"}
        return encode_container(rest | {"stream": table}, small.members)

    def with_tensors(part: bytes) -> bytes:
        table = {key: value for key, value in small.manifest.items() if key != "members"}
        return encode_container(table, {**small.members, TENSORS: part})

    messages = [
        Target(f"message {name}", (MESSAGES[name].encode(),), DECODE[name], RemoteError) for name in sorted(MESSAGES)
    ]
    joining = [
        Target(f"joining {name}", (message.encode(),), JOINING_DECODE[name], RemoteError)
        for name, message in sorted(JOINING.items())
    ]
    return [
        Target("bundle", tuple(golden_bundles().values()), _variant, BundleError),
        Target("bundle manifest", (small.manifest_bytes,), _variant, BundleError, with_manifest, exchanged),
        Target("bundle stream", (STREAM,), _variant, BundleError, with_stream, exchanged),
        Target("bundle tensors", (small.members[TENSORS],), _variant, BundleError, with_tensors),
        Target("filter", FILTERS, _filter, ConfigError),
        Target("topic", (b"headway/v1/f/pump-7/statistics", b"headway/v1/f/_all/head"), _topic, RemoteError),
        *messages,
        *joining,
        Target("join code", (CODE.text.encode(),), _code, ConfigError),
        Target("certificate request", (CERTIFICATE_REQUEST,), _request, RemoteError),
        Target("spool file", seeds(), spool.read, DataError),
        Target("spool array", arrays(), spool.read, DataError, packed),
        Target("spool table", tables(), TableFolder().read, DataError),
        Target("spool name", NAMES, spool.take, DataError),
        Target("state database", lambda: (exact().database,), lambda b: exact().open_database(b), StoreError, cost=20),
        Target("state backup", lambda: (exact().backup,), lambda b: exact().open_backup(b), StoreError, cost=20),
        Target(
            "state value",
            lambda: exact().values,
            lambda value: exact().open_value(value),
            StoreError,
            mutate=in_place,
            cost=20,
        ),
        Target(
            "state value of gradient learner",
            lambda: gradient().values,
            lambda value: gradient().open_value(value),
            StoreError,
            mutate=in_place,
            cost=20,
        ),
        Target("kept configuration", (KEPT.encode(),), Kept.decode, StoreError),
        Target("kept commands", (KEPT_COMMANDS,), _commands, StoreError, checked),
        Target("kept wishes for labels", (KEPT_WISHES,), _wishes, StoreError, checked),
        Target("state file of a Learner", lambda: (learner().content,), lambda b: learner().load(b), StoreError),
    ]


def _variant(payload: bytes) -> object:
    return decode_variant(decode_container(payload))


def _commands(payload: bytes) -> object:
    log = CommandLog()
    log.restore({COMMANDS: payload})
    return log.results


def _wishes(payload: bytes) -> object:
    learner = HeadLearner(small_variant(), LearnerSettings())
    wanted = WantedLabels(learner, RememberedWindows(8), LabelsWantedSettings())
    wanted.restore({WANTED: payload})
    return wanted.take_changes(Extent.EVERYTHING)


def _filter(payload: bytes) -> object:
    return parse_filter(payload.decode("utf-8", "replace"), VOCABULARY)


def _code(payload: bytes) -> object:
    return JoinCode.parse(payload.decode("utf-8", "replace"))


def _request(payload: bytes) -> object:
    return requested_key(payload.decode("utf-8", "replace"))


def _topic(payload: bytes) -> object:
    return parse_topic(payload.decode("utf-8", "replace"))
