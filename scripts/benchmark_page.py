"""docs/benchmarks.md and its pictures, from what `make benchmarks` measured: python -m scripts.benchmark_page

`benchmarks/results/NAME.json` is what `python -m benchmarks.NAME --json FILE` wrote last, whole. Each line of the table
is read from there, so a figure on the page is one that was measured; what was not measured says so.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aggregator.averaging_policy import AveragingPolicy
from benchmarks.average_rounds import EACH_AFTER_THE_OTHER

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "benchmarks.md"
PICTURES = ROOT / "docs" / "images"
MISSING = "not measured"
README = "https://github.com/headway-edge/headway/blob/main/benchmarks/README.md"

Found = tuple[str, bool | None]


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the page. read: figures and whether the goal is reached (None: there is none), from the results."""

    work: str
    command: str
    goal: str
    read: Callable[[Any], Found]

    @property
    def name(self) -> str:
        """Of the file of results."""
        return self.command.split()[0]


def ingest(features: int, goal: float) -> Callable[[Any], Found]:
    def read(rows: Any) -> Found:
        own = [row for row in rows if row["features"] == features]
        told = []
        for name, some in (("new devices", own[:1]), ("later", own[1:])):
            if some:
                rates, spent = ([row[key] for row in some] for key in ("acked_per_s", "aggregator_ms"))
                told.append(f"{name} {span(rates, ',.0f')} a second, {span(spent, '.2g')} ms")
        others = f"broker {own[-1]['broker_ms']:.2f}, generator {own[-1]['generator_ms']:.2f} ms"
        # new devices count, too, though the first report of each registers it
        slowest = min(row["acked_per_s"] for row in own)
        return f"{'; '.join(told)} of the aggregator's CPU ({others})", slowest >= goal

    return read


def span(numbers: Sequence[float], form: str) -> str:
    """The least and the largest, once where they are written alike."""
    low, high = format(min(numbers), form), format(max(numbers), form)
    return low if low == high else f"{low} to {high}"


def restart(rows: Any) -> Found:
    told, most = [], 0.0
    for row in rows["rows"]:
        kept = row["kept sums"]
        most = max(most, kept["serving_s"])
        told.append(f"{row['devices']:,} x {row['features']}: {kept['serving_s']:.1f} s, {kept['start_mb']:.0f} MB")
    return "; ".join(told), most <= 5.0


def round_name(name: str) -> str:
    """A robust round takes so many devices at most; the updates of others wait for the next."""
    return f"{name} ({AveragingPolicy().round_devices_max:,} devices at most)" if name == "ours, aligned" else name


def averaging(updates: int) -> Callable[[Any], Found]:
    def read(found: Any) -> Found:
        rows = found[str(updates)]
        told = "; ".join(
            f"{round_name(name)} {row['processor_s']:.3f} s, {row['grown_mb']:.1f} MB"
            + (f", and {row['clearing_s']:.3f} s to make it durable" if "clearing_s" in row else "")
            + (f" ({put_off(row)})" if "later_s" in row else "")
            + (f", before it {row['intake_ms']:.3f} ms an update" if "intake_ms" in row else "")
            for name, row in rows.items()
        )
        ours = rows["ours, fedavg"]
        each_after_the_other = [rows[name] for name in EACH_AFTER_THE_OTHER if name in rows]
        theirs = [row for name, row in rows.items() if name.startswith("Flower")]
        if not theirs:
            return told, None
        # with what makes it durable, which Flower does not do: updates that were taken in are gone, the head is stored
        whole_s = ours["processor_s"] + ours["clearing_s"]
        slowest_s = max(whole_s, *(row["processor_s"] for row in each_after_the_other), 0.0)
        faster = all(slowest_s < row["processor_s"] for row in theirs)
        smaller = all(10 * ours["grown_mb"] <= row["grown_mb"] for row in theirs)
        return told, faster and (smaller or updates < 10_000)

    return read


def put_off(row: Mapping[str, float]) -> str:
    """What moving pages out of the database's log takes."""
    if "clearing_s" in row:
        return f"and at most {row['later_s']:.3f} s put off"
    return f"all of it durable, with {row['later_s']:.4f} s of what was put off"


def robust(found: Any) -> Found:
    told = "; ".join(
        f"{peer}: " + ", ".join(f"{name} {seconds:.3f} s" for name, seconds in rules.items())
        for peer, rules in found["robust"].items()
    )
    return told, max(found["robust"]["ours"].values()) <= 0.15


def update_bytes(found: Any) -> Found:
    told = "; ".join(
        f"{name} {row['bytes']:,.0f} bytes, {row['fewer']:.2f} times fewer, {row['cost']:+.2f} points lost"
        for name, row in found.items()
    )
    packed = found["int8-packed"]
    return told, packed["fewer"] >= 4 and packed["cost"] <= 0.1


def gradient_step(found: Any) -> Found:
    told, fastest = [], True
    for size, steps in found["step_us"].items():
        ratios = {
            peer: ratio
            for peer, ratio in found["ratio"][size].items()
            if ratio is not None and not peer.startswith("a limit")
        }
        nearest = min(ratios, key=lambda peer: ratios[peer])
        fastest = fastest and ratios[nearest] > 1
        limit = min((steps[peer] for peer in steps if peer.startswith("a limit")), default=None)
        words = f"d = {size}: ours {steps['ours, SGD']:.1f} us, nearest {nearest} {ratios[nearest]:.2f} times that"
        told.append(words + ("" if limit is None else f", the limit {limit:.1f} us"))
    return "; ".join(told), fastest


def one_class(found: Any) -> Found:
    ours, whole = found["ours, one report each"], found["ours, all in one place"]
    told = [f"ours {ours:.2f} % after one round, in one place {whole:.2f} %"]
    for kind in ("FedAvg", "FedAvg from a shipped head"):
        rounds = {name.split()[-2]: right for name, right in found.items() if name.startswith(f"{kind}, ")}
        rights = " / ".join(f"{right:.1f}" for right in rounds.values())
        told.append(f"{kind} after {' / '.join(rounds)} rounds {rights} %")
    told.append(f"scikit-learn, all in one place {found['scikit-learn, all in one place']:.1f} %")
    return "; ".join(told), whole - ours <= 0.1


def late(found: Any) -> Found:
    """Beside synchronous rounds that wait for whom they asked, which the goal names, and beside those that ask more
    devices than they need and end with the first answers: the strongest of all decides."""
    ratios = {name: ratio for name, ratio in found.items() if " / " in name}
    waiting = {name: ratio for name, ratio in ratios.items() if "first ten of" not in name}
    more = {name: ratio for name, ratio in ratios.items() if name not in waiting}
    kinds = (("rounds that wait for whom they asked", waiting), ("rounds that ask more than they need", more))
    told = [
        f"{kind} ({'reached' if min(some.values()) >= 3 else 'missed'}): "
        + "; ".join(f"{name}: {ratio:.1f}" for name, ratio in some.items())
        for kind, some in kinds
        if some
    ]
    return ". ".join(told), min(ratios.values()) >= 3


LINES = (
    Line("whole exact reports made durable and acknowledged, d = 65", "ingest", ">= 2,000 a second", ingest(65, 2000)),
    Line("the same, d = 321", "ingest", ">= 400 a second", ingest(321, 400)),
    Line("restart with the reports of a fleet stored", "restart", "<= 5 s", restart),
    *(
        Line(
            f"CPU of one round over {count:,} updates of 12,810 weights", "average_rounds",
            "faster than Flower" + (", a tenth of its memory" if count == 10_000 else ""), averaging(count),
        )
        for count in (100, 1000, 10_000)
    ),
    Line("robust step, 1,000 x 12,810, CPU", "average_rounds", "<= 0.15 s", robust),
    Line("bytes of an update, Flower 51,368", "update_bytes", ">= 4 times fewer at <= 0.1 point", update_bytes),
    Line("head update on the device, batch 32", "gradient_step", "the fastest at every size", gradient_step),
    Line("rounds to the same learner in one place, a class a device", "one_class_fleet", "one, .1 point", one_class),
    Line(
        "time to an accuracy, heavy-tail delays, 30 % drop out: synchronous rounds by ours", "late_devices",
        ">= 3 beside each (the goal names the first kind)", late,
    ),
)  # fmt: skip


def results(name: str) -> Any:
    """What a benchmark wrote, or None."""
    file = RESULTS / f"{name}.json"
    return json.loads(file.read_text()) if file.exists() else None


def page() -> str:
    """Markdown."""
    lines = [
        "# Beside its peers",
        "",
        "`make benchmarks` measures it and writes this page from what it found (for Flower, `make flower-vectors`",
        "first). It wants a machine with nothing else to do; what it had is below the table. Each line is one command,",
        f"with its peer, where it has one, in the same run; all others are in [benchmarks/README.md]({README}).",
        "",
        "What decides whether a goal is reached:",
        "",
        "- of rounds `ours, fedavg`, with what makes it durable; of rounds one after the other also with the work that",
        "  the database puts off until nobody waits. What an update costs before its round, and the first round after",
        "  a restart, do not decide;",
        "- of bytes `int8-packed`;",
        "- everywhere else the worst figure of ours.",
        "",
        "| work | goal | measured | reached | `python -m benchmarks.` |",
        "|---|---|---|---|---|",
    ]
    for line in LINES:
        found = results(line.name)
        words, reached = (MISSING, None) if found is None else line.read(found)
        verdict = {True: "yes", False: "**no**", None: "-"}[reached]
        lines.append(f"| {line.work} | {line.goal} | {words} | {verdict} | `{line.command}` |")
    lines += ["", "Measured on, with the load that others made when it began:", "", *machines(), "", "## Pictures", ""]
    for name, alt, _ in CHARTS:
        if (PICTURES / f"benchmark-{name}.svg").exists():
            lines += [f"![{alt}](images/benchmark-{name}.svg)", ""]
    return "\n".join(lines).rstrip() + "\n"


def machines() -> list[str]:
    """One line for all that were measured on the same machine at the same load."""
    noted: dict[str, str] = results("machine") or {}
    measured = [name for name in dict.fromkeys(line.name for line in LINES) if results(name) is not None]
    told: dict[str, list[str]] = {}
    for name in measured:
        told.setdefault(noted.get(name, "not noted"), []).append(f"`{name}`")
    return [f"- {', '.join(names)}: {where}" for where, names in told.items()]


def draw_rounds(axes: Any, found: Any) -> None:
    counts = sorted(int(key) for key in found if key.isdigit())
    for name in found[str(counts[-1])]:
        grown = [found[str(count)][name]["grown_mb"] for count in counts]
        axes.plot(counts, grown, marker="o", label=round_name(name))
    axes.set(xscale="log", yscale="log", xlabel="updates of a round", ylabel="memory that the round takes, MB")
    axes.legend(fontsize=8)


def draw_times(axes: Any, found: Any) -> None:
    counts = sorted(int(key) for key in found if key.isdigit())
    for name in found[str(counts[-1])]:
        times = [found[str(count)][name]["processor_s"] for count in counts]
        axes.plot(counts, times, marker="o", label=round_name(name))
    axes.set(xscale="log", yscale="log", xlabel="updates of a round", ylabel="processor time, s")
    axes.legend(fontsize=8)


def draw_steps(axes: Any, found: Any) -> None:
    size = "1280" if "1280" in found["step_us"] else next(iter(found["step_us"]))
    steps = dict(sorted(found["step_us"][size].items(), key=lambda item: -item[1]))
    colours = ["tab:green" if name.startswith("ours") else "tab:grey" for name in steps]
    axes.barh(list(steps), list(steps.values()), color=colours)
    axes.set(xscale="log", xlabel=f"microseconds of one step, batch 32, d = {size}")


def draw_late(axes: Any, found: Any) -> None:
    times = {name: value for name, value in found.items() if " / " not in name and "per cent" not in name}
    colours = ["tab:green" if "ours" in name else "tab:grey" for name in times]
    axes.barh(list(times)[::-1], list(times.values())[::-1], color=colours[::-1])
    axes.set(xscale="log", xlim=(1, None), xlabel="time to the same accuracy, in units of the fastest answer")


def draw_one_class(axes: Any, found: Any) -> None:
    for kind in ("FedAvg", "FedAvg from a shipped head"):
        points = [
            (int(name.split(", ")[1].split()[0]), right)
            for name, right in found.items()
            if name.startswith(f"{kind}, ")
        ]
        axes.plot(*zip(*points, strict=True), marker="o", label=kind)
    axes.plot(
        [1],
        [found["ours, one report each"]],
        marker="*",
        markersize=14,
        linestyle="none",
        label="ours, one report each",
    )
    axes.axhline(
        found["scikit-learn, all in one place"], color="tab:grey", linestyle=":", label="logistic regression, one place"
    )
    axes.set(xlabel="rounds", ylabel="accuracy, %")
    axes.legend(fontsize=8)


Draw = Callable[[Any, Any], None]
CHARTS: Sequence[tuple[str, str, tuple[str, Draw]]] = (
    ("memory", "memory of a round, ours and Flower's", ("average_rounds", draw_rounds)),
    ("times", "processor time of a round, ours and Flower's", ("average_rounds", draw_times)),
    ("steps", "time of a gradient step by library", ("gradient_step", draw_steps)),
    ("late", "time to the same accuracy where devices are late", ("late_devices", draw_late)),
    ("one-class", "accuracy by rounds where each device knows one class", ("one_class_fleet", draw_one_class)),
)


def draw() -> None:
    """Every picture whose results are there."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "headway"
    from matplotlib import pyplot

    for name, _, (source, onto) in CHARTS:
        found = results(source)
        if found is None:
            continue
        figure, axes = pyplot.subplots(figsize=(7, 3.6), layout="constrained")
        onto(axes, found)
        axes.grid(alpha=0.3)
        stream = io.StringIO()
        figure.savefig(stream, format="svg", metadata={"Date": None})
        pyplot.close(figure)
        text = "\n".join(line.rstrip() for line in stream.getvalue().splitlines()) + "\n"
        (PICTURES / f"benchmark-{name}.svg").write_text(text)


def main() -> int:
    draw()
    PAGE.write_text(page())
    print(PAGE.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
