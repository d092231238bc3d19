"""Tables with the warts that real ones have: read as meant, or refused with the line and the fix."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from headway.errors import DataError
from headway.tables import Columns, names_of, read_table


def written(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    (folder / "t.csv").write_bytes(text.encode(encoding))
    return folder / "t.csv"


def test_a_european_spreadsheet_is_read_as_it_is_meant(tmp_path: Path) -> None:
    path = written(tmp_path, "Länge;Gewicht;Sorte\r\n1,5;-,25;rot\r\n2;1,5e3;grün\r\n", "utf-16")
    read = read_table(path, Columns(labels=("Sorte",)))
    assert read.x.tolist() == [[1.5, -0.25], [2, 1500]]
    assert (read.y.tolist(), read.columns) == (["rot", "grün"], ("Länge", "Gewicht"))


def test_words_for_a_missing_value_are_gaps_in_x_and_no_label_in_numbers(tmp_path: Path) -> None:
    path = written(tmp_path, "a,b,y\nNA,1,0.5\n2,n/a,NaN\n?,-,\n4,null,1\n")
    read = read_table(path, Columns())
    assert np.isnan(read.x).tolist() == [[True, False], [False, True], [True, True], [False, True]]
    assert np.isnan(read.y).tolist() == [False, True, True, False]
    named = read_table(written(tmp_path, "a,label\n1,NA\n2,None\n3,\n"), Columns())
    assert named.y.tolist() == ["NA", "None", ""]  # of names these are names


@pytest.mark.parametrize(
    ("cells", "names"),
    [
        ("1 2 3", ["1", "2", "3"]),
        ("-1 1.0 -1", ["-1", "1", "-1"]),
        ("007 7 12", ["007", "7", "12"]),  # of an article
        ("12345678901234567890 1 2", ["12345678901234567890", "1", "2"]),
        (f"{'9' * 5000} 1 2", ["9" * 5000, "1", "2"]),
        ("inf 1 2", ["inf", "1", "2"]),
        ("1_000 1 2", ["1_000", "1", "2"]),
    ],
)
def test_labels_keep_their_names(cells: str, names: list[str], tmp_path: Path) -> None:
    rows = "".join(f"{row},{cell}\n" for row, cell in enumerate(cells.split()))
    assert names_of(read_table(written(tmp_path, f"a,label\n{rows}"), Columns()).y).tolist() == names


def test_numbers_that_no_integer_holds_are_values(tmp_path: Path) -> None:
    y = read_table(written(tmp_path, "a,label\n1,1e30\ninf,2e30\n-inf,-9007199254740995\n"), Columns()).y
    assert (y.dtype.kind, y.tolist()) == ("f", [1e30, 2e30, -(2.0**53) - 4])


def test_columns_that_say_nothing_or_too_much_are_noted(tmp_path: Path) -> None:
    rows = "".join(f"{row},{row + 100},,{1.6e9 + 5 * (row % 3):.0f},{row % 2 * 0.5},x\n" for row in range(8))
    notes = read_table(written(tmp_path, f",id,empty,clock,a,label\n{rows}"), Columns()).notes
    found = (
        "1 of t.csv has no name and",
        "'id' changes by 1 from",
        "'empty' holds no number",
        "'clock' holds values near",
    )
    assert len(notes) == len(found)
    assert all(part in note for part, note in zip(found, notes, strict=True)), notes
    assert not read_table(written(tmp_path, f",id,empty,clock,a,label\n{rows}"), Columns(x=("a",))).notes
    alike = read_table(written(tmp_path, "a,month,year,label\n1,1,2013,x\n4,1,2013,y\n"), Columns()).notes
    assert alike == (
        "warning: column ['month', 'year'] holds one value in all rows: nothing is learned of it, and another value "
        "would be new to the model; --without month,year",
    )


def test_windows_of_values_take_all_rows_and_the_last_ones_value(tmp_path: Path) -> None:
    rows = "".join(f"{row},{row / 2},{row % 4 > 1:d},{row % 4 > 1:d}\n" for row in range(9))
    path = written(tmp_path, f"a,y,on,off\n{rows}")
    read = read_table(path, Columns(labels=("y",), x=("a",), window=4))
    assert (read.x[:, :, 0].tolist(), read.y.tolist()) == ([[0, 1, 2, 3], [4, 5, 6, 7]], [1.5, 3.5])
    # several labels hold together as one does
    read = read_table(path, Columns(labels=("on", "off"), x=("a",), window=2))
    assert (read.x[:, 0, 0].tolist(), read.y[:, 0].tolist()) == ([0, 2, 4, 6], [0, 1, 0, 1])
    assert read_table(path, Columns(labels=("on",), x=("a",), window=3, values=True)).y.tolist() == [1, 0, 0]


@pytest.mark.parametrize(
    ("stride", "begins", "values_begin"),
    [
        (0, [0, 5], [0, 3, 6]),
        (1, [0, 1, 5, 6, 7], [0, 1, 2, 3, 4, 5, 6, 7]),
        (2, [0, 5, 7], [0, 2, 4, 6]),
        (5, [0, 5], [0, 5]),
    ],
)
def test_windows_begin_every_so_many_rows(
    stride: int, begins: list[int], values_begin: list[int], tmp_path: Path
) -> None:
    """Ten rows; the label changes after four, with one of its own between."""
    labels = "aaaabccccc"
    path = written(tmp_path, "t,kind,y\n" + "".join(f"{row},{kind},{row / 2}\n" for row, kind in enumerate(labels)))
    read = read_table(path, Columns(labels=("kind",), x=("t",), window=3, stride=stride))
    assert read.x[:, 0, 0].tolist() == begins
    assert read.y.tolist() == [labels[row] for row in begins]
    read = read_table(path, Columns(labels=("y",), x=("t",), window=3, stride=stride))
    assert read.x[:, 0, 0].tolist() == values_begin
    assert read.y.tolist() == [(row + 2) / 2 for row in values_begin]


def test_true_and_false_are_numbers_in_x_and_in_several_labels_and_else_names(tmp_path: Path) -> None:
    path = written(tmp_path, "on|a|u|v\nTrue|1|False|true\nFALSE|2|1|0\n")
    read = read_table(path, Columns(labels=("u", "v")))
    assert (read.x.tolist(), read.y.tolist()) == ([[1, 1], [0, 2]], [[0, 1], [1, 0]])
    assert read_table(path, Columns(labels=("on",), x=("a",))).y.tolist() == ["True", "FALSE"]


VALUES = "".join(f"1,{number / 8}\n" for number in range(100))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a b label\n1 2 x\n", "none called label; .*between cells there must be commas, semicolons, tabs or"),
        ('a,label\n"0,5",x\n', "'0,5'; decimal commas are read where semicolons are between cells"),
        ('a,label\n1,x\n"0,5",y\n', "'0,5'; decimal commas are read where semicolons are"),
        ("a\tlabel\n0,5\tx\n", "'0,5'; decimal commas are read where semicolons are"),
        ('a,label\n1,x\n\n"1,x\n2,y\n', r"lines 4 to 5 are one row that has 1 cells; .* is a quote not closed\?"),
        (f"a,y\n{VALUES}1,inf\n", "line 102: 'inf' in column 'y' is no number, as 100 of 101 labels are; correct it"),
        (f"a,y\n1,3.5x\n{VALUES}", "line 2: '3.5x' in column 'y' is no number"),
    ],
)
def test_what_is_not_meant_is_refused_with_the_fix(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read_table(written(tmp_path, text), Columns())
