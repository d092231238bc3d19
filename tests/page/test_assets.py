"""Files for the browser: whose they are, how large, and how long they are kept."""

from __future__ import annotations

import gzip
import hashlib
import re

import pytest

from aggregator.page.assets import FOLDER, Assets
from tests.page.fleet import PageFleet

JS_BYTES_MAX = 150_000
VENDORED = (FOLDER / "vendor" / "VENDORED.md").read_text()
ROWS = re.findall(r"^\| (\S+) \| (\S+) \| (\S+) \| (.+?) \| `(\S+)` \| (\S+) \| ([0-9a-f]{64}) \|$", VENDORED, re.M)


def test_every_vendored_file_is_described_and_unchanged() -> None:
    there = {path.name for path in (FOLDER / "vendor").iterdir() if path.suffix in (".js", ".css")}
    assert {row[0] for row in ROWS} == there
    for name, _, version, _, package, _, sha256 in ROWS:
        assert hashlib.sha256((FOLDER / "vendor" / name).read_bytes()).hexdigest() == sha256, name
        assert package.endswith(f"@{version}")


def test_all_javascript_together_is_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.rglob("*.js")) < JS_BYTES_MAX


def test_an_asset_is_kept_for_ever_under_its_hash_and_never_otherwise(fleet: PageFleet) -> None:
    browser, address = fleet.browser(), Assets.of_package().address("vendor/htmx.js")
    found = browser.get(address)
    assert found.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert found.headers["content-type"].startswith("text/javascript")
    assert browser.get(address, If_None_Match=found.headers["etag"]).status_code == 304
    other = browser.get(address.replace(address.split("/")[2], "0" * 16))
    assert (other.status_code, other.headers["cache-control"]) == (200, "no-cache")
    assert browser.get("/static/0/none.js").status_code == 404


def test_an_asset_travels_packed(fleet: PageFleet) -> None:
    browser, address = fleet.browser(), Assets.of_package().address("page.css")
    packed = browser.get(address, Accept_Encoding="gzip")
    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) < len(packed.content) / 2
    assert packed.content == (FOLDER / "page.css").read_bytes()
    assert gzip.decompress(gzip.compress(packed.content)) == browser.get(address, Accept_Encoding="identity").content


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.css")), ids=lambda path: path.name)
def test_no_sheet_asks_for_anything_elsewhere(path: object) -> None:
    text = path.read_text()  # type: ignore[attr-defined]
    assert "@import" not in text
    assert "url(" not in text
