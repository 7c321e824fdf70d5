"""The shape of the code, held by tests."""

import ast
import collections
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.tools import own_coverage

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
PACKAGES = ("machines", "crdt", "node")
LINES_MAX = 350
LINES_ALLOWED = {"crdt/ledger/ledger.py": 550, "crdt/replica.py": 450}
"""The two that hold state; they may shrink, and not grow."""
FUNCTION_LINES_MAX = 70

MACHINES_MAY_IMPORT = {
    "abc", "collections", "dataclasses", "datetime", "enum", "functools", "itertools", "machines",
    "msgspec", "re", "typing", "unicodedata",
}  # fmt: skip
CRDT_MAY_IMPORT = MACHINES_MAY_IMPORT | {
    "bisect", "contextlib", "crdt", "hashlib", "heapq", "nacl", "operator", "pycrdt", "statistics",
}  # fmt: skip
PURE_MAY_IMPORT = {"machines": MACHINES_MAY_IMPORT, "crdt": CRDT_MAY_IMPORT}
PURE_MAY_NOT_CALL = {"__import__", "breakpoint", "eval", "exec", "input", "open", "print"}

COMMAND_LINE_DOES_WITHOUT = {
    "apsw", "asyncio", "crdt", "cryptography", "httpx", "litestar", "machines", "msgspec", "nacl",
    "pycrdt", "pydantic", "rich", "uvicorn", "websockets",
}  # fmt: skip
"""Modules that no command needs to begin; those that a command does need, it imports itself."""

WITHOUT_A_DAEMON = """
try:
    m.app(["--home", "/nonesuch", "status"])
except SystemExit as end:
    assert end.code == 3
print(*sys.modules)
"""

PIN = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)(?: ; ([^\\]+))? \\$")
BUILDS = {"setuptools"}
"""What builds the project, and nothing that is installed asks for."""
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def named(path):
    return str(path.relative_to(ROOT))


def sources(*packages):
    return [
        path for package in packages or PACKAGES for path in sorted((ROOT / package).rglob("*.py"))
    ]


def tracked():
    """Every file of the project that is text, and what it says; this one apart."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False
    ).stdout
    paths = [ROOT / name for name in listed.decode().split("\0") if name]
    if not paths:
        pytest.skip("not a git checkout, so nothing says which files are the project's")
    for path in paths:
        if path.is_file() and path != Path(__file__):
            try:
                yield path, path.read_text()
            except UnicodeDecodeError:
                continue


def imported(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports name what they import from the top"
            yield node.module


def pins(name):
    """The versions that a lock file names, and how many hashes each has."""
    versions, hashes = {}, {}
    for line in (ROOT / "requirements" / name).read_text().splitlines():
        if pin := PIN.match(line):
            current = canonicalize_name(pin[1])
            versions[current], hashes[current] = pin[2], 0
        elif re.match(r"^ {4}--hash=sha256:[0-9a-f]{64}(?: \\)?$", line):
            hashes[current] += 1
        else:
            assert line.startswith("    #"), f"neither a version, a hash nor a remark: {line}"
    return versions, hashes


def markers(name):
    """The condition of each pin of a lock file; ``None`` if it is for every machine."""
    found = map(PIN.match, (ROOT / "requirements" / name).read_text().splitlines())
    return {canonicalize_name(pin[1]): pin[3] for pin in found if pin}


# The arrows


# A __main__ is a script beside the package; nothing imports it.
@pytest.mark.parametrize(
    "path",
    [path for path in sources("machines", "crdt") if path.name != "__main__.py"],
    ids=named,
)
def test_a_pure_module_imports_and_calls_nothing_that_touches_the_world(path):
    tree = ast.parse(path.read_text())
    package = path.relative_to(ROOT).parts[0]
    assert {name.split(".")[0] for name in imported(tree)} <= PURE_MAY_IMPORT[package]
    called = {
        node.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not called & PURE_MAY_NOT_CALL


def test_one_module_alone_reaches_the_native_document():
    # protocol §3: no foreign byte reaches it, so there is one door.
    reaching = {
        named(path)
        for path in sources()
        if any(name.split(".")[0] == "pycrdt" for name in imported(ast.parse(path.read_text())))
    }
    assert reaching == {"crdt/sync/yjs_document.py"}


@pytest.mark.parametrize(
    ("where", "line"),
    [
        ("crdt/planted.py", "import asyncio"),
        ("crdt/planted.py", "import random"),
        ("crdt/planted.py", "from time import monotonic"),
        ("machines/planted.py", "import logging"),
        ("machines/planted.py", "import secrets"),
        ("machines/planted.py", "import datetime as d\n\nd.datetime.now(d.UTC)"),
        ("node/planted.py", "import time\n\ntime.time()"),
        ("node/planted.py", "import datetime as d\n\nd.datetime.now(d.UTC)"),
    ],
)
def test_the_linter_turns_away_a_clock_chance_and_a_log(where, line):
    planted = f'"""Planted."""\n\n{line}\n'.encode()
    done = subprocess.run(
        [BIN / "ruff", "check", "--no-cache", "--select=TID251", f"--stdin-filename={where}", "-"],
        cwd=ROOT, input=planted, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert b"TID251" in done.stdout


def test_the_command_line_starts_without_what_only_some_commands_need():
    loaded = subprocess.run(
        [sys.executable, "-c", f"import sys, node.cli.main as m\n{WITHOUT_A_DAEMON}"],
        cwd=ROOT, capture_output=True, check=True, text=True,
    ).stdout.split()  # fmt: skip
    assert "node.cli.main" in loaded
    assert not COMMAND_LINE_DOES_WITHOUT.intersection(loaded)


# The size and the words


def test_a_public_class_name_stands_for_one_thing():
    # As websockets does: a name that two modules share sends a reader to the wrong one.
    where = collections.defaultdict(list)
    for path in [*sources(), *sorted((ROOT / "tests" / "support").rglob("*.py"))]:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                where[node.name].append(named(path))
    assert not {name: paths for name, paths in where.items() if len(paths) > 1}


@pytest.mark.parametrize("path", sources(), ids=named)
def test_a_module_says_what_it_is_and_stays_small(path):
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), "a module says what it is"
    assert len(path.read_text().splitlines()) <= LINES_ALLOWED.get(named(path), LINES_MAX)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno - node.lineno < FUNCTION_LINES_MAX, node.name


@pytest.mark.parametrize("name", LINES_ALLOWED)
def test_an_allowance_ends_when_it_is_not_needed(name):
    assert len((ROOT / name).read_text().splitlines()) > LINES_MAX


@pytest.mark.parametrize("path", own_coverage.modules(), ids=named)
def test_every_module_of_the_core_has_a_test_module_of_its_name(path):
    # ``make coverage`` holds each to covering its module alone, line and branch.
    assert own_coverage.tests_of(path).exists()


def test_nothing_unfinished_is_left():
    words = re.compile(r"\b(?:TO" + "DO|FIX" + "ME|XX" + r"X)\b")
    assert not [named(path) for path, text in tracked() if words.search(text)]


def test_no_registry_and_no_machine_stands_in_a_tracked_file():
    hosts = re.compile(r"(?:files\.pythonhosted|pypi\.(?:org|python)|registry\.npmjs|debian\.org)")
    homes = re.compile(r"(?<![\w.])/(?:(?:home|Users|root|work)/\w|opt/pypi|opt/wheels|tmp/gl\b)")
    assert not [named(path) for path, text in tracked() if hosts.search(text) or homes.search(text)]


def test_only_the_test_of_the_vectors_looks_beside_the_checkout():
    beside = re.compile(r"\.\./shared|[\"']shared[\"'] */")
    assert {named(path) for path, text in tracked() if beside.search(text)} == {
        "tests/test_vectors_copy.py"
    }


# Which tests are slow


def slow_tests():
    """Where the mark stands: folders of tests/."""
    return {
        path.relative_to(ROOT / "tests").parts[0]
        for path, text in tracked()
        if path.is_relative_to(ROOT / "tests") and "mark.slow" in text
    }


def test_only_what_runs_real_daemons_may_be_left_out():
    # Laws, tables, kept schedules and hostile bytes are for every change.
    assert slow_tests() <= {"fault", "hostile", "integration", "interop"}


@pytest.mark.parametrize("name", ["integration/test_daemons.py", "fault/test_kills.py"])
def test_daemons_that_talk_are_killed_and_start_again_are_left_out_by_nobody(name):
    assert "mark.slow" not in (ROOT / "tests" / name).read_text()


def test_ci_leaves_no_test_out():
    everything = (ROOT / "Makefile").read_text().partition("\ntest-all:")[2].partition("\n\n")[0]
    assert everything.splitlines()[1] == "\t$(BIN)/python -m pytest $(PYTEST_ARGS)"
    assert "\nmake test-all " in (ROOT / ".ci" / "run").read_text()
    assert "-m" not in PROJECT["tool"]["pytest"]["ini_options"]["addopts"]


# What is installed


def test_every_package_is_found_when_the_project_is_built():
    # A folder without __init__.py would be left out; tests/integration/test_wheel.py looks inside.
    find = PROJECT["tool"]["setuptools"]["packages"]["find"]
    assert find["include"] == [name for one in PACKAGES for name in (one, f"{one}.*")]
    assert {path.parent for path in sources()} == {
        path.parent for path in sources() if path.name == "__init__.py"
    }


@pytest.mark.parametrize("path", sources(), ids=named)
def test_a_module_does_not_ask_where_it_lies(path):
    # Beside an installed module there is no checkout: what a command needs is a module too.
    names = {
        node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)
    }
    assert "__file__" not in names


def test_no_other_distribution_owns_files_in_our_packages():
    owners = {
        (dist.name, str(file))
        for dist in importlib.metadata.distributions()
        for file in dist.files or ()
        if file.parts and file.parts[0] in PACKAGES
    }
    assert not {owner for owner in owners if owner[0] != "gangline"}


@pytest.mark.parametrize("name", ["run.txt", "dev.txt", "fuzz.txt"])
def test_a_lock_file_holds_hashes_and_no_place(name):
    versions, hashes = pins(name)
    assert versions
    assert all(hashes.values())
    text = (ROOT / "requirements" / name).read_text()
    assert "://" not in text
    assert not re.search(r"(?:^|[\s(@=])/\w", text), "an absolute path"


def test_what_runs_is_locked_as_what_is_tested():
    tested, run = pins("dev.txt")[0], pins("run.txt")[0]
    assert run.items() <= tested.items()
    assert "pytest" not in run
    fuzzed = pins("fuzz.txt")[0]
    assert fuzzed.pop("atheris")
    assert fuzzed.items() <= tested.items()


@pytest.mark.parametrize(
    ("lock", "wanted"),
    [
        ("run.txt", PROJECT["project"]["dependencies"]),
        ("run.txt", PROJECT["build-system"]["requires"]),
        ("dev.txt", PROJECT["project"]["optional-dependencies"]["test"]),
        ("dev.txt", PROJECT["project"]["optional-dependencies"]["dev"]),
        ("fuzz.txt", PROJECT["project"]["optional-dependencies"]["fuzz"]),
    ],
)
def test_the_lock_files_meet_what_the_project_asks_for(lock, wanted):
    versions, _ = pins(lock)
    for requirement in map(Requirement, wanted):
        if requirement.name != "gangline":
            locked = versions[canonicalize_name(requirement.name)]
            assert requirement.specifier.contains(locked), f"{requirement}: run make lock"


@pytest.mark.parametrize("platform", ["linux", "darwin"])
@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize(
    ("lock", "wanted"),
    [
        ("run.txt", PROJECT["project"]["dependencies"]),
        ("dev.txt", ["gangline[dev]"]),
    ],
)
def test_a_lock_file_is_complete(lock, wanted, python, platform):
    # It is installed without resolving, so what it lacks would be missing.
    surroundings = {"python_version": python, "sys_platform": platform}
    versions, _ = pins(lock)
    locked = {
        name: versions[name]
        for name, marker in markers(lock).items()
        if not marker or Marker(marker).evaluate(surroundings)
    }
    asked, seen = [Requirement(line) for line in wanted], set()
    while asked:
        requirement = asked.pop()
        name = canonicalize_name(requirement.name)
        if name != "gangline":
            assert name in locked, f"{requirement}: run make lock"
            assert requirement.specifier.contains(locked[name]), f"{requirement}: run make lock"
        for extra in {"", *requirement.extras} - {extra for one, extra in seen if one == name}:
            seen.add((name, extra))
            asked += [
                further
                for further in map(Requirement, importlib.metadata.requires(name) or ())
                if not further.marker or further.marker.evaluate(surroundings | {"extra": extra})
            ]
    assert {name for name, _ in seen} - {"gangline"} == set(locked) - BUILDS


def test_a_lock_file_is_installed_without_resolving():
    installs = [
        (named(path), line.replace("$(INSTALL)", "--no-deps"))
        for path, text in tracked()
        for line in text.splitlines()
        if re.search(r"-r requirements/\w+\.txt", line)
    ]
    assert {"Makefile", "CONTRIBUTING.md"} <= {name for name, _ in installs}
    assert "\nINSTALL := $(PIP) install --quiet --no-deps\n" in (ROOT / "Makefile").read_text()
    assert not [found for found in installs if "--no-deps --require-hashes" not in found[1]]


# What a reader is shown


def test_the_readme_names_the_pythons_and_the_pip_that_are_supported():
    readme = (ROOT / "README.md").read_text()
    pythons = [
        line.rpartition(" ")[2]
        for line in PROJECT["project"]["classifiers"]
        if line.startswith("Programming Language :: Python :: ")
    ]
    [pip] = re.findall(r"install .*pip==(\S+)", (ROOT / ".ci" / "run").read_text())
    assert f"Python {', '.join(pythons[:-1])} or {pythons[-1]} and pip {pip} or newer" in readme


def test_no_other_page_names_the_supported_systems():
    named_systems = re.compile(r"Python 3\.\d+(?:,| or| to)|macOS with|glibc \d")
    pages = [ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
    assert not [named(page) for page in pages if named_systems.search(page.read_text())]


def test_the_readme_stays_short():
    assert len((ROOT / "README.md").read_text().splitlines()) < 120
