"""What the demo shows: a live line, a table, a picture, a page, and the figures as JSON."""

from __future__ import annotations

import base64
import itertools
import json
import platform
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from rich.console import Console
from rich.live import Live
from rich.table import Table

from demo import watch
from demo.result import Result
from headway.durable import write_durably

LAST = watch.STAGES[-1]
MEASURED = (0, *watch.STAGES)


class Progress:
    """The table filling up while the fleet learns; plain lines where the output is not a terminal."""

    def __init__(self, console: Console, results: Mapping[str, Result]) -> None:
        self._console, self._results = console, results
        self._live = Live(console=console, transient=True, auto_refresh=False) if console.is_terminal else None
        self._started = time.monotonic()

    def __enter__(self) -> Progress:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def update(self, what: str) -> None:
        """Show where the fleet stands now."""
        latest = [r.after[max(r.after)] if r.after else r.frozen for r in self._results.values()]
        line = f"{what:<28} mean accuracy {np.mean(latest):.3f}, worst {np.min(latest):.3f}"
        if self._live is None:
            self._console.print(f"    {time.monotonic() - self._started:5.1f} s  {line}")
            return
        self._live.update(table(list(self._results.values()), line), refresh=True)


def table(results: list[Result], caption: str | None = None) -> Table:
    """One row per device and the mean; figures that are not measured yet stay empty."""
    shown = Table(title="accuracy on the later, unlabelled windows of each unseen wrist", caption=caption)
    shown.add_column("device")
    for name in ("frozen", *(f"{k} label{'s' * (k > 1)}" for k in watch.STAGES), "fleet head", "bytes sent"):
        shown.add_column(name, justify="right")
    shown.add_column("served by")
    for r in results:
        gained = r.after.get(LAST, r.frozen) >= r.frozen
        last = "green" if gained else "red"
        after = [
            f"[{last}]{_percent(r.after.get(k))}[/]" if k == LAST else _percent(r.after.get(k)) for k in watch.STAGES
        ]
        shown.add_row(r.name, _percent(r.frozen), *after, _percent(r.fleet), f"{r.bytes_sent:,}", r.serving)
    shown.add_section()
    means = [_percent(_mean(r.after.get(k) for r in results)) for k in watch.STAGES]
    sent = sum(r.bytes_sent for r in results)
    frozen, fleet = _mean(r.frozen for r in results), _mean(r.fleet for r in results)
    shown.add_row("mean", _percent(frozen), *means, _percent(fleet), f"{sent // max(len(results), 1):,}", "")
    return shown


def write(folder: Path, results: list[Result], seconds: float) -> list[Path]:
    """Write results.json, the picture and the page; returns their paths, the page first."""
    folder.mkdir(parents=True, exist_ok=True)
    figures = as_json(results, seconds)
    paths = [folder / "report.html", folder / "accuracy.png", folder / "results.json"]
    picture = _draw(results)
    write_durably(paths[0], _page(results, figures, picture).encode())
    write_durably(paths[1], picture)
    write_durably(paths[2], (json.dumps(figures, indent=2) + "\n").encode())
    return [path.resolve() for path in paths]


def as_json(results: list[Result], seconds: float) -> dict[str, object]:
    """The figures by the names other programs read them by; accuracies 0..1."""
    after = [r.after[LAST] for r in results]
    devices = [
        {
            "id": r.name,
            "frozen": r.frozen,
            "after": {str(k): v for k, v in r.after.items()},
            "fleet": r.fleet,
            "bytes_sent": r.bytes_sent,
        }
        for r in results
    ]
    return {
        "devices": devices,
        "mean_frozen": float(np.mean([r.frozen for r in results])),
        "mean_after": float(np.mean(after)),
        "worst_after": float(np.min(after)),
        "seconds": round(seconds, 1),
    }


def _draw(results: list[Result]) -> bytes:
    """Accuracy against labels seen, a line per device, the mean in bold; PNG."""
    import io

    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8.4, 4.6), layout="constrained")
    lines = {r.name: [r.frozen, *(r.after[k] for k in watch.STAGES)] for r in results}
    lowest = min(min(values) for values in lines.values())
    ends = _spread([values[-1] for values in lines.values()], (1.0 - lowest) * 0.052)
    axes.set_ylim(min(lowest, *ends) - 0.02, max(1.0, *ends) + 0.015)
    colours = pyplot.get_cmap("tab10")
    for index, (name, values) in enumerate(lines.items()):
        axes.plot(MEASURED, values, color=colours(index), linewidth=1.3, marker="o", markersize=3, alpha=0.8)
        axes.annotate(
            name, (LAST, values[-1]), (LAST + 0.15, ends[index]), color=colours(index), fontsize=8, va="center"
        )
    mean = np.mean(list(lines.values()), axis=0)
    axes.plot(MEASURED, mean, color="black", linewidth=3, marker="o", label=f"mean: {mean[0]:.1%} → {mean[-1]:.1%}")
    axes.set_xlabel("labels per class seen on the device (0: as shipped)")
    axes.set_ylabel("accuracy on later windows")
    axes.set_xticks(MEASURED)
    axes.set_xlim(-0.2, LAST + 1.6)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower right", frameon=False)
    axes.set_title("Ten unseen wrists keep learning on the device", loc="left", fontweight="bold")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    pyplot.close(figure)
    return buffer.getvalue()


def _spread(values: list[float], gap: float) -> list[float]:
    """Label heights near `values` that keep `gap` between neighbours."""
    order = np.argsort(values)
    heights = np.array(values, dtype=float)
    for _ in range(200):
        for low, high in itertools.pairwise(order):
            overlap = gap - (heights[high] - heights[low])
            if overlap > 1e-6:
                heights[low] -= overlap / 2
                heights[high] += overlap / 2
    return [float(h) for h in heights]


def _page(results: list[Result], figures: Mapping[str, object], picture: bytes) -> str:
    heads = [
        "device",
        "frozen",
        *(f"{k} label{'s' * (k > 1)} / class" for k in watch.STAGES),
        "fleet head",
        "bytes sent",
    ]
    rows = []
    for r in results:
        cells = [
            _percent(r.frozen),
            *(_percent(r.after.get(k)) for k in watch.STAGES),
            _percent(r.fleet),
            f"{r.bytes_sent:,}",
        ]
        rows.append((r.name, cells))
    templates = Environment(
        loader=PackageLoader("demo"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return templates.get_template("report.html.j2").render(
        figures=figures,
        heads=heads,
        rows=rows,
        labels=LAST,
        last_column=len(watch.STAGES) + 2,  # of the table, counted from 1
        machine=f"{platform.machine()}, Python {platform.python_version()}",
        picture=base64.b64encode(picture).decode(),
    )


def _mean(values: object) -> float | None:
    known = [v for v in values if v is not None]  # type: ignore[attr-defined]
    return float(np.mean(known)) if known else None


def _percent(value: float | None) -> str:
    return "" if value is None or value != value else f"{100 * value:.1f}"
