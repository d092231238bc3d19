"""Every example of docs/howto/embed.md runs, one after the other, as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from edge_agent import embed
from tests.arrays import assert_same
from tests.edge_agent.variants import IdentityRuntime, variant, windows

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "embed.md"


def test_the_pages_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    # the bundle of these tests holds no real backbone
    monkeypatch.setattr(embed, "open_runtime", lambda variant: IdentityRuntime())
    (tmp_path / "model.hwb").write_bytes(variant().encode())
    x, y = windows(120, drift=0.8)
    names: dict[str, object] = {"x": x, "y": y}
    examples = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(examples) == 6
    for number, example in enumerate(examples):
        exec(compile(example, f"{PAGE.name}, example {number + 1}", "exec"), names)
    learner = names["learner"]
    assert isinstance(learner, embed.Learner)
    assert learner.metrics["samples"] == 61
    assert_same(learner.classes_, np.array(["idle", "walk", "run"]))
