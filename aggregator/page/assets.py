"""Files for the browser, under addresses that hold their hash: kept by browsers for ever, and never stale."""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fastapi import FastAPI, Request, Response

from aggregator.api import Refusal

FOLDER = Path(__file__).parent / "static"
SERVED = (".js", ".css", ".svg", ".webmanifest")
FOR_EVER = "public, max-age=31536000, immutable"
DIGITS = 16


@dataclass(frozen=True, slots=True)
class Asset:
    """One file. tag: the first digits of its sha256."""

    name: str
    media_type: str
    body: bytes
    packed: bytes
    tag: str


class Assets:
    """Every file that pages refer to, in memory, by name as in ``vendor/htmx.js``."""

    def __init__(self, files: Mapping[str, Asset]) -> None:
        self._files = dict(files)

    @classmethod
    def of_package(cls) -> Assets:
        found = {}
        for path in sorted(FOLDER.rglob("*")):
            if path.suffix in SERVED:
                name, body = path.relative_to(FOLDER).as_posix(), path.read_bytes()
                kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
                tag = hashlib.sha256(body).hexdigest()[:DIGITS]
                found[name] = Asset(name, kind, body, gzip.compress(body, 9, mtime=0), tag)
        return cls(found)

    def address(self, name: str) -> str:
        """The path of a file. Raises KeyError for one that there is not."""
        return f"/static/{self._files[name].tag}/{name}"

    def find(self, name: str) -> Asset | None:
        return self._files.get(name)


def asset_routes(application: FastAPI, assets: Assets) -> None:
    """/static."""

    @application.get("/static/{tag}/{name:path}")
    def show_asset(request: Request, tag: str, name: str) -> Response:
        asset = assets.find(name)
        if asset is None:
            raise Refusal(404, "there is no such file")
        # a page of an earlier release asks for an earlier hash: it gets what there is, and must ask again
        headers = {
            "ETag": f'"{asset.tag}"', "Vary": "Accept-Encoding",
            "Cache-Control": FOR_EVER if tag == asset.tag else "no-cache",
        }  # fmt: skip
        if f'"{asset.tag}"' in request.headers.get("If-None-Match", ""):
            return Response(status_code=304, headers=headers)
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            return Response(asset.packed, headers=headers | {"Content-Encoding": "gzip"}, media_type=asset.media_type)
        return Response(asset.body, headers=headers, media_type=asset.media_type)
