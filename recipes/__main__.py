"""``python -m recipes [NAME ...]``: run them, print their tables, write their pages."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from recipes.documents import write_figures
from recipes.measuring import printed, write_page
from recipes.networks import Workspace
from recipes.seeds import run_seed

NAMES = ("sensors", "logistics", "flights", "recommender", "finance", "text", "speech", "images")


def main() -> int:
    parser = argparse.ArgumentParser(prog="recipes", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of {', '.join(NAMES)}; all when left out")
    data = os.environ.get("HEADWAY_RECIPES_DATA")
    parser.add_argument("--data", type=Path, default=Path(data) if data else None, metavar="FOLDER",
                        help="folder of the data that no package brings (or HEADWAY_RECIPES_DATA)")  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("recipes-report"), metavar="FOLDER", help="where pages go")
    parser.add_argument(
        "--cache", type=Path, default=Path(".cache/recipes"), metavar="FOLDER", help="converted bundles"
    )
    parser.add_argument("--fresh", action="store_true", help="train and convert again")
    parser.add_argument("--seeds", type=int, default=1, metavar="N",
                        help="networks, each from a seed of its own (docs/recipes: 3)")  # fmt: skip
    parser.add_argument("--docs", action="store_true", help="put the figures into docs/recipes/NAME.md, too")
    options = parser.parse_args()
    for name in options.names:
        if name not in NAMES:
            parser.error(f"there is no recipe {name!r}; there are {', '.join(NAMES)}")
    if options.seeds < 1:
        parser.error(f"--seeds is {options.seeds}; give 1 or more")
    options.out.mkdir(parents=True, exist_ok=True)
    workspace = Workspace(options.data, options.cache, options.fresh, tuple(range(options.seeds)))
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        for name in options.names or NAMES:
            recipe: Any = importlib.import_module(f"recipes.{name}")
            start_s = time.monotonic()
            try:
                seeds = list(
                    pool.map(run_seed, *zip(*[(name, workspace, seed) for seed in workspace.seeds], strict=True))
                )
            except FileNotFoundError as error:
                print(f"\n{name}: skipped, {error} is not at hand: --data FOLDER (docs/recipes/{name}.md says whence)")
                continue
            streams = [list(runs) for runs in zip(*(found for found, _ in seeds), strict=True)]
            took = time.monotonic() - start_s, sum(used_s for _, used_s in seeds)
            print("\n".join(printed(runs) for runs in streams), flush=True)
            write_page(options.out / f"{name}.html", recipe.TITLE, recipe.CREDIT, streams, took)
            if options.docs:
                write_figures(name, streams, took)
            print(f"  {options.out / name}.html, {took[0]:.0f} s, of a processor {took[1]:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
