"""A bundle that tests keep is that of today's sources, or it is made."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.system import kept_bundle


def test_it_is_made_once_for_the_same_sources_and_anew_for_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_bundle, "FOLDER", tmp_path / "kept")
    made: list[Path] = []

    def make(folder: Path) -> None:
        (folder / "tiny.hwb").write_text(f"bundle {len(made)}")
        made.append(folder)

    def had(name: str) -> str:
        (tmp_path / name).mkdir()
        kept_bundle.kept(tmp_path / name, make)
        return (tmp_path / name / "tiny.hwb").read_text()

    assert [had("a"), had("b")] == ["bundle 0", "bundle 0"]
    root = tmp_path / "sources"
    (root / "converter").mkdir(parents=True)
    (root / "converter" / "a.py").write_text("one")
    monkeypatch.setattr(kept_bundle, "ROOT", root)
    assert [had("c"), had("d")] == ["bundle 1", "bundle 1"]
    (root / "converter" / "a.py").write_text("another")
    assert [had("e"), had("f")] == ["bundle 2", "bundle 2"]
    for number in range(kept_bundle.KEPT_MAX + 1):
        (root / "converter" / "a.py").write_text(str(number))
        had(f"more {number}")
    assert len([*(tmp_path / "kept").iterdir()]) == kept_bundle.KEPT_MAX


def test_its_key_holds_python_processor_packages_sources_and_how_it_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "tests" / "kept_bundle.py"
    template = tmp_path / "headway" / "templates" / "page.html"
    for file in (own, template, *(own.with_name(name) for name in ("make_model.py", "conftest.py"))):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("one")
    monkeypatch.setattr(kept_bundle, "ROOT", tmp_path)
    monkeypatch.setattr(kept_bundle, "__file__", str(own))
    keys = [kept_bundle._key()]
    assert kept_bundle._key() == keys[0]
    for file in (template, own.with_name("make_model.py"), own.with_name("conftest.py")):
        file.write_text("another")
        keys.append(kept_bundle._key())
    monkeypatch.setattr("sys.version", "4.0")
    keys.append(kept_bundle._key())
    monkeypatch.setattr("platform.machine", lambda: "abacus")
    keys.append(kept_bundle._key())
    for version in ("1.0", "1.1"):
        packages = [SimpleNamespace(name="keras", version=version)]
        monkeypatch.setattr(kept_bundle, "distributions", lambda packages=packages: packages)
        keys.append(kept_bundle._key())
    assert len({*keys}) == len(keys) == 8
