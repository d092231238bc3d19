"""The client of the API with errors of our own families, and acts with a key, so that they can be sent again."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any, BinaryIO

from headway.errors import ConfigError, ConflictError, StoreError, TransportError, UnknownNameError
from headway_client import ApiError, ApiUnreachable, Client

ATTEMPTS = 3
ON_ITS_MACHINE = "on the machine of its store the same command looks without it: leave --server out, give --config"
FAMILIES: dict[int, type[ConfigError | StoreError | TransportError]] = {
    404: UnknownNameError, 409: ConflictError, 429: TransportError, 500: StoreError, 503: StoreError
}  # fmt: skip


class RepeatingClient(Client):
    """An act is sent again when no answer came, and done once."""

    def ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        given = dict(headers or {})
        if method != "GET":
            given.setdefault("Idempotency-Key", secrets.token_hex(16))
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return super().ask(method, path, query, body, given)
            except ApiError as error:
                raise FAMILIES.get(error.status, ConfigError)(error.detail) from error
            except ApiUnreachable as error:
                if attempt == ATTEMPTS:
                    raise TransportError(f"{error}; {ON_ITS_MACHINE}") from error
        raise TransportError(f"no answer to {method} {path}")

    def download(self, method: str, path: str, to: BinaryIO, headers: Mapping[str, str] | None = None) -> int:
        """Once: what came of a file that was cut off is of no use."""
        try:
            return super().download(method, path, to, headers)
        except ApiError as error:
            raise FAMILIES.get(error.status, ConfigError)(error.detail) from error
        except ApiUnreachable as error:
            raise TransportError(f"{error}; {ON_ITS_MACHINE}") from error
