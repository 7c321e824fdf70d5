"""Feeds the parsers what was never seen, guided by coverage: ``make fuzz``.

    python -m tests.support.fuzz [--target NAME] [--seconds N] [--keep]

Each target runs in a process of its own for so many seconds, from the kept corpus. What breaks one
is written to ``fuzz-TARGET-…`` in this folder; put it into the corpus once it is mended. ``--keep``
adds to the corpus what reached code that nothing kept did, least first. Ends with 1 if one broke.
"""

import argparse
import importlib
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.fuzz.targets import CORPUS, TARGETS, keep, kept

SECONDS = 60
ANEW = {"crdt", "machines", "node", "tests"}
BYTES_MAX = 8192
UNITS = re.compile(r"stat::number_of_executed_units: +(\d+)")
PEAK = re.compile(r"stat::peak_rss_mb: +(\d+)")


def child(name, arguments):
    """One target under atheris; never comes back."""
    import atheris  # noqa: PLC0415 - an extra of its own

    with atheris.instrument_imports(include=["crdt", "machines", "node"]):
        # Imported anew, so that every branch of it tells when it is taken.
        for module in [m for m in sys.modules if m.split(".")[0] in ANEW]:
            del sys.modules[module]
        targets = importlib.import_module("tests.support.fuzz.targets")

    atheris.Setup([sys.argv[0], *arguments], targets.TARGETS[name])
    atheris.Fuzz()


def run(name, seconds, *, add):
    """Fuzz one target; gives how often it ran, what was new, and whether it broke."""
    with tempfile.TemporaryDirectory() as found:
        done = subprocess.run(
            [
                sys.executable, "-m", "tests.support.fuzz", "--child", name,
                found, str(CORPUS / name), f"-max_total_time={seconds}", f"-max_len={BYTES_MAX}",
                f"-artifact_prefix=fuzz-{name}-", "-print_final_stats=1", "-rss_limit_mb=1024",
                "-timeout=30",
            ],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False,
            errors="replace",
        )  # fmt: skip
        new = sorted((path.read_bytes() for path in Path(found).iterdir()), key=len)
    if add:
        for data in new[: max(0, 40 - len(kept(name)))]:
            keep(name, data)
    if done.returncode:
        print(done.stderr[-4000:], file=sys.stderr)
    units, peak = (re.search(one, done.stderr) for one in (UNITS, PEAK))
    told = f"{int(units[1]):,} inputs, {len(new)} new, {peak[1]} MB" if units and peak else ""
    print(f"{name:12}  {told or 'no count'}{'  BROKE' if done.returncode else ''}", flush=True)
    return int(units[1]) if units else 0, bool(done.returncode)


def main():
    parser = argparse.ArgumentParser(prog="make fuzz")
    parser.add_argument("--target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=SECONDS)
    parser.add_argument("--keep", action="store_true")
    asked = parser.parse_args()
    names = [asked.target] if asked.target else list(TARGETS)
    told = {name: run(name, asked.seconds, add=asked.keep) for name in names}
    broke = [name for name, (_, broken) in told.items() if broken]
    total = sum(units for units, _ in told.values())
    print(
        f"fuzz: {len(names)} targets, {total:,} inputs, "
        f"{'broken: ' + ', '.join(broke) if broke else 'none broke one'}"
    )
    return 1 if broke else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], sys.argv[3:])
    sys.exit(main())
