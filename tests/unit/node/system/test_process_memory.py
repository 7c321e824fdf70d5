"""Whether memory comes back, in a process of its own, since the C library is told once for all."""

import platform
import subprocess
import sys

import pytest

from crdt.primitives import limits

GLIBC = platform.libc_ver()[0] == "glibc"
BURST = """
from pathlib import Path
from node.system import process_memory as memory

def resident():
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines()
                if line.startswith("VmRSS"))

memory.give_back()
bytes(4 << 20)  # a large frame, freed: glibc by itself now keeps such blocks
before = resident()
burst, kept = [], []
for _ in range(128):
    burst.append(b"x" * (256 << 10))
    kept.append(bytes(16_000))  # a record that came meanwhile
del burst
print(resident() - before)
"""


@pytest.mark.skipif(not GLIBC, reason="other C libraries have no such knob")
def test_what_a_burst_took_is_given_back_whatever_was_kept_meanwhile():
    done = subprocess.run(
        [sys.executable, "-c", BURST], capture_output=True, text=True, check=True, timeout=60
    )
    assert int(done.stdout) < 8 * limits.KIB, "of 32 MiB and the 2 MiB that were kept"
