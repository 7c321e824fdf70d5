"""The C library is configured once for a process, so its test runs in one of its own."""

import gc
import platform
import subprocess
import sys
import weakref

import pytest

from crdt.primitives import limits
from node.system import process_memory

GLIBC = platform.libc_ver()[0] == "glibc"
BURST = """
from pathlib import Path
from node.system import process_memory

def resident():
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines()
                if line.startswith("VmRSS"))

process_memory.return_large_blocks()
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
def test_memory_of_a_burst_is_returned():
    done = subprocess.run(
        [sys.executable, "-c", BURST], capture_output=True, text=True, check=True, timeout=60
    )
    assert int(done.stdout) < 8 * limits.KIB, "of 32 MiB and the 2 MiB that were kept"


@pytest.fixture
def collector():
    yield
    gc.unfreeze()
    gc.enable()


@pytest.mark.usefixtures("collector")
def test_the_collector_runs_again_after_a_failure():
    def fail():
        assert not gc.isenabled()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), process_memory.gc_paused():
        fail()
    assert gc.isenabled()


@pytest.mark.usefixtures("collector")
def test_a_collector_that_was_off_stays_off():
    gc.disable()
    with process_memory.gc_paused():
        pass
    assert not gc.isenabled()


@pytest.mark.usefixtures("collector")
def test_frozen_objects_are_collected_next_time():
    class Ring:
        pass

    ring = Ring()
    ring.me = ring
    seen = weakref.ref(ring)
    process_memory.gc_freeze_all()
    assert gc.get_freeze_count()
    del ring
    gc.collect()
    assert seen() is not None
    process_memory.gc_freeze_all()
    assert seen() is None
