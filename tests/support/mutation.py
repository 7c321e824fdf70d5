"""Breaks the core on purpose, one small change at a time, and asks its own tests whether they see.

``python -m tests.support.mutation [MODULE …]``; ``make mutation``. A mutant is the module with one
operator, constant, condition, return or call turned into another. It runs in a fork of a process
that has imported everything but the core, so that a mutant costs its own tests and no start; it is
shown only to the module's own test module and to the properties named below, which must fail.

Those that live are compared with ``tests/mutation_survivors.toml``, where each is explained; one
that is not there fails the run, and so does one that is there and was killed. A module is added
to ``TARGETS`` with the explanations of what lives of it.
"""

import ast
import importlib.abc
import importlib.util
import os
import signal
import sys
import time
import tomllib
from typing import NamedTuple

import hypothesis
import msgspec  # noqa: F401 - what the core stands on, imported before the forks
import nacl.bindings  # noqa: F401 - likewise
import pycrdt  # noqa: F401 - likewise
import pytest

from tests.support.own_coverage import ROOT, tests_of

SURVIVORS = ROOT / "tests" / "mutation_survivors.toml"
TARGETS: dict[str, tuple[str, ...]] = {
    "crdt/judge.py": (),
}
"""What is broken, and the properties that watch over it beside its own tests."""
KILLED_MIN = 0.9
MUTANT_SECONDS_MAX = 60
EXAMPLES = 60
LIVES = 33
"""How a fork says that every test passed."""

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
    source: str

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
        case ast.Return(value=ast.expr() as value) if not is_none(value):
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


def is_none(node) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def places(tree):
    """Every node that decides something, with the place that holds it.

    Left out is what a run does not go by (annotations, decorators) and what is said to a person:
    docstrings, and texts of several words.
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
    text = (ROOT / module).read_text()
    tree = ast.parse(text)
    lines = text.splitlines()
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
                source = ast.unparse(ast.fix_missing_locations(tree))
                now = ast.unparse(node) if attribute and told != "if" else "gone"
            finally:
                setattr(target, name, before)
            line = getattr(node, "lineno", 0)
            stands = lines[line - 1].strip() if line else ast.unparse(parent)
            found.append(Mutant(module, line, stands, f"{told} => {now}", source))
    return sorted(found, key=lambda mutant: mutant.line)


# --- running -----------------------------------------------------------------------------------


def seen(every: list[Mutant]) -> list[bool]:
    """Which mutants their own tests see; each in a fork, which may hang or crash."""
    found = [True] * len(every)  # a fork that hangs was seen: a test that hangs fails
    running: dict[int, tuple[int, float]] = {}
    waiting = list(enumerate(every))[::-1]
    while waiting or running:
        while waiting and len(running) < (os.cpu_count() or 1):
            number, mutant = waiting.pop()
            if (child := os.fork()) == 0:
                os._exit(test(mutant))
            running[child] = number, time.monotonic()
        done, status = os.waitpid(-1, os.WNOHANG)
        if done:
            number, _ = running.pop(done)
            found[number] = os.waitstatus_to_exitcode(status) != LIVES
            continue
        for child, (_, since) in running.items():
            if time.monotonic() - since > MUTANT_SECONDS_MAX:
                os.kill(child, signal.SIGKILL)
        time.sleep(0.02)
    return found


def test(mutant: Mutant) -> int:
    """In the fork: put the mutant in the place of its module, and run the tests."""
    os.chdir(ROOT)
    quiet = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(quiet, stream)
    sys.meta_path.insert(0, Finder(mutant))
    properties = TARGETS.get(mutant.module, ())
    paths = [str(tests_of(ROOT / mutant.module)), *(str(ROOT / name) for name in properties)]
    options = ["-x", "-q", "--assert=plain", "-p", "no:cacheprovider", "-p", "no:xdist"]
    try:
        return LIVES if pytest.main([*options, *paths], plugins=[Swift()]) == 0 else 0
    except BaseException:  # noqa: BLE001 - whatever it is, the mutant was seen
        return 0


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
        exec(compile(self.mutant.source, module.__spec__.origin, "exec"), module.__dict__)


# --- telling -----------------------------------------------------------------------------------


def main(names: list[str]) -> int:
    """Run every mutant of the modules named, or of all, and say which live."""
    chosen = [name for name in TARGETS if not names or name in names]
    explained = tomllib.loads(SURVIVORS.read_text()) if SURVIVORS.exists() else {}
    began, made, killed, bad = time.monotonic(), 0, 0, 0
    for module in chosen:
        every = mutants(module)
        sound = Mutant(module, 0, "", "", (ROOT / module).read_text())
        if seen([sound]) == [True]:
            print(f"mutation: the tests of {module} fail without a change", file=sys.stderr)
            return 2
        alive = [mutant for mutant, was in zip(every, seen(every), strict=True) if not was]
        made, killed = made + len(every), killed + len(every) - len(alive)
        known = explained.get(module, {})
        fresh = [mutant for mutant in alive if mutant.name not in known]
        gone = set(known) - {mutant.name for mutant in alive}
        print(f"{module:<24}{len(every):5} mutants {len(alive):4} live {len(fresh):4} unexplained")
        for mutant in fresh:
            print(f"  unexplained, line {mutant.line}: {mutant.name!r}")
        for name in sorted(gone):
            print(f"  explained and yet killed: {name!r}")
        bad += len(fresh) + len(gone)
    share = killed / max(made, 1)
    print(
        f"mutation: {killed} of {made} mutants killed ({share:.1%}), {made - killed} live, "
        f"{bad} not as explained, in {time.monotonic() - began:.0f} s"
    )
    return 1 if bad or share < KILLED_MIN else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
