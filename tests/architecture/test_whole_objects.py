"""Nobody sets an attribute of one of our objects from outside, and the rule that says so can fail."""

from __future__ import annotations

import pytest

from tests.architecture.whole_objects import FOREIGN, complaints, modules, set_from_outside, unused


def test_no_attribute_is_set_from_outside() -> None:
    found = modules()
    assert len(found) > 500
    assert [each for path in sorted(found) for each in complaints(path, found[path])] == []


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("other.limit = 1", ["other.limit"]),
        ("other.count += 1", ["other.count"]),
        ("other.count: int = 1", ["other.count"]),
        ("a.x, (b.y, *c.z) = values", ["a.x", "b.y", "c.z"]),
        ("a.x = b.y = 1", ["a.x", "b.y"]),
        ("self.inner.limit = 1", ["self.inner.limit"]),
        ("items[0].limit = 1", ["items[0].limit"]),
        ("build().limit = 1", ["build().limit"]),
        ("for other.x in values: ...", ["other.x"]),
        ("with opened() as other.file: ...", ["other.file"]),
        ("del other.file", ["other.file"]),
        ("setattr(other, 'limit', 1)", ["setattr(other, 'limit', 1)"]),
        ("object.__setattr__(other, 'limit', 1)", ["object.__setattr__(other, 'limit', 1)"]),
        ("self.limit = cls.limit = 1", []),
        ("object.__setattr__(self, 'limit', 1)", []),
        ("other.items[0] = other.limit", []),
    ],
)
def test_the_rule_fires(text: str, names: list[str]) -> None:
    assert set_from_outside(text) == names
    path = "headway/a.py"
    assert complaints(path, text) == [f"{path} sets {name} from outside" for name in names]


def test_what_is_allowed_is_needed() -> None:
    assert {path: unused(path, modules()[path]) for path in FOREIGN} == {path: set() for path in FOREIGN}
