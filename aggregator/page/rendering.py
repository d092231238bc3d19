"""Templates, escaped always, and the words and numbers in them."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

import headway
from aggregator.access import Role
from aggregator.api import Desk
from aggregator.page.assets import Assets
from aggregator.page.words import FILTERS

FOLDER = Path(__file__).parent / "templates"


@dataclass(frozen=True, slots=True)
class Place:
    """An entry of the header. key: of its icon, and what a page gives as `place`. role: that it needs at least."""

    key: str
    name: str
    path: str
    role: Role = Role.SHARE


# in this order; one that has no route yet is not shown
NAVIGATION = (
    Place("fleet", "Fleet", "/"),
    Place("inbox", "Inbox", "/inbox", Role.VIEWER),
    Place("heads", "Heads", "/heads"),
    Place("rollouts", "Rollouts", "/rollouts"),
    Place("settings", "Settings", "/settings", Role.VIEWER),
)
# what a page says after an act, by the key in its address: nothing that stands in an address is shown as it is
SAID: dict[str, str] = {
    "asked": "Asked. The device does it when it is connected; the table of commands shows what came of it.",
    "noted": "The note is kept.",
    "tagged": "The tags are kept.",
    "saved": "Saved.",
    "approved": "Approved. The rollout goes on within a moment.",
    "wanted": "Wanted from now on. The device takes the setting when it is connected, or says why not.",
    "removing": "The service takes out what the device contributed, and forgets the device within a minute.",
    "deleted": "Deleted.",
    "begun": "The rollout begins: its first devices load the bundle within seconds, while the service runs.",
    "steered": "Asked. The running service does it within a second or two.",
    "ordered": "Ordered. Each device is told when it is connected; it tests the bundle before it takes it.",
    "withdrawn": "Withdrawn. What devices run stays.",
    "held": "Asked. The running service publishes that head again within seconds, and no newer one until it is let go.",
    "let-go": "Let go. The next head is made of all that devices have learned.",
    "forgetting": "Asked. The running service subtracts and forgets the device within a second or two.",
    "set-back": "Asked. The running service sets the device back within a second or two, and keeps a record.",
    "class-asked": "Asked. The device answers how many labels it has taken out; the table of commands shows it.",
    "user": "The user is kept.",
    "removed": "Removed.",
    "revoked": "Revoked. It is refused from now on.",
    "silenced": "Silenced.",
    "unsilenced": "The silence is over.",
    "rule": "The rule is kept; the service looks at it within its interval.",
    "acknowledged": "Acknowledged. The service notes that you look after it within its interval.",
    "quarantined": "Set aside. What the device reports is kept, and does not count until it is readmitted.",
    "readmitted": "Readmitted. What the device reported counts again.",
}


@dataclass(frozen=True, slots=True)
class Rendering:
    """The environment of every template, and the paths that the application has."""

    environment: Environment
    desk: Desk
    paths: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, assets: Assets, desk: Desk) -> Rendering:
        environment = Environment(
            loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
            lstrip_blocks=True, auto_reload=False, cache_size=200,
        )  # fmt: skip
        rendering = cls(environment, desk)
        environment.filters.update(FILTERS)
        environment.globals.update(
            asset=assets.address, fleet=desk.settings.fleet, version=headway.__version__, new_key=_new_key, said=SAID
        )
        return rendering

    def know_paths(self, paths: set[str]) -> None:
        """Which places there are."""
        self.paths.update(paths)

    def render(self, template: str, **values: Any) -> str:
        """now_s: for `ago`; places: of the header."""
        found = self.environment.get_template(template)
        visitor = values.get("visitor")
        there = [place for place in NAVIGATION if place.path in self.paths]
        places = [place for place in there if visitor is None or visitor.may(place.role)]
        return found.render({"place": "", "now_s": self.desk.clock.wall_s(), "places": places, "saying": "", **values})


def _new_key() -> str:
    """Of a form that is done once."""
    return secrets.token_hex(16)
