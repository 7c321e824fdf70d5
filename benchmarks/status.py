"""How long ``gangline status`` takes, beside a bare start of the same Python and a bare Typer.

``python -m benchmarks.status [RUNS]`` starts a daemon in a temporary folder, runs the three in
turn, and prints the median of each, and the ratio to each of the bare ones. Processor time is
printed too: on a busy machine it says more. Source: protocol §15.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from node.system import clock

GANGLINE = Path(sys.executable).with_name("gangline")
RUNS = 30
BUDGET_MS = 250
START_SECONDS_MAX = 60
BARE_TYPER = "import typer; app = typer.Typer(); app.command()(lambda: None); app()"


def measure(command: Sequence[str | Path]) -> tuple[float, float]:
    """Milliseconds on the wall and of the processor that one run of a command takes."""
    before, began = os.times(), clock.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    wall, after = clock.monotonic() - began, os.times()
    spent = after.children_user + after.children_system
    return wall * 1000, (spent - before.children_user - before.children_system) * 1000


def compare(home: Path, runs: int) -> None:
    """Run all in turn, and print what came out."""
    commands: dict[str, list[str | Path]] = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "a bare Typer": [sys.executable, "-c", BARE_TYPER],
        "gangline status": [GANGLINE, "--home", home, "status"],
    }
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for _ in range(runs):
        for name, command in commands.items():
            found[name].append(measure(command))
    medians = {}
    for name, times in found.items():
        wall, spent = (statistics.median(column) for column in zip(*times, strict=True))
        least = min(one for one, _ in times)
        medians[name] = wall, spent
        sys.stdout.write(
            f"{name:16}  median {wall:6.1f} ms  least {least:6.1f} ms  processor {spent:6.1f} ms\n"
        )
    *bare, ours = medians
    for name in bare:
        wall, spent = (a / b for a, b in zip(medians[ours], medians[name], strict=True))
        sys.stdout.write(f"{wall:.1f} x {name} on the wall, {spent:.1f} x of the processor\n")
    sys.stdout.write(f"over {runs} runs; budget {BUDGET_MS} ms (protocol §15)\n")


def main() -> None:
    """Measure against a daemon of its own."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else RUNS
    with tempfile.TemporaryDirectory(prefix="gangline-bench-") as folder:
        home = Path(folder) / "home"
        subprocess.run(
            [GANGLINE, "--home", home, "init", "--name", "bench", "--listen", "127.0.0.1:0"],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        with (Path(folder) / "log").open("wb") as log:
            daemon = subprocess.Popen([GANGLINE, "--home", home, "run"], stderr=log)
        try:
            wait_for(home)
            compare(home, runs)
        finally:
            daemon.terminate()
            daemon.wait()


def wait_for(home: Path) -> None:
    """Wait until the daemon answers."""
    end = clock.monotonic() + START_SECONDS_MAX
    asked: list[str | Path] = [GANGLINE, "--home", home, "status"]
    while subprocess.run(asked, capture_output=True, check=False).returncode:
        if clock.monotonic() > end:
            sys.exit("the daemon does not answer")
        time.sleep(0.1)


if __name__ == "__main__":
    main()
