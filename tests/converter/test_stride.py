"""`--stride`: windows of a table that overlap, or lie apart; cut on the device as in training; judged without leaks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from converter import Options, convert_data
from converter.features import TrainingData, reading, table_of
from converter.held_out import held_out
from converter.small_network import small_network
from edge_agent.commands.recording import read_recording
from headway.bundle import Variant, read_variant
from headway.errors import ConfigError, DataError
from headway.settings import read_toml
from headway.tables import Columns
from headway.windower import cut_windows

RANDOM = np.random.default_rng(0)
STREAM = 'rate_hz = 10.0\nlength = 8\nhop = 3\nresampling = "none"\nchannels = [{name = "a"}, {name = "b"}]\n'


def table(folder: Path, rows: int = 240) -> Path:
    """Two readings of a machine that is in another state every 60 rows."""
    values = RANDOM.normal(size=(rows, 2)) + np.array([[0, 5]])
    lines = [f"{a:.4f},{b:.4f},{('idle', 'busy')[row // 60 % 2]}" for row, (a, b) in enumerate(values)]
    (folder / "t.csv").write_text("a,b,kind\n" + "\n".join(lines) + "\n")
    return folder / "t.csv"


def overlapping(windows: int, length: int, stride: int) -> TrainingData:
    y = np.arange(windows) * 2 // windows
    return TrainingData(np.zeros((windows, length, 1), np.float32), y, ("a", "b"), stride=stride)


def test_a_stream_says_how_far_apart_the_windows_of_a_table_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The device cuts the rows of one label into the very windows that training has of them."""
    (tmp_path / "stream.toml").write_text(STREAM)
    path = table(tmp_path)
    options = Options(label_columns=("kind",), window=8, stream=tmp_path / "stream.toml", features=("all",))
    read: list[Path] = []
    monkeypatch.setattr("converter.recipe.read_toml", lambda file: read.append(file) or read_toml(file))
    convert_data(path, options, out=tmp_path / "b.hwb")
    assert read == [options.stream], "once: training and device go by the same words"
    variant = read_variant(tmp_path / "b.hwb")
    assert variant.stream is not None
    assert (variant.report["stride"], variant.stream.hop) == (3, 3)
    trained = table_of(path, reading(options)).x[:18]
    rows = np.genfromtxt(path, delimiter=",", skip_header=1, usecols=(0, 1))[:60]
    cut = cut_windows(None, rows, variant.stream, names=("a", "b"), units=("", "")).values
    np.testing.assert_array_equal(cut.reshape(trained.shape), trained)
    assert replayed(path, variant) == 4 * len(trained)


def test_a_later_table_is_cut_as_the_first_was(tmp_path: Path) -> None:
    path = table(tmp_path)
    for stride, found in ((0, 8), (4, 4)):
        options = Options(label_columns=("kind",), window=8, stride=stride, features=("all",))
        convert_data(path, options, out=tmp_path / "b.hwb")
        variant = read_variant(tmp_path / "b.hwb")
        assert (variant.stream, variant.report["stride"]) == (None, found)
        assert replayed(path, variant) == 4 * ((60 - 8) // found + 1)
        assert replayed(path, variant, stride=2) == 4 * 27


def replayed(path: Path, variant: Variant, stride: int = 0) -> int:
    """How many windows a replay makes of a table."""
    return len(read_recording(path, None, Columns(("kind",), stride=stride), variant, new_classes=False).samples)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 16}, "--window 16, and .*stream.toml cuts windows with 8; give the same"),
        ({"window": 8, "stride": 4}, "--stride 4, and .*stream.toml cuts windows with 3; give the same"),
        ({"window": 8, "stride": 2, "stream": None}, "--stride is of tables; .* is a folder"),
    ],
)
def test_what_the_device_would_cut_in_another_way_is_refused(
    options: dict[str, object], message: str, tmp_path: Path
) -> None:
    (tmp_path / "stream.toml").write_text(STREAM)
    data = table(tmp_path)
    if options.get("stream", "") is None:
        data = tmp_path / "folder"
        data.mkdir()
    made = Options(**{"label_columns": ("kind",), "stream": tmp_path / "stream.toml", **options})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=message):
        convert_data(data, made, out=tmp_path / "b.hwb")


@pytest.mark.parametrize(
    ("count", "length", "stride"), [(100, 8, 8), (100, 8, 4), (100, 8, 1), (400, 8, 2), (20, 8, 4)]
)
def test_no_window_that_is_fitted_on_shares_a_row_with_one_held_out(count: int, length: int, stride: int) -> None:
    held, fitted = held_out(overlapping(count, length, stride))
    assert held.sum() >= count // 10
    assert fitted.sum() >= count // 2
    apart = np.abs(np.flatnonzero(held)[:, None] - np.flatnonzero(fitted)[None])
    assert (apart * stride >= length).all()


def test_where_all_windows_overlap_a_network_asks_for_a_longer_stride(tmp_path: Path) -> None:
    held, fitted = held_out(overlapping(140, 128, 1))
    assert not held.any()
    assert fitted.all()
    options = Options(label_columns=("kind",), window=50, stride=1)
    with pytest.raises(DataError, match="give a longer --stride than 1, or more rows"):
        small_network(table(tmp_path), options)
