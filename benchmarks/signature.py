"""What checking a bundle's signature costs a device: memory and time, beside reading the same bundle unchecked.

python -m benchmarks.signature [--runs 7]. Each reading is a fresh process that imports what an agent imports.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.headway.bundles import PUBLIC_KEY, sign, small_variant

READING = """
import json, sys, time
import edge_agent.daemon
from pathlib import Path
from headway.bundle.variant import read_variant
key = bytes.fromhex(sys.argv[2]) or None
start = time.perf_counter()
read_variant(Path(sys.argv[1]), public_key=key)
seconds = time.perf_counter() - start
resident = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
print(json.dumps([int(resident.split()[1]) / 1024, 1000 * seconds]))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder) / "signed.hwb"
        small_variant().write(bundle, sign)
        results: dict[str, list[tuple[float, float]]] = {"unchecked": [], "checked": []}
        for _ in range(runs):  # interleaved, so that a busy moment hits both
            for name, key in (("unchecked", ""), ("checked", PUBLIC_KEY.hex())):
                results[name].append(_reading(bundle, key))
    print(f"{'signature':<12}{'resident MB':>12}{'reading ms':>12}   (medians of {runs})")
    for name, measured in results.items():
        memory, time = (statistics.median(column) for column in zip(*measured, strict=True))
        print(f"{name:<12}{memory:>12.1f}{time:>12.1f}")


def _reading(bundle: Path, key: str) -> tuple[float, float]:
    """Resident memory in MB and time in ms of one reading, the import of the signature's package included."""
    command = [sys.executable, "-c", READING, str(bundle), key]
    memory, time = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return float(memory), float(time)


if __name__ == "__main__":
    main()
