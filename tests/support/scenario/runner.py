"""Golden transcripts: what several nodes do and see, written to be read, compared to the letter.

A file begins with remarks (``#``) that say what is to be proven. Then every line at the margin is a
command, and the indented lines below it are what it shows. Lines that begin with ``so`` are what
must hold; they show nothing, and no rewriting makes them pass. After raft's ``testdata/*.txt``.

The commands are explained in docs/testing.md.
"""

from tests.support.builders.cluster import check_document
from tests.support.invariants import laws
from tests.support.scenario.commands import COMMANDS
from tests.support.scenario.named_cluster import NamedCluster


class NotReadableError(Exception):
    """A line of a transcript that means nothing."""


def play(text):
    """Play a transcript; gives it with what its commands really show.

    Raises:
        AssertionError: something that must hold does not.
        NotReadableError: a line means nothing.
    """
    field = NamedCluster()
    told, ended = [], ""
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith(" "):
            continue
        told.append(line)
        if not line or line.startswith("#"):
            continue
        try:
            told += [f"  {row}" for row in obey(field, line) or ()]
        except AssertionError as broken:
            so_far = "\n".join(told)
            raise AssertionError(f"line {number}, {line}: {broken}\n\n{so_far}") from broken
        if line.startswith("so "):
            keep_the_laws(field)
        ended = line
    assert ended.startswith("so "), "a transcript ends in what must hold"
    return "\n".join(told) + "\n"


def obey(field, line):
    """Carry out one line; gives what it shows."""
    label, equals, rest = line.partition(" = ")
    if not equals:
        label, rest = None, line
    for pattern, function in COMMANDS:
        found = pattern.match(rest)
        if found:
            field.pass_time(0.01)
            words = {name: value for name, value in found.groupdict().items() if value}
            if label is not None:
                words["label"] = label
            return function(field, **words)
    raise NotReadableError(line)


def keep_the_laws(field):
    """What holds in every scenario, whatever it is about."""
    honest = {field.keys[n].pubkey for n in field.honest()} - field.may_fork
    for number in field.up():
        replica, name = field.replicas[number], field.names[number]
        laws.bounds(name, replica.ledger)
        laws.cuts(name, replica.ledger)
        laws.legal_paths(name, replica.ledger)
        laws.no_honest_cut(name, replica.ledger, honest)
        check_document(replica)
        held = {
            tuple(entry.record.ref)
            for feed in replica.ledger.feeds.values()
            for entry in feed.entries()
        }
        assert held == set(field.stores[number]), f"{name} holds what its store does not"
