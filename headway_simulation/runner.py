"""Runs many seeds in parallel; a failing one is printed with all that it takes to repeat it."""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import sys
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from headway_simulation.build import Build
from headway_simulation.history import Violation
from headway_simulation.world import Outcome, World

LINES_SHOWN = 25


@dataclass(frozen=True, slots=True)
class Failure:
    """A run that broke a promise. lines: its trace up to there, the newest last."""

    seed: int
    event: int
    problem: str
    lines: tuple[str, ...]


def run_seed(seed: int, devices: int = 3, hours: float = 3.0, build: Build | None = None) -> Outcome | Failure:
    """One run from its seed."""
    world = World(seed, devices, hours, build)
    try:
        return world.run()
    except Violation as violation:
        problem = str(violation)
    except Exception:  # noqa: BLE001 - whatever the product raises is a finding, and is shown in full
        problem = traceback.format_exc()
    return Failure(seed, world.scheduler.events, problem, tuple(world.trace.last(LINES_SHOWN)))


def run_seeds(seeds: Iterable[int], devices: int, hours: float, processes: int) -> list[Outcome | Failure]:
    """Many runs, in the order of the seeds."""
    work = [(seed, devices, hours) for seed in seeds]
    if processes == 1:
        return [run_seed(*arguments) for arguments in work]
    # spawned processes begin with logging as it comes; what this one has switched off would be told by all of them
    quiet = logging.root.manager.disable
    with multiprocessing.get_context("spawn").Pool(processes, logging.disable, (quiet,)) as pool:
        # one at a time: they take from half a second to several, and eight at once would leave one process to wait
        return pool.starmap(run_seed, work, chunksize=1)


def report(failure: Failure, devices: int, hours: float, program: str) -> str:
    """A failure in words, with the command that repeats it."""
    command = f"python -m {program} --seed {failure.seed} --devices {devices} --hours {hours:g}"
    return "\n".join(
        [f"seed {failure.seed} fails at event {failure.event}: {failure.problem}", *failure.lines, f"repeat: {command}"]
    )


def main(arguments: Sequence[str] | None = None, program: str = "tests.simulation") -> int:
    """Run seeds, print what failed; returns the number of failures, at most 1."""
    parser = argparse.ArgumentParser(prog=f"python -m {program}", description="Deterministic simulation of a fleet.")
    parser.add_argument("--seed", type=int, default=0, help="the first seed (default 0)")
    parser.add_argument("--runs", type=int, default=1, help="how many seeds (default 1)")
    parser.add_argument("--devices", type=int, default=3, help="devices in the fleet (default 3)")
    parser.add_argument("--hours", type=float, default=3.0, help="simulated hours with faults (default 3)")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args(arguments)
    logging.disable(logging.WARNING)
    processes = max(1, min(options.processes, options.runs))
    seeds = range(options.seed, options.seed + options.runs)
    results = run_seeds(seeds, options.devices, options.hours, processes)
    failures = [result for result in results if isinstance(result, Failure)]
    for failure in failures:
        print(report(failure, options.devices, options.hours, program), file=sys.stderr)
    done = [result for result in results if isinstance(result, Outcome)]
    for outcome in done if options.runs == 1 else ():
        print(f"seed {outcome.seed}: trace {outcome.digest}")
    print(
        f"{len(done)} of {len(results)} seeds kept every promise: {sum(o.events for o in done)} events, "
        f"{sum(o.samples for o in done)} samples, {sum(o.heads for o in done)} heads"
    )
    return 1 if failures else 0
