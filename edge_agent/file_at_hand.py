"""Works on one file of the sensor in small units, so that there is a moment for other things at any time.

    check every window -> unit by unit: read, preprocess, backbone, predict, learn -> ... -> the last row

Units begin at fixed rows of the file, wherever work was interrupted: what is predicted together decides the last bits
of a prediction, and must not depend on the clock.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from edge_agent.agent import Agent
from edge_agent.effects import Answer, LabelCounts
from edge_agent.pipeline import Features, Pipeline
from edge_agent.sensors import Claimed
from headway.arrays import Float32
from headway.errors import DataError
from headway.samples import Samples, is_labelled

# rows that go through the backbone together; few, because of slow backbones and large windows
UNIT_ROWS = 32


class FileAtHand:
    """A claimed file and how far it is answered.

    learning: it is learned, too; otherwise it is only answered. learned: rows that are learned. row: the next one to
    answer; smaller than `learned` only where a part of the answer was lost. predicted: what is answered so far, where
    nothing is learned. labels: how many rows bring one.
    """

    def __init__(self, file: Claimed, samples: Samples, learning: bool, learned: int, row: int) -> None:
        self.file, self.samples, self.learning = file, samples, learning
        self.row, self.learned = row, learned
        self.counts = LabelCounts()
        self.predicted: list[Answer] = []
        self.in_parts = row > 0
        self._checked = self._skipped = 0
        self._features: Features | None = None
        self._features_row = 0
        self._windows: Float32 | None = None
        self._brings_windows = samples.has_windows and len(samples) > 0
        self.labels = 0 if samples.y is None else int(is_labelled(samples.y).sum())

    @property
    def finished(self) -> bool:
        return self.row >= len(self.samples)

    @property
    def brings_windows(self) -> bool:
        """Whether there is anything to answer."""
        return self._brings_windows

    @property
    def made_ids(self) -> Sequence[str] | None:
        """Names of windows that the answer must tell, because nobody else knows them."""
        return self.samples.ids if self.samples.ids_made else None

    def keep_part(self) -> None:
        """A part of the answer goes into the draft."""
        self.in_parts = True

    @property
    def brings_labels(self) -> bool:
        """Whether it brings only labels, for windows of earlier files."""
        return not self._brings_windows and self.samples.ids is not None and self.samples.y is not None

    @property
    def to_check(self) -> bool:
        """Whether windows must be looked at before the first is learned: all of a file is taken, or nothing.

        Where one unit holds them all this comes by itself.
        """
        rows = len(self.samples)
        return self._brings_windows and self.learning and not self.row and UNIT_ROWS < rows != self._checked

    def check(self, pipeline: Pipeline, until: Callable[[], bool]) -> None:
        """Look at windows until it is time. Raises DataError."""
        rows = len(self.samples)
        while self._checked < rows:
            start = self._checked
            self._checked = min(start + UNIT_ROWS, rows)
            with _Rows(start, self._checked):
                pipeline.check(self.samples.windows(start, self._checked))
            if until():
                return

    @property
    def to_skip(self) -> bool:
        """Whether windows that are answered must be read before the next one can be: files are read in order."""
        return self._brings_windows and not isinstance(self.samples.x, np.ndarray) and self._skipped < self._unit_row

    def skip(self, until: Callable[[], bool]) -> None:
        """Read them until it is time. Raises DataError."""
        while self._skipped < self._unit_row:
            start, self._skipped = self._skipped, min(self._skipped + UNIT_ROWS, self._unit_row)
            self.samples.windows(start, self._skipped)
            if until():
                return

    @property
    def _unit_row(self) -> int:
        """The first row of the unit that holds the next row."""
        return self.row - self.row % UNIT_ROWS

    def begin_anew(self, samples: Samples) -> None:
        """Every window is checked; go on with the same content, read from its beginning."""
        self.samples = samples

    def prepare(self, pipeline: Pipeline) -> None:
        """Have the next windows go through the backbone. Raises DataError, and then nothing has changed."""
        if self._brings_windows:
            self._unit(pipeline, self.row)

    def answer_some(self, agent: Agent, pipeline: Pipeline, until: Callable[[], bool], wall_s: float) -> Answer | None:
        """The rest of a unit, or less when it is time. Its rows are learned as they should. None without windows.

        Raises DataError, and then nothing has changed.
        """
        samples, start = self.samples, self.row
        stop = min(start - start % UNIT_ROWS + UNIT_ROWS, len(samples))
        if not self._brings_windows:
            if self.learning and samples.ids is not None and samples.y is not None:
                agent.label(samples.ids[start:stop], samples.y[start:stop], self.counts)
            self.row = self.learned = stop
            return None
        learns = self.learning and start >= self.learned
        if self.learning and not learns:
            stop = min(stop, self.learned)
        features = self._unit(pipeline, start).rows(start % UNIT_ROWS, stop - start + start % UNIT_ROWS)
        labels = samples.y[start:stop] if learns and samples.y is not None else None
        ids = samples.ids[start:stop] if learns and samples.ids is not None else None
        if learns and self._windows is not None:
            first = start % UNIT_ROWS
            agent.trial.see(self._windows[first : first + len(features)], features, ids, labels)
        answer = agent.process(features, labels, ids, until=until)
        if ids is not None and self._windows is not None:
            agent.windows.ended(ids[: len(answer)], self._ends_s(start, len(answer), wall_s))
            first = start % UNIT_ROWS
            agent.labelling.wanted.see(ids, self._windows[first : first + len(answer)], wall_s)
        self.row += len(answer)
        self._skipped = self._unit_row
        self.learned = max(self.learned, self.row)
        return answer

    def close(self) -> None:
        """Let go of the file."""
        self.samples.close()

    def _ends_s(self, start: int, count: int, wall_s: float) -> Sequence[float]:
        """When windows ended: as the file tells, else when it came, else now."""
        if self.samples.ends_s is not None:
            ends_s: list[float] = self.samples.ends_s[start : start + count].tolist()
            return ends_s
        return [wall_s if self.file.came_s is None else self.file.came_s] * count

    def _unit(self, pipeline: Pipeline, row: int) -> Features:
        """Features of the whole unit that holds this row, whichever of its rows are asked for."""
        start = row - row % UNIT_ROWS
        if self._features is None or self._features_row != start:
            stop = min(start + UNIT_ROWS, len(self.samples))
            with _Rows(start, stop):
                windows = self.samples.windows(start, stop)
                self._features, self._features_row, self._windows = pipeline.features(windows), start, windows
        return self._features


class _Rows:
    """Says which rows of the file an error is about; nothing where the first unit's own count is right."""

    def __init__(self, start: int, stop: int) -> None:
        self._start, self._stop = start, stop

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, DataError) and self._start:
            raise DataError(f"rows {self._start} to {self._stop - 1}: {error}") from error
