"""The pages of recipes and of a replay in Chromium: nothing is fetched, nothing complains, nothing is cut off."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_agent.commands.replay_findings import Column, Columns
from edge_agent.commands.replay_page import Replayed, replay_page
from headway.maths import Task
from recipes.measuring import measured, write_page
from tests.page.conftest import chromium, chromium_address  # noqa: F401 - fixtures
from tests.project.files import ROOT

pytestmark = pytest.mark.browser
PICTURES = sorted(path for kind in ("svg", "png") for path in (ROOT / "docs" / "images").glob(f"*.{kind}"))
# 0 to 255: of words, of the page, of the first picture's letters, and of what they lie on
BRIGHTNESS = """() => {
  const mean = text => { const [r, g, b] = text.match(/[0-9.]+/g).map(Number); return (r + g + b) / 3 };
  const on = element => {
    for (; element; element = element.parentElement) {
      const colour = getComputedStyle(element).backgroundColor;
      if (!colour.endsWith(", 0)")) return mean(colour);
    }
    return 255;
  };
  const words = mean(getComputedStyle(document.querySelector("h1")).color);
  const letters = mean(getComputedStyle(document.querySelector("svg text") ?? document.querySelector("svg")).fill);
  return { words, letters, page: on(document.body), picture: on(document.querySelector("svg")) };
}"""


def recipe_page(path: Path) -> None:
    truth = np.random.default_rng(0).normal(size=200)
    answers = {"frozen": truth + 3, "exact": truth * 0.9, "rule": truth + 1}
    runs = [measured("A stream", truth, answers, naive="rule", measure="mean absolute error", picture="")] * 2
    write_page(path, "A recipe", "Data: somebody", [runs], (2.0, 2.0))


def replayed_page(path: Path) -> None:
    random = np.random.default_rng(0)
    y = random.integers(0, 3, 200)
    probability = random.dirichlet([1, 1, 1], 200).astype(np.float32)
    answers = {"served": probability.argmax(axis=1), "frozen": y, "the last label again": np.roll(y, 1)}
    by_class = {name: {"precision": 0.5, "samples": 60} for name in ("a", "b", "a long name of a class")}
    columns = Columns((Column(1, 0.1, True, 0.97, True), Column(0, 0.9, False)), count=2)
    path.write_text(
        replay_page(
            Replayed("A model, replayed", Task.CLASSIFICATION, tuple(by_class), y, answers, probability,
                     np.repeat(["frozen", "learned"], 100), (64,), columns, by_class)
        )
    )  # fmt: skip


# of each section: rows of its table, curves with at least two methods, and whether all that it shows has a size
SECTIONS = """() => [...document.querySelectorAll("h2")].map(title => {
  const found = { title: title.textContent, rows: 0, figures: 0, lines: 0, sized: true };
  for (let next = title.nextElementSibling; next && next.tagName !== "H2"; next = next.nextElementSibling) {
    const { width, height } = next.getBoundingClientRect();
    found.sized &&= width > 100 && height > 10;
    found.rows += next.querySelectorAll("td:first-child").length;
    if (next.tagName !== "FIGURE") continue;
    found.figures += 1;
    if (found.figures === 1) {
      const drawn = [...next.querySelectorAll("g[id^=line2d] > path[clip-path]")];
      found.lines = drawn.filter(line => getComputedStyle(line).stroke !== "rgb(176, 176, 176)").length;  // the grid's
    }
    found.sized &&= next.querySelector("svg")?.getBoundingClientRect().height > 100;
  }
  return found;
})"""


def look(path: Path, width: int, chromium: Any, scheme: str = "light", sections: int = 0) -> None:  # noqa: F811
    """Open it: one title, a picture, nothing fetched, nothing complains, nothing is cut off, words can be read.

    sections: of a recipe's page, each with a table and a curve of all its methods, and one at least with a picture.
    """
    complaints: list[str] = []
    fetched: list[str] = []
    context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: fetched.append(request.url))
    page.goto(path.as_uri())
    assert page.locator("h1").count() == 1
    assert page.locator("svg").count() >= 1
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    found = page.evaluate(SECTIONS) if sections else []
    assert len(found) == sections
    assert [each for each in found if each["rows"] < 3 or each["lines"] != each["rows"] or not each["sized"]] == []
    assert not sections or max(each["figures"] for each in found) > 1
    brightness = page.evaluate(BRIGHTNESS)
    assert abs(brightness["words"] - brightness["page"]) > 100
    assert abs(brightness["letters"] - brightness["picture"]) > 70
    assert complaints == []
    assert len(fetched) == 1
    context.close()


@pytest.mark.parametrize("made", [recipe_page, replayed_page])
def test_a_page_is_shown_as_it_is(made: Any, tmp_path: Path, chromium: Any) -> None:  # noqa: F811
    pytest.importorskip("matplotlib")
    made(tmp_path / "page.html")
    for width, scheme in product((1280, 390), ("light", "dark")):
        look(tmp_path / "page.html", width, chromium, scheme)


def test_every_picture_of_the_documents_is_shown(tmp_path: Path, chromium: Any) -> None:  # noqa: F811
    assert len(PICTURES) > 10
    page = tmp_path / "pictures.html"
    page.write_text("".join(f'<img src="{path.as_uri()}">' for path in PICTURES))
    context = chromium.new_context()
    shown = context.new_page()
    shown.goto(page.as_uri())
    widths = shown.evaluate(
        "Promise.all([...document.images].map(i => i.decode().then(() => i.naturalWidth, () => 0)))"
    )
    assert [path.name for path, width in zip(PICTURES, widths, strict=True) if width < 100] == []
    context.close()
