"""What checking a bundle's signature costs a device: memory and time, beside reading the same bundle unchecked.

    python -m benchmarks.signature [--runs 7] [--heads]

With --heads: the seal of a head of 10 classes and 321 codes instead. Each reading is a fresh process that imports what
an agent imports.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from edge_agent.head_trust import HeadTrust
from edge_agent.seal_checks import SealChecks
from headway.maths.head import Head, HeadInput, HeadKind
from headway.ports import SystemClock
from headway.private_keys import generate_key, public_key_line, read_signer
from headway.wire import ALL, KEY_ID_BYTES, Kind, PublishedHead, Seal, sealed_text, topic, with_seal
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
    parser.add_argument("--heads", action="store_true")
    given = parser.parse_args()
    runs = given.runs
    if given.heads:
        _heads(runs)
        return
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


def _heads(runs: int) -> None:
    """What a new head costs with its seal, and the same one again, as it comes with each connection."""
    with tempfile.TemporaryDirectory() as folder:
        keys = Path(folder) / "head-keys.pub"
        signer = read_signer(generate_key(Path(folder) / "heads.pem").with_suffix(""), "edge-fleet keygen")
        keys.write_text(public_key_line(signer.public_key))
        weights = np.random.default_rng(0).normal(size=(321, 10)).astype(np.float32)
        classes = tuple(f"class {number}" for number in range(10))
        head = Head(weights, np.zeros(10, np.float32), HeadKind.SOFTMAX, classes, HeadInput.CODES)
        name = topic("plant", ALL, Kind.HEAD)
        trust = HeadTrust("plant", "wrist-1", "5" * 64, SealChecks.of(keys, SystemClock()))
        first: list[float] = []
        again: list[float] = []
        for version in range(1, runs + 1):
            payload = PublishedHead(version, "exact", "5" * 64, 3, 100, head).encode()
            signature = signer.sign(sealed_text(name, payload, 1, version))
            sealed = with_seal(payload, Seal(1, version, signer.public_key[:KEY_ID_BYTES], signature))
            for times in (first, again):
                begun = time.perf_counter()
                trust.opened(name, sealed, (1, version))
                times.append(1000 * (time.perf_counter() - begun))
    print(f"a new head {statistics.median(first):.1f} ms, again {statistics.median(again):.2f} ms (medians of {runs})")


def _reading(bundle: Path, key: str) -> tuple[float, float]:
    """Resident memory in MB and time in ms of one reading, the import of the signature's package included."""
    command = [sys.executable, "-c", READING, str(bundle), key]
    memory, time = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return float(memory), float(time)


if __name__ == "__main__":
    main()
