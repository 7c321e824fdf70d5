"""Breaks the core on purpose, one small change at a time, and asks its own tests whether they see.

``python -m tests.support.tools.mutation [MODULE …]``; ``make mutation``. A mutant is the module
with one operator, constant, condition, return or call turned into another, shown only to the
module's own test module and to the properties named below, which must fail.

A mutant costs its own tests and no start. A process that has collected the tests forks for each,
and the fork puts the changed code into the functions that stand (``fast``). What is read at import,
and every mutant that seemed to live, gets a fork that has not imported the core yet, and imports it
with the mutant in its place (``slow``).

Those that live are compared with ``tests/mutation_survivors.toml``, where each is explained; one
that is not there fails the run, and so does one that is there and was killed. A module is added
to ``TARGETS`` with the explanations of what lives of it.
"""

import argparse
import ast
import gc
import importlib.abc
import importlib.util
import inspect
import json
import os
import random
import resource
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FunctionType
from typing import NamedTuple

import hypothesis
import msgspec  # noqa: F401 - what the core stands on, imported before the forks
import nacl.bindings  # noqa: F401 - likewise
import pycrdt  # noqa: F401 - likewise
import pytest

from tests.support.tools.own_coverage import ROOT, tests_of

SURVIVORS = ROOT / "tests" / "mutation_survivors.toml"
MACHINES = ("tests/property/test_machines.py",)
TARGETS: dict[str, tuple[str, ...]] = {
    "crdt/ledger/judge.py": (),
    "crdt/views/fold.py": ("tests/property/test_fold.py",),
    "crdt/views/event_tree.py": ("tests/property/test_fold.py",),
    "crdt/views/roster.py": ("tests/property/test_naive_roster.py",),
    "crdt/wire/yjs_update.py": ("tests/property/test_update.py",),
    "machines/codec.py": (),
    "machines/diagram.py": (),
    "machines/errors.py": (),
    "machines/execution.py": MACHINES,
    "machines/kernel.py": MACHINES,
    "machines/pipeline.py": MACHINES,
}
"""What is broken, and the properties that watch over it beside its own tests."""
KILLED_MIN = 0.9
CPU_SECONDS_MIN = 10
"""What a mutant may take of a processor, beside three times what sound code takes."""
MEMORY_BYTES_MAX = 4 << 30
EXAMPLES = 60
SEEN, LIVES, UNSURE = 0, 33, 34
"""How a fork ends: a test failed, every test passed, or the change cannot be put in here."""
OPTIONS = ("-x", "-q", "--assert=plain", "-p", "no:cacheprovider", "-p", "no:xdist")

SWAPS = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
    ast.LShift: ast.RShift, ast.RShift: ast.LShift,
}  # fmt: skip


class Mutant(NamedTuple):
    """One change: where, and what the line says before and after."""

    module: str
    line: int
    before: str
    after: str
    code: CodeType
    sound: CodeType

    @property
    def name(self) -> str:
        """What it is called in the list of survivors; line numbers move."""
        return f"{self.before} | {self.after}"


def changes(node):
    """Every small change of one node, as (attribute, index or None, new value)."""
    match node:
        case ast.Compare(ops=ops):
            for number, one in enumerate(ops):
                yield "ops", number, SWAPS[type(one)]()
        case ast.BoolOp(op=op) | ast.BinOp(op=op) | ast.AugAssign(op=op) if type(op) in SWAPS:
            yield "op", None, SWAPS[type(op)]()
        case ast.Constant(value=bool() as value):
            yield "value", None, not value
        case ast.Constant(value=int() as value):
            yield "value", None, value + 1
        case ast.Constant(value=str() as value) if value and " " not in value:
            yield "value", None, value + "?"
        case ast.Constant(value=bytes() as value):
            yield "value", None, value + b"?"
        case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test):
            yield "test", None, ast.UnaryOp(ast.Not(), test)
        case ast.Return(value=ast.expr() as value) if not is_empty(value):
            yield "value", None, ast.Constant(None)
        case ast.Break():
            yield "", None, ast.Pass()
        case ast.Continue():
            yield "", None, ast.Break()
        case ast.comprehension(ifs=[_, *_] as ifs):
            yield "ifs", None, ifs[1:]
        case ast.Call(args=args, keywords=keywords):
            if len(args) > 1:
                for number in range(len(args)):
                    yield "args", number, None
            for number in range(len(keywords)):
                yield "keywords", number, None
        case ast.Raise():
            yield "", None, ast.Pass()
        case ast.Expr(value=ast.Call()) | ast.Assign() | ast.AugAssign():
            yield "", None, ast.Pass()


def is_empty(node) -> bool:
    """Whether a return says what no value says too: ``False`` is turned into ``True`` instead."""
    return isinstance(node, ast.Constant) and (node.value is None or node.value is False)


def places(tree):
    """Every node that decides something, with the place that holds it.

    Left out is what a run does not go by (annotations, decorators) and what is said to a person:
    docstrings, texts of several words, and what an exception is made of.
    """
    waiting = [tree]
    while waiting:
        parent = waiting.pop()
        for field, held in ast.iter_fields(parent):
            if field in ("annotation", "returns", "bases", "type_params", "decorator_list"):
                continue
            nodes = held if isinstance(held, list) else [held]
            for number, node in enumerate(nodes):
                if not isinstance(node, ast.AST) or is_docstring(node):
                    continue
                if isinstance(node, ast.Raise):
                    yield parent, field, number if isinstance(held, list) else None, node
                    continue
                yield parent, field, number if isinstance(held, list) else None, node
                waiting.append(node)


def is_docstring(node) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def mutants(module: str) -> list[Mutant]:
    """Every mutant of a module, in the order of its lines."""
    origin = str(ROOT / module)
    text = Path(origin).read_text()
    tree = ast.parse(text)
    lines = text.splitlines()
    sound = compile(tree, origin, "exec")
    found: list[Mutant] = []
    for parent, field, number, node in places(tree):
        for attribute, index, value in changes(node):
            target, name, at = (node, attribute, index) if attribute else (parent, field, number)
            before = getattr(target, name)
            after = [*before] if isinstance(before, list) else value
            if isinstance(before, list):
                if isinstance(value, list):
                    after = value
                elif value is None:
                    del after[at]
                else:
                    after[at] = value
            told = ast.unparse(node) if not isinstance(node, ast.comprehension) else "if"
            setattr(target, name, after)
            try:
                code = compile(ast.fix_missing_locations(tree), origin, "exec")
                now = ast.unparse(node) if attribute and told != "if" else "gone"
                now = "break" if isinstance(value, ast.Break) else now
            finally:
                setattr(target, name, before)
            line = getattr(node, "lineno", 0)
            stands = lines[line - 1].strip() if line else ast.unparse(parent)
            found.append(Mutant(module, line, stands, f"{told} => {now}", code, sound))
    return numbered(sorted(found, key=lambda mutant: mutant.line))


def numbered(every: list[Mutant]) -> list[Mutant]:
    """Those that would go by one name are told apart."""
    seen: Counter[str] = Counter()
    told = []
    for mutant in every:
        seen[mutant.name] += 1
        again = f" #{seen[mutant.name]}" if seen[mutant.name] > 1 else ""
        told.append(mutant._replace(after=mutant.after + again))
    return told


# --- running -----------------------------------------------------------------------------------


class Ended(NamedTuple):
    """How a fork ended, and what it took of a processor."""

    said: int
    cpu_seconds: float


def each(works: list[Callable[[], int]], cpu_seconds: int) -> list[Ended]:
    """Carry out each work in a fork, a few at a time; one that crashes or never ends was seen."""
    ended: dict[int, Ended] = {}
    running: dict[int, int] = {}
    waiting = list(enumerate(works))[::-1]
    while waiting or running:
        while waiting and len(running) < (os.cpu_count() or 1):
            number, work = waiting.pop()
            if (child := os.fork()) == 0:
                os._exit(alone(work, cpu_seconds))
            running[child] = number
        done, status, used = os.wait4(-1, 0)
        said = os.waitstatus_to_exitcode(status)
        ended[running.pop(done)] = Ended(
            said if said in (LIVES, UNSURE) else SEEN, used.ru_utime + used.ru_stime
        )
    return [ended[number] for number in range(len(works))]


def alone(work: Callable[[], int], cpu_seconds: int) -> int:
    """In a fork: silent, and bounded, since a mutant may run for ever or fill the memory."""
    quiet = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(quiet, stream)
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        return work()
    except BaseException:  # noqa: BLE001 - whatever it is, the mutant was seen
        return SEEN


def paths(module: str) -> list[str]:
    """What a module's mutants are shown to: its own tests first, then its properties."""
    return [str(tests_of(ROOT / module)), *(str(ROOT / name) for name in TARGETS[module])]


def fast(every: list[Mutant]) -> tuple[list[Ended], Ended]:
    """Show the mutants of one module to tests collected once; and sound code, to begin with."""
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder) / "told"
        if (host := os.fork()) == 0:
            quiet = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(quiet, stream)
            options = [*OPTIONS, f"--basetemp={folder}/tests"]
            pytest.main(
                [*options, *paths(every[0].module)], plugins=[Swift(), MutantHost(every, told)]
            )
            os._exit(0)
        os.waitpid(host, 0)
        if not told.exists():
            return [], Ended(SEEN, 0.0)
        sound, *found = (Ended(*one) for one in json.loads(told.read_text()))
    return found, sound


class MutantHost:
    """In the place of pytest's own loop: every mutant gets a run of what was collected."""

    def __init__(self, every: list[Mutant], told: Path) -> None:
        self.every = every
        self.told = told

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session) -> bool:
        if session.testsfailed:
            return True
        gc.freeze()
        sound = each([lambda: run(session)], 600)
        bound = CPU_SECONDS_MIN + round(3 * sound[0].cpu_seconds)
        works = [lambda mutant=mutant: patched(session, mutant) for mutant in self.every]
        found = each(works, bound) if sound[0].said == LIVES else []
        self.told.write_text(json.dumps([*sound, *found]))
        return True


def patched(session, mutant: Mutant) -> int:
    """In the fork: put the changed code where the old one stands, and run the tests."""
    try:
        gc.unfreeze()
        fits = put_in(mutant)
    except ValueError:
        return UNSURE  # a function that closes over something else now
    return run(session) if fits else UNSURE


def put_in(mutant: Mutant) -> bool:
    """Change the functions that stand; says whether that was all there is to change."""
    origin = mutant.code.co_filename
    changed = changed_functions(mutant.sound, mutant.code)
    put = set()
    for held in gc.get_objects():
        if isinstance(held, FunctionType) and held.__code__.co_filename == origin:
            place = (held.__code__.co_qualname, held.__code__.co_firstlineno)
            if place in changed:
                held.__code__ = changed[place]
                put.add(place)
        elif type(held).__name__ == "_lru_cache_wrapper":
            held.cache_clear()
    return bool(put)


def run(session) -> int:
    """Run what was collected, up to the first failure."""
    items = session.items
    for item, after in zip(items, [*items[1:], None], strict=True):
        session.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
        if session.testsfailed:
            return SEEN
    return LIVES


def changed_functions(old: CodeType, new: CodeType) -> dict[tuple[str, int], CodeType]:
    """The functions that differ, by name and line; none where what runs at import differs too."""
    changed: dict[tuple[str, int], CodeType] = {}
    waiting = [(old, new)]
    while waiting:
        one, other = waiting.pop()
        if one == other:
            continue
        if one.co_flags & inspect.CO_OPTIMIZED:
            changed[one.co_qualname, one.co_firstlineno] = other
            continue
        held, holds = ([c for c in x.co_consts if isinstance(c, CodeType)] for x in (one, other))
        plain, plainly = (
            [repr(c) for c in x.co_consts if not isinstance(c, CodeType)] for x in (one, other)
        )
        if one.co_code != other.co_code or plain != plainly or len(held) != len(holds):
            return {}
        waiting += zip(held, holds, strict=True)
    return changed


def slow(mutant: Mutant) -> int:
    """In a fork that has imported nothing of the core: the mutant in the place of its module."""
    sys.meta_path.insert(0, Finder(mutant))
    with tempfile.TemporaryDirectory() as folder:
        options = [*OPTIONS, f"--basetemp={folder}/tests"]
        ended = pytest.main([*options, *paths(mutant.module)], plugins=[Swift()])
    failed = (pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED)
    return SEEN if ended in failed else LIVES


def survivors(every: list[Mutant]) -> list[Mutant] | None:
    """The mutants of one module that its tests do not see; none at all where sound code fails."""
    found, sound = fast(every)
    if sound.said != LIVES:
        return None
    again = [m for m, one in zip(every, found, strict=True) if one.said != SEEN]
    unchanged = every[0]._replace(code=every[0].sound)
    bound = 2 * CPU_SECONDS_MIN + round(3 * sound.cpu_seconds)
    works = [lambda mutant=mutant: slow(mutant) for mutant in (unchanged, *again)]
    first, *ended = each(works, bound)
    if first.said != LIVES:
        return None
    return [mutant for mutant, one in zip(again, ended, strict=True) if one.said == LIVES]


class Swift:
    """Fewer examples, drawn alike each time, and nothing kept: most mutants fall at once."""

    def pytest_collection_modifyitems(self, items) -> None:
        hypothesis.settings.register_profile(
            "mutation", deadline=None, database=None, derandomize=True, max_examples=EXAMPLES
        )
        hypothesis.settings.load_profile("mutation")
        for item in items:
            run_with = getattr(
                getattr(item, "obj", None), "_hypothesis_internal_use_settings", None
            )
            if run_with is not None:
                item.obj._hypothesis_internal_use_settings = hypothesis.settings(
                    run_with,
                    database=None,
                    derandomize=True,
                    max_examples=min(run_with.max_examples, EXAMPLES),
                    phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
                )


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives the mutant where its module is imported."""

    def __init__(self, mutant: Mutant) -> None:
        self.mutant = mutant
        self.name = mutant.module.removesuffix(".py").replace("/", ".")

    def find_spec(self, fullname, path=None, target=None):
        if fullname != self.name:
            return None
        origin = str(ROOT / self.mutant.module)
        return importlib.util.spec_from_file_location(fullname, origin, loader=self)

    def create_module(self, spec):
        return None

    def exec_module(self, module) -> None:
        exec(self.mutant.code, module.__dict__)


# --- telling -----------------------------------------------------------------------------------


def explanations() -> dict[str, set[str]]:
    """By module, the names of the mutants that may live; each says why no test can tell."""
    found: dict[str, set[str]] = {module: set() for module in TARGETS}
    for one in tomllib.loads(SURVIVORS.read_text())["survivor"]:
        assert one["why"], "a survivor is explained"
        found[one["module"]].add(f"{one['line']} | {one['mutation']}")
    return found


def main() -> int:
    """Run every mutant of the modules named, or of all, and say which live."""
    parser = argparse.ArgumentParser(prog="mutation", description=__doc__.splitlines()[0])
    parser.add_argument("modules", nargs="*", help=f"all of {', '.join(TARGETS)}, if none is named")
    parser.add_argument("--sample", type=int, help="so many mutants of each module, not all")
    parser.add_argument("--seed", type=int, default=1, help="which mutants a sample takes")
    asked = parser.parse_args()
    if strange := sorted({*asked.modules} - {*TARGETS}):
        parser.error(f"TARGETS has no {', '.join(strange)}")
    explained = explanations()
    began, made, killed, bad = time.monotonic(), 0, 0, 0
    for module in asked.modules or TARGETS:
        every = mutants(module)
        if asked.sample and asked.sample < len(every):
            every = random.Random(asked.seed).sample(every, asked.sample)
        alive = survivors(every)
        if alive is None:
            print(f"mutation: the tests of {module} fail without a change", file=sys.stderr)
            return 2
        made, killed = made + len(every), killed + len(every) - len(alive)
        living = {mutant.name for mutant in alive}
        known = explained[module]
        fresh = [mutant for mutant in alive if mutant.name not in known]
        shown = {mutant.name for mutant in every} if asked.sample else known
        gone = sorted((known & shown) - living)
        print(f"{module:<24}{len(every):5} mutants {len(alive):4} live {len(fresh):4} unexplained")
        for mutant in sorted(fresh, key=lambda mutant: mutant.line):
            print(f"  unexplained, line {mutant.line}: {mutant.name!r}")
        for name in gone:
            print(f"  explained and yet killed: {name!r}")
        sys.stdout.flush()
        bad += len(fresh) + len(gone)
    share = killed / max(made, 1)
    print(
        f"mutation: {killed} of {made} mutants killed ({share:.1%}), {made - killed} live, "
        f"{bad} not as explained, in {time.monotonic() - began:.0f} s"
    )
    return 1 if bad or share < KILLED_MIN else 0


if __name__ == "__main__":
    sys.exit(main())
