"""Implements ``edge-fleet heads``: feature spaces, the heads of each, two of them compared, and what they are worth."""

from __future__ import annotations

from dataclasses import asdict

from aggregator.commands.device_list import quality
from aggregator.commands.moments import moment
from aggregator.commands.tables import aligned, print_json_rows, print_table
from aggregator.operations import SpaceView
from aggregator.reach import Fleet
from headway.errors import ConfigError
from headway.fields import json_line, readable_json
from headway.printable import printable

HEADER = ("SPACE", "BUNDLE", "HEAD", "METHOD", "DEVICES", "SAMPLES", "REPORTED", "STATE", "HELD")
FIELD_HEADER = ("SPACE", "BUNDLE", "DEVICES", "LABELS", "SCORED", "SERVED", "FROZEN", "POINTS", "HEADS")
VERSION_HEADER = (
    "HEAD", "METHOD", "PUBLISHED", "DEVICES", "LABELS", "MORE", "SAMPLE", "FIELD LABELS", "SERVED", "FROZEN",
    "TRIED FIRST",
)  # fmt: skip
VERSION_TEXTS = {"METHOD", "PUBLISHED", "TRIED FIRST"}
NUMBERS = frozenset({"HEAD", "DEVICES", "SAMPLES", "REPORTED", "HELD"})


def show_heads(fleet: Fleet, in_json: bool) -> None:
    """``edge-fleet heads``."""
    views = fleet.spaces()
    if in_json:
        print_json_rows([asdict(view) for view in views])
    elif views:
        rows = [(view.space[:12], *map(str, list(asdict(view).values())[1:])) for view in views]
        print_table(HEADER, rows, aligned([HEADER, *rows]), NUMBERS)
    else:
        print("no bundle has been served yet")


def show_fields(fleet: Fleet, in_json: bool) -> None:
    """``edge-fleet heads --field``: what devices do with the heads that they have chosen."""
    found = fleet.figures.fields()
    if in_json:
        print_json_rows(list(found))  # type: ignore[arg-type]
        return
    named = {view.space: view.bundle for view in fleet.spaces()}
    rows = [
        (
            each["space"][:12], named.get(each["space"], "-"), str(each["devices"]), str(each["labels"]),
            str(each["scored"]), quality(each["served"], None), quality(each["frozen"], None),
            _points(each["served"], each["frozen"]),
            ", ".join(f"{count} {name}" for name, count in each["heads"].items()),
        )
        for each in found
    ]  # fmt: skip
    print_table(FIELD_HEADER, rows, aligned([FIELD_HEADER, *rows]), frozenset(FIELD_HEADER[2:8]))


def show_versions(fleet: Fleet, space: str, in_json: bool) -> None:
    """``edge-fleet heads --versions``. space: its first digits."""
    found = fleet.figures.head_versions(_the_space(fleet.spaces(), space).space)
    if in_json:
        print_json_rows(list(found))  # type: ignore[arg-type]
        return
    rows = [
        (
            str(each["version"]), each["method"], moment(each["published_s"]), str(each["devices"]),
            str(each["samples"]), "-" if each["more_samples"] is None else f"{each['more_samples']:+}",
            quality(each["accuracy"], None), str(each["field_labels"]), quality(each["served"], None),
            quality(each["frozen"], None), each["trial"] or "-",
        )
        for each in found
    ]  # fmt: skip
    print_table(VERSION_HEADER, rows, aligned([VERSION_HEADER, *rows]), frozenset(VERSION_HEADER) - VERSION_TEXTS)


def compare(fleet: Fleet, versions: tuple[int, int], space: str, in_json: bool) -> None:
    """``edge-fleet heads --compare A B``."""
    found = fleet.figures.compare_heads(_the_space(fleet.spaces(), space).space, *versions)
    if in_json:
        print(readable_json(found))
        return
    result, sides = found["result"], (found["first"], found["second"])
    header = ("", *(f"HEAD {side['version']}" for side in sides))
    rows = [
        ("published", *(moment(side["published_s"]) for side in sides)),
        ("devices", *(str(side["devices"]) for side in sides)),
        ("labels", *(str(side["samples"]) for side in sides)),
        ("on the bundle's sample", quality(result["first"], None), quality(result["second"], None)),
        ("in the field, served", *(quality(side["served"], None) for side in sides)),
        ("in the field, frozen", *(quality(side["frozen"], None) for side in sides)),
        ("labels in the field", *(str(side["field_labels"]) for side in sides)),
    ]
    if result["rows"]:
        rows.append((f"right alone, of {result['rows']}", str(result["only_first"]), str(result["only_second"])))
    print_table(header, rows, aligned([header, *rows]), frozenset(header[1:]))
    if result["gain"] is not None and result["error"] is not None:
        gain, slack = 100 * result["gain"], 200 * result["error"]
        print(
            f"\nhead {versions[1]} less head {versions[0]}: {gain:+.1f} points, from {gain - slack:+.1f} to "
            f"{gain + slack:+.1f} (two standard errors)"
        )
    print()
    header = ("CLASS", "ROWS", *header[1:], "WEIGHTS MOVED")
    rows = [
        (
            each["name"], str(each["rows"]), quality(each["first"], None), quality(each["second"], None),
            quality(each["moved"], None),
        )
        for each in result["classes"]
    ]  # fmt: skip
    print_table(header, rows, aligned([header, *rows]), frozenset(header[1:]))


def _points(served: float | None, frozen: float | None) -> str:
    return "-" if served is None or frozen is None else f"{100 * (served - frozen):+.1f}"


def hold_head(fleet: Fleet, version: int, space: str, in_json: bool) -> None:
    """``edge-fleet heads --hold``, ``--let-go``. version: 0 lets the held head go. space: its first digits."""
    found = _the_space(fleet.spaces(), space)
    fleet.hold_head(found.space, version)
    if version:
        words = f"head {version} of {found.bundle} is published again within seconds, and held"
        words += ": edge-fleet heads --let-go"
    else:
        words = f"head {found.held} of {found.bundle} is let go; the next head is made of all that devices have learned"
    if in_json:
        print(json_line({"space": found.space, "bundle": found.bundle, "held": version}))
    else:
        print(printable(words))


def _the_space(views: list[SpaceView], digits: str) -> SpaceView:
    fitting = [view for view in views if view.space.startswith(digits)]
    if len(fitting) != 1:
        known = ", ".join(f"{view.space[:12]} ({view.bundle})" for view in views) or "none"
        raise ConfigError(f"{len(fitting)} feature spaces begin with {digits!r}; give --space, of {known}")
    return fitting[0]
