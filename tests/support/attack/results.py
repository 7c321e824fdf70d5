"""What was tried, how often, and what each got.

An attempt is known by who made it and by its name. What it got is a few words: of a link how it
ended, of a record what has become of it. Each attempt says beforehand which of them are right, so
that whatever got something else is found; being turned away at the door is right for anybody, and
shows nothing of the attempt.
"""

from collections import Counter, defaultdict
from typing import NamedTuple

AT_THE_DOOR = frozenset({"turned away", "refused banned", "dropped, duplicate"})
"""The last: another link of the same key took this one's place before anything came of it."""
COLUMNS = "{:<9} {:<24} {:>6}  {}"


class AttackAttempt(NamedTuple):
    """One row of the catalogue.

    Attributes:
        act: does it once.
        got: what it may get.
    """

    who: str
    name: str
    act: object
    got: frozenset[str]

    @property
    def key(self):
        return self.who, self.name


class Catalogue(dict):
    """The attempts of one kind of attacker; to be used as a decorator."""

    def __init__(self, who):
        super().__init__()
        self.who = who

    def __call__(self, *got):
        def enter(act):
            name = act.__name__.strip("_")
            self[name] = AttackAttempt(self.who, name, act, frozenset(got))
            return act

        return enter


class AttackResults:
    """The counts of one run."""

    def __init__(self, attempts):
        self.attempts = {one.key: one for one in attempts}
        self.tried = Counter()
        self.got = defaultdict(Counter)
        self.records = defaultdict(list)

    def note(self, attempt, *words):
        """An attempt was made, and this is what it got."""
        self.tried[attempt.key] += 1
        self.got[attempt.key].update(words)

    def sent(self, attempt, records):
        """These records were sent in it; what became of them is looked up at the end."""
        self.records[attempt.key] += records

    def settle(self, fates):
        """Count what has become of every record, by its id."""
        for key, ids in self.records.items():
            self.got[key].update(fates.get(one, "not taken") for one in ids)

    def unshown(self):
        """The attempts that never came past the door."""
        return [
            attempt
            for key, attempt in self.attempts.items()
            if not set(self.got[key]) - AT_THE_DOOR
        ]

    def wrong(self):
        """A sentence for each attempt that got what it must not get."""
        return [
            f"{attempt.who} {attempt.name} got {word} ({many} times)"
            for key, attempt in self.attempts.items()
            for word, many in sorted(self.got[key].items())
            if word not in attempt.got | AT_THE_DOOR
        ]

    def table(self):
        """The rows, as text."""
        yield COLUMNS.format("who", "what", "times", "what it got")
        for key, attempt in sorted(self.attempts.items()):
            words = sorted(self.got[key].items(), key=lambda row: (-row[1], row[0]))
            told = ", ".join(f"{word} {many}" for word, many in words) or "nothing: it never ran"
            yield COLUMNS.format(attempt.who, attempt.name, self.tried[key], told)
