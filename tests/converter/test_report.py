"""The report: what is refused is shown once with its figures, on the terminal and on the page."""

from __future__ import annotations

import html.parser
import math
from dataclasses import replace
from pathlib import Path

from converter.proof.parity_gate import Proof
from converter.report.report import Report
from converter.report.report_html import page, write_html

PASSED = Proof("tflite", "float32", "ai-edge-litert", "2.3.0", 2e-7, 9e-8, 1.0, None, 0.975, 0.0, 12.5, 4888)
DROPPED = Proof(
    "tflite", "int8", "tflite-runtime", "2.14.0", 0.01, 0.1, 0.96, 0.93, 0.94, 3.5, 9.0, 2222,
    "loses 3.50 points on tflite-runtime (at most 0.5); allow more with --max-drop",
)  # fmt: skip
CRASHED = Proof("onnx", "int8", "onnxruntime", "1.32.0", refused="onnxruntime 1.32.0 cannot run it: no <such> op")
REPORT = Report(
    Path("out/m.hwb"), 47433, 400, ("idle", "walk"), "dense_1", 12, 12, 0.975, 0.98, (PASSED, DROPPED, CRASHED),
    (f"tflite int8: {DROPPED.refused}", f"onnx int8: {CRASHED.refused}", "onnx float32: the onnx converter crashed"),
    "none: the smallest",
)  # fmt: skip


def test_the_table_shows_figures_and_reasons_once() -> None:
    lines = REPORT.lines()
    text = "\n".join(lines)
    assert "  tflite float32   ai-edge-litert 2.3.0         4.9     12.5  2.0e-07  100.00%        -   0.975" in lines
    assert any(
        "tflite-runtime 2.14.0" in line and "96.00%   93.00%" in line and line.endswith("refused") for line in lines
    )
    assert text.count("loses 3.50 points") == 1
    assert text.count("no <such> op") == 1
    assert "  refused  onnx float32: the onnx converter crashed" in lines
    assert "  expansion  none: the smallest" in lines
    assert max(map(len, lines[:12])) < 120


def test_machine_figures_stay_out_of_the_bundle() -> None:
    figures = REPORT.figures()
    assert "latency" not in str(figures)
    assert figures["source_accuracy"] == 0.975
    assert REPORT.feature_parity == 2e-7


def test_a_models_own_rounding_is_told_beside_the_backbones() -> None:
    rounded = replace(PASSED, probability_parity=2.4e-5, exact_parity=1.02e-5, source_rounding=1.37e-5)
    report = replace(REPORT, proofs=(rounded, DROPPED))
    told = "from the same model in float64 the backbone is 1.0e-05, the source itself 1.4e-05"
    assert f"  rounding   {told}" in report.lines()
    assert told in page(report)
    assert "from the same model" not in "".join(REPORT.lines())
    assert "'exact_parity': 1e-05, 'source_rounding': 1.4e-05" in str(report.figures())


class Collector(html.parser.HTMLParser):
    """Open tags and text of a page; fails on one that is closed but was not open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data + "\n"


def test_the_page_is_whole_stands_alone_and_escapes_what_it_shows(tmp_path: Path) -> None:
    write_html(REPORT, tmp_path / "r.html")
    written = (tmp_path / "r.html").read_text()
    assert written == page(REPORT)
    found = Collector()
    found.feed(written)
    assert found.open == []
    assert found.tags.count("svg") == 4
    assert not {"script", "link", "img"} & set(found.tags)
    assert "no <such> op" in found.text
    assert "loses 3.50 points" in found.text
    assert "Size, KB" in found.text


def test_classes_confusion_and_notes_are_on_the_page_and_escaped() -> None:
    report = replace(
        REPORT, classes=("idle", "<walk>"), confusion=((8, 2), (0, 0)), notes=("warning: <x> is odd",),
        input_shape=(128, 6), chosen=("denoise median",),
    )  # fmt: skip
    assert report.per_class()[0] == ("idle", 10, 0.8, 1.0)
    assert [math.isnan(share) for share in report.per_class()[1][2:]] == [True, False]
    found = Collector()
    found.feed(page(report))
    assert found.open == []
    for text in ("<walk>", "80.0 %", "warning: <x> is odd", "(128, 6)", "denoise median", report.verdict):
        assert text in found.text
    assert "1 warning about model and data" in report.verdict
    assert "the device answers as the model does: tflite float32 on ai-edge-litert" in report.lines()[-1]
