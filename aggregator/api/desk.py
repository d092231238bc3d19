"""Answers requests from the store: reads with tags of their content, acts exactly once by the key of their caller."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any

from fastapi import Request, Response
from pydantic import BaseModel

from aggregator.api.problems import Refusal
from aggregator.api.stores import Stores
from aggregator.config import Settings
from aggregator.operations import Caller, Operator
from aggregator.store import Store
from aggregator.store.rows import DONE_ACTS, DoneActRow
from headway.fields import canonical_json, json_line
from headway.ports import Clock

DAY_S = 86_400.0
DONE_ACTS_MAX = 1000
KEY_CHARACTERS_MAX = 255
IDEMPOTENCY_KEY = "Idempotency-Key"
JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Desk:
    """What every route needs."""

    settings: Settings
    stores: Stores
    clock: Clock

    def operator(self, store: Store, caller: Caller) -> Operator:
        return Operator(store, caller.who, self.clock.wall_s())

    def read(self, request: Request, caller: Caller, asked: Callable[[Operator], Any]) -> Response:
        """What `asked` returns, or 304 when the caller has it already (If-None-Match)."""
        with self.stores.one() as store, store.reading():
            body = encoded(asked(self.operator(store, caller)))
        tag = tag_of(body)
        headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
        if tag in tags_of(request, "If-None-Match"):
            return Response(status_code=304, headers=headers)
        return Response(body, headers=headers, media_type=JSON)

    def answer(self, value: Any) -> Response:
        """What is neither kept nor tagged."""
        return Response(encoded(value), headers={"Cache-Control": "no-store"}, media_type=JSON)

    def act(
        self,
        request: Request,
        caller: Caller,
        do: Callable[[Operator], Any],
        *,
        asked: BaseModel | None = None,
        status: int = 200,
        once: bool = True,
        secret: bool = False,
        present: Callable[[Operator], Any] | None = None,
    ) -> Response:
        """Do something in one transaction, once for each Idempotency-Key of a caller.

        asked: the body. once: False for what may be repeated anyway, of which nothing is kept then. secret: the answer
        holds one, and is never kept. present: what a read of the same thing shows now, for If-Match.
        """
        key = request.headers.get(IDEMPOTENCY_KEY, "") if once else ""
        if len(key) > KEY_CHARACTERS_MAX:
            raise Refusal(400, f"{IDEMPOTENCY_KEY} has more than {KEY_CHARACTERS_MAX} characters")
        wanted = [request.method, request.url.path, None if asked is None else asked.model_dump(mode="json")]
        digest = hashlib.sha256(canonical_json(wanted)).hexdigest()
        with self.stores.one() as store, store.transaction():
            operator = self.operator(store, caller)
            done = _done(operator, key, digest) if key else None
            if done is not None:
                return _again(done)
            _expect(request, operator, present)
            result = do(operator)
            body = b"" if result is None else encoded(result)
            if key:
                _keep(operator, DoneActRow(
                    caller.who, _sha256(key), digest, status, secret, b"" if secret else body, operator.now_s
                ))  # fmt: skip
        return Response(body, status, {"Cache-Control": "no-store"}, JSON if body else None)

    def act_once(self, caller: Caller, key: str, wanted: list[str], do: Callable[[Operator], object]) -> None:
        """Do what a form asks in one transaction; nothing when the same form comes again, as from a second click.

        key: of the form; empty for one that may come twice. wanted: path and fields, which a key belongs to.
        """
        digest = hashlib.sha256(canonical_json([*wanted])).hexdigest()
        with self.stores.one() as store, store.transaction():
            operator = self.operator(store, caller)
            if key and _done(operator, key, digest) is not None:
                return
            do(operator)
            if key:
                _keep(operator, DoneActRow(caller.who, _sha256(key), digest, 303, False, b"", operator.now_s))


def encoded(value: Any) -> bytes:
    """As JSON; NaN, which it does not have and which stands for what is not known, is null."""
    try:
        return _ENCODER.encode(value).encode()
    except ValueError:
        return json_line(json.loads(_WITH_NAN.encode(value))).encode()


def _plain(value: Any) -> Any:
    """What JSON does not know: our dataclasses and models, as objects."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")


# made once; everything that is plain already is written by the encoder's own code in C
_ENCODER = json.JSONEncoder(allow_nan=False, separators=(",", ":"), default=_plain)
_WITH_NAN = json.JSONEncoder(default=_plain)


def tag_of(body: bytes) -> str:
    """A strong entity tag, RFC 9110: the same for the same bytes alone."""
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def tags_of(request: Request, header: str) -> list[str]:
    return [tag.strip().removeprefix("W/") for tag in request.headers.get(header, "").split(",")]


def _expect(request: Request, operator: Operator, present: Callable[[Operator], Any] | None) -> None:
    if "If-Match" not in request.headers:
        return
    if present is None:
        raise Refusal(400, "If-Match means nothing here; leave it out")
    if tag_of(encoded(present(operator))) not in tags_of(request, "If-Match"):
        raise Refusal(412, "it has changed since you read it; read it again")


def _done(operator: Operator, key: str, digest: str) -> DoneActRow | None:
    row = operator.store.rows(DONE_ACTS).get(operator.who, _sha256(key))
    if row is None or operator.now_s - row.done_s >= DAY_S:
        return None
    if row.request_sha256 != digest:
        raise Refusal(422, f"this {IDEMPOTENCY_KEY} was used for another request; take a new one")
    return row


def _again(row: DoneActRow) -> Response:
    if row.secret:
        raise Refusal(409, "this was done already, and its secret is told only once; ask for another one")
    headers = {"Cache-Control": "no-store", "Idempotent-Replayed": "true"}
    return Response(row.body, row.status, headers, JSON if row.body else None)


def _keep(operator: Operator, row: DoneActRow) -> None:
    rows = operator.store.rows(DONE_ACTS)
    if rows.count(row.who) >= DONE_ACTS_MAX:
        for old in rows.all(row.who):
            if operator.now_s - old.done_s >= DAY_S:
                rows.remove(old.who, old.key_sha256)
        if rows.count(row.who) >= DONE_ACTS_MAX:
            raise Refusal(429, f"{DONE_ACTS_MAX} acts with keys in a day; leave {IDEMPOTENCY_KEY} out or wait")
    rows.put(row)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
