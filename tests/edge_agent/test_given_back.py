"""What starting needed is given back: a real process gets smaller, and goes on working."""

from __future__ import annotations

import subprocess
import sys

from edge_agent.startup.given_back import clean_mappings

SMAPS = """\
7f0000000000-7f0000002000 r-xp 00001000 08:01 77                         /usr/lib/libm.so
Rss:                   8 kB
Anonymous:             {text} kB
7f0000002000-7f0000003000 r--p 00003000 08:01 77                         /usr/lib/libm.so
Anonymous:             {relocated} kB
7f0000003000-7f0000004000 rw-p 00004000 08:01 77                         /usr/lib/libm.so
Anonymous:             0 kB
7f0000004000-7f0000005000 r--s 00000000 08:01 78                         /var/lib/headway/state.sqlite-shm
Anonymous:             0 kB
7ffe00000000-7ffe00001000 r-xp 00000000 00:00 0                          [vdso]
Anonymous:             0 kB
"""
SHRINKING = """
import gc
import numpy as np
import ssl, sqlite3
from pathlib import Path
from edge_agent.startup import give_back_startup_memory

def resident_kb():
    return int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0])

before = resident_kb()
give_back_startup_memory()
print(before, resident_kb(), gc.get_freeze_count())
a = np.arange(4.0).reshape(2, 2)
ssl.create_default_context()
print(np.linalg.det(a), (a @ a).tolist(), sqlite3.connect(":memory:").execute("select 6 * 7").fetchone()[0])
give_back_startup_memory()
print(np.linalg.solve(a, a).tolist())
"""


def test_only_what_is_exactly_its_file_is_given_back() -> None:
    text, constants = (0x7F0000000000, 0x7F0000002000), (0x7F0000002000, 0x7F0000003000)
    assert list(clean_mappings(SMAPS.format(text=0, relocated=0))) == [text, constants]
    assert list(clean_mappings(SMAPS.format(text=0, relocated=4))) == [text]
    assert list(clean_mappings(SMAPS.format(text=4, relocated=12))) == []


def test_a_process_gets_smaller_and_goes_on() -> None:
    done = subprocess.run([sys.executable, "-c", SHRINKING], capture_output=True, text=True, check=True)
    sizes, computed, again = done.stdout.splitlines()
    before_kb, after_kb, frozen = map(int, sizes.split())
    assert after_kb < before_kb - 8_000
    assert frozen > 10_000
    assert computed == "-2.0 [[2.0, 3.0], [6.0, 11.0]] 42"
    assert again == "[[1.0, 0.0], [0.0, 1.0]]"
