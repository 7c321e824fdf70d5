"""Measures each core module by its own test module: lines and branches, and nothing else's.

``python -m tests.support.tools.own_coverage [MODULE …]`` prints a table and ends with 1 where a
module is not covered whole. After websockets' ``tests/maxi_cov.py``, "Measure coverage of each
module by its test module": a line that only another module's tests run is a line that nobody meant
to test.
"""

import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[3]
PACKAGES = ("machines", "crdt")


class ModuleCoverage(NamedTuple):
    """What one test module covers of its module."""

    module: Path
    percent: float
    missing: str
    passed: bool

    @property
    def whole(self) -> bool:
        return self.passed and not self.missing


def modules() -> list[Path]:
    """Every module of the core that holds code."""
    return [
        path
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        if path.name != "__init__.py"
    ]


def tests_of(module: Path) -> Path:
    """The test module of a module: of the same name, in the folder that mirrors its package."""
    name = module.stem.strip("_")
    return ROOT / "tests" / "unit" / module.parent.relative_to(ROOT) / f"test_{name}.py"


def measure(module: Path) -> ModuleCoverage:
    """Run a module's own tests in an interpreter of their own."""
    tests = tests_of(module)
    if not tests.exists():
        return ModuleCoverage(module, 0.0, f"no {tests.relative_to(ROOT)}", passed=False)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        done = subprocess.run(
            [
                sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist",
                f"--basetemp={folder}/tests",
                f"--cov={'.'.join(module.relative_to(ROOT).with_suffix('').parts)}", "--cov-branch",
                f"--cov-report=json:{report}", str(tests),
            ],
            cwd=ROOT,
            env=os.environ | {"COVERAGE_FILE": str(Path(folder) / "data")},
            capture_output=True,
            text=True,
            check=False,
        )  # fmt: skip
        if done.returncode or not report.exists():
            print(done.stdout, done.stderr, sep="\n", file=sys.stderr)
            return ModuleCoverage(module, 0.0, "its tests fail", passed=False)
        said = json.loads(report.read_text())["files"][str(module.relative_to(ROOT))]
    lines = [str(line) for line in said["missing_lines"]]
    branches = [f"{tail}->{max(head, 0) or 'exit'}" for tail, head in said["missing_branches"]]
    return ModuleCoverage(
        module, said["summary"]["percent_covered"], " ".join(lines + branches), passed=True
    )


def main(names: list[str]) -> int:
    """Measure the modules named, or all, and say what is missing."""
    chosen = [path for path in modules() if not names or str(path.relative_to(ROOT)) in names]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(measure, chosen))
    for one in found:
        name = str(one.module.relative_to(ROOT))
        print(f"{name:<44}{one.percent:6.1f} %  {one.missing}".rstrip())
    lacking = sum(not one.whole for one in found)
    print(
        f"coverage: {len(found) - lacking} of {len(found)} modules are covered whole, "
        "line and branch, by the test module of their name"
    )
    return 1 if lacking else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
