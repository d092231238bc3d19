"""A bundle that tests keep is that of today's sources, or it is made."""

from __future__ import annotations

from pathlib import Path

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
