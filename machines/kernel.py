"""A small kernel for hierarchical state machines whose states carry data.

Takes a state, an event and an instant, gives an outcome as data. The table drives everything:
legality, the legal events, the diagrams. Rules are declared once, against a state or against a
superstate; a state answers first and otherwise defers to its superstate. Source: protocol §6;
Harel, "Statecharts" (1987), for superstates and entry and exit actions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import msgspec

from machines.values import Instant

State = Any
Event = Any
Build = Callable[[State, Event, Instant], State]
Asked = tuple[tuple[str, str], ...]
"""Names of actions, each with the state or superstate it is declared beside."""


class Action(msgspec.Struct, frozen=True):
    """Something that a transition asks for. The machine only names it; others may do it.

    Attributes:
        name: what is asked for.
        on: ``exit``, ``transition`` or ``entry``.
        state: the state or superstate it is declared beside.
        facts: what it is about, as (field, value): the fields of the state that is left (``exit``)
            or entered (``entry``), or of the event. A value that is a struct stands as its name.
    """

    name: str
    on: str
    state: str
    facts: tuple[tuple[str, str | int], ...] = ()


@dataclass(frozen=True, slots=True)
class StateChange:
    """The event led to a state (it may be the same one, left and entered anew)."""

    word: ClassVar = "transition"
    state: State
    actions: tuple[Action, ...]


@dataclass(frozen=True, slots=True)
class Updated:
    """The event changed the state's data in place; nothing was left or entered."""

    word: ClassVar = "updated"
    state: State
    actions: tuple[Action, ...]


@dataclass(frozen=True, slots=True)
class Ignored:
    """The event means nothing here; nothing changed."""

    word: ClassVar = "ignored"


IGNORED: Final = Ignored()
Outcome = StateChange | Updated | Ignored


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the table.

    Attributes:
        source: the name of a state or superstate.
        event: the event's type.
        target: the type of the state it leads to.
        build: makes that state from the old one, the event and the instant.
        in_place: the state is updated, not left.
        when: a condition on the old state, ``None`` for always.
        when_text: the condition in words, for the diagrams.
        action: what the transition itself asks for.
    """

    source: str
    event: type
    target: type
    build: Build
    in_place: bool = False
    when: Callable[[State], bool] | None = None
    when_text: str = ""
    action: str | None = None


@dataclass(frozen=True, slots=True)
class Superstate:
    """A name that several states share, and the rules and actions that stand there once."""

    name: str
    members: tuple[type, ...]
    entry: tuple[str, ...] = ()
    exit: tuple[str, ...] = ()


def tag_of(kind: type) -> str:
    """The name of a state or an event: its msgspec tag."""
    return str(kind.__struct_config__.tag)  # type: ignore[attr-defined]


def _facts(subject: State | Event) -> tuple[tuple[str, str | int], ...]:
    """The fields of a state or an event as plain values, which any encoder can write."""
    found: list[tuple[str, str | int]] = []
    for field in subject.__struct_fields__:
        value = getattr(subject, field)
        if isinstance(value, msgspec.Struct):
            value = tag_of(type(value))
        found.append((field, str(value) if isinstance(value, str) else value))
    return tuple(found)


def _actions(asked: Asked, on: str, subject: State) -> tuple[Action, ...]:
    """What is asked for, with the facts of the state that is left or entered."""
    if not asked:
        return ()
    facts = _facts(subject)
    return tuple(Action(name, on, where, facts) for name, where in asked)


class Machine:
    """A table of rules, checked when it is built.

    Args:
        name: what the machine is called.
        states: every state's type, in the order of the diagrams.
        events: every event's type, in the order of the table.
        superstates: at most one for each state.
        rules: the table; no two may answer the same state and event.
        initial: the state a thing starts in.
        entry: what entering a state asks for, by the state's name.
        exit: what leaving a state asks for, by the state's name.
    """

    def __init__(
        self,
        *,
        name: str,
        states: Sequence[type],
        events: Sequence[type],
        superstates: Sequence[Superstate],
        rules: Sequence[Rule],
        initial: State,
        entry: dict[str, tuple[str, ...]],
        exit: dict[str, tuple[str, ...]],  # noqa: A002 - the field's word
    ) -> None:
        self.name: Final = name
        self.states: Final = tuple(states)
        self.events: Final = tuple(events)
        self.superstates: Final = tuple(superstates)
        self.rules: Final = tuple(rules)
        self.initial: Final = initial
        self.entry: Final = entry
        self.exit: Final = exit
        self._super = {kind: one for one in superstates for kind in one.members}
        names = {tag_of(kind) for kind in states} | {one.name for one in superstates}
        stray = {rule.source for rule in rules} | set(entry) | set(exit)
        if not stray <= names:
            raise ValueError(f"no such state: {sorted(stray - names)}")
        self._table = {
            (kind, event): rule
            for kind in states
            for event in events
            if (rule := self._find(kind, event)) is not None
        }
        ways = [(before, after) for before in states for after in states]
        self._leaving = {way: self._exits(*way) for way in ways}
        self._entering = {way: self._entries(*way) for way in ways}

    def _find(self, kind: type, event: type) -> Rule | None:
        """The rule for a state and an event: the state's own, else its superstate's."""
        above = self._super.get(kind)
        for source in (tag_of(kind), above.name if above is not None else None):
            found = [r for r in self.rules if r.source == source and r.event is event]
            if len(found) > 1:
                raise ValueError(f"two rules for {source} and {tag_of(event)}")
            if found:
                return found[0]
        return None

    def step(self, state: State, event: Event, at: Instant) -> Outcome:
        """What an event does to a state, at an instant. Total, and changes nothing by itself."""
        rule = self._rule(state, type(event))
        if rule is None:
            return IGNORED
        after = rule.build(state, event, at)
        own = self._asked(rule, event)
        if rule.in_place:
            return Updated(after, own)
        way = (type(state), type(after))
        left = _actions(self._leaving[way], "exit", state)
        entered = _actions(self._entering[way], "entry", after)
        return StateChange(after, (*left, *own, *entered))

    def ignores(self, state: State, event: Event) -> bool:
        """Whether an event means nothing to a state: what ``step`` would say, without doing it."""
        return self._rule(state, type(event)) is None

    def _rule(self, state: State, event: type) -> Rule | None:
        """The rule by which a state answers an event of this type."""
        rule = self._table.get((type(state), event))
        return rule if rule is None or rule.when is None or rule.when(state) else None

    def legal_events(self, state: State) -> tuple[str, ...]:
        """The names of the events that the state does not ignore, in the order of the table."""
        return tuple(tag_of(event) for event in self.events if self._rule(state, event))

    @staticmethod
    def state_name(state: State) -> str:
        """A state's name."""
        return tag_of(type(state))

    @staticmethod
    def event_name(event: Event) -> str:
        """An event's name."""
        return tag_of(type(event))

    def superstate(self, kind: type) -> Superstate | None:
        """The superstate of a state's type, where it has one."""
        return self._super.get(kind)

    # --- actions -------------------------------------------------------------------------------

    @staticmethod
    def _asked(rule: Rule, event: Event) -> tuple[Action, ...]:
        """What the transition itself asks for."""
        if rule.action is None:
            return ()
        return (Action(rule.action, "transition", rule.source, _facts(event)),)

    def _exits(self, before: type, after: type) -> Asked:
        """Inner state first; a superstate only where the transition leaves it."""
        name = tag_of(before)
        found = [(action, name) for action in self.exit.get(name, ())]
        above = self._super.get(before)
        if above is not None and self._super.get(after) is not above:
            found += [(action, above.name) for action in above.exit]
        return tuple(found)

    def _entries(self, before: type, after: type) -> Asked:
        """Superstate first, where the transition enters it; then the state."""
        above = self._super.get(after)
        found = []
        if above is not None and self._super.get(before) is not above:
            found += [(action, above.name) for action in above.entry]
        name = tag_of(after)
        found += [(action, name) for action in self.entry.get(name, ())]
        return tuple(found)
