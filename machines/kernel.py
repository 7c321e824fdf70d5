"""Hierarchical state machines whose states carry data.

A machine is a table of rules for states and superstates; the rule of a state takes precedence over
that of its superstate. Transitions, legal events and diagrams all follow from the table. Source:
protocol §6; Harel, "Statecharts" (1987), for superstates and entry and exit actions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import msgspec

from machines.values import Instant

State = Any
Event = Any
Build = Callable[[State, Event, Instant], State]
Declared = tuple[tuple[str, str], ...]
"""Names of actions, each with the state or superstate that declares it."""


class Action(msgspec.Struct, frozen=True):
    """An action that a transition requests. The machine does not run it.

    Attributes:
        name: the name of the action.
        on: ``exit``, ``transition`` or ``entry``.
        state: the state or superstate that declares it.
        facts: (field, value) of the state that is left (``exit``) or entered (``entry``), or of
            the event (``transition``). A struct is replaced by its name.
    """

    name: str
    on: str
    state: str
    facts: tuple[tuple[str, str | int], ...] = ()


@dataclass(frozen=True, slots=True)
class StateChange:
    """The event led to a state, which may be the same one, left and entered again."""

    word: ClassVar = "transition"
    state: State
    actions: tuple[Action, ...]


@dataclass(frozen=True, slots=True)
class Updated:
    """The event changed data of the state, which was not left."""

    word: ClassVar = "updated"
    state: State
    actions: tuple[Action, ...]


@dataclass(frozen=True, slots=True)
class Ignored:
    """No rule applies; nothing changed."""

    word: ClassVar = "ignored"


IGNORED: Final = Ignored()
Outcome = StateChange | Updated | Ignored


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the table.

    Attributes:
        source: the name of a state or superstate.
        event: the type of the event.
        target: the type of the new state.
        build: makes the new state from the old one, the event and the instant.
        in_place: whether the state is updated, not left.
        when: a condition on the old state; ``None`` for always.
        when_text: the condition in words, for diagrams.
        action: the name of an action of the transition itself.
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
    """A name for several states, which share its rules and actions."""

    name: str
    members: tuple[type, ...]
    entry: tuple[str, ...] = ()
    exit: tuple[str, ...] = ()


def tag_of(kind: type) -> str:
    """Return the name of a state or an event: its msgspec tag."""
    return str(kind.__struct_config__.tag)  # type: ignore[attr-defined]


def _facts(subject: State | Event) -> tuple[tuple[str, str | int], ...]:
    """Return the fields of a state or an event as plain values."""
    found: list[tuple[str, str | int]] = []
    for field in subject.__struct_fields__:
        value = getattr(subject, field)
        if isinstance(value, msgspec.Struct):
            value = tag_of(type(value))
        found.append((field, str(value) if isinstance(value, str) else value))
    return tuple(found)


def _actions(declared: Declared, on: str, subject: State) -> tuple[Action, ...]:
    """Make actions with the facts of the state that is left or entered."""
    if not declared:
        return ()
    facts = _facts(subject)
    return tuple(Action(name, on, where, facts) for name, where in declared)


class Machine:
    """A table of rules, checked when it is built.

    Args:
        name: the name of the machine.
        states: the types of all states, in the order of diagrams.
        events: the types of all events, in the order of the table.
        superstates: at most one for each state.
        rules: the table; at most one rule for each source and event.
        initial: the initial state.
        entry: the actions on entering a state, by its name.
        exit: the actions on leaving a state, by its name.

    Raises:
        ValueError: a rule or action names an unknown state, or two rules conflict.
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
        exit: dict[str, tuple[str, ...]],  # noqa: A002 - the usual term
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
        unknown = ({rule.source for rule in rules} | set(entry) | set(exit)) - names
        if unknown:
            raise ValueError(f"no such state: {sorted(unknown)}")
        self._table = {
            (kind, event): rule
            for kind in states
            for event in events
            if (rule := self._find(kind, event)) is not None
        }
        pairs = [(before, after) for before in states for after in states]
        self._leaving = {pair: self._exits(*pair) for pair in pairs}
        self._entering = {pair: self._entries(*pair) for pair in pairs}

    def _find(self, kind: type, event: type) -> Rule | None:
        """Return the rule for a state and an event: of the state, else of its superstate."""
        superstate = self._super.get(kind)
        for source in (tag_of(kind), superstate.name if superstate is not None else None):
            found = [r for r in self.rules if r.source == source and r.event is event]
            if len(found) > 1:
                raise ValueError(f"two rules for {source} and {tag_of(event)}")
            if found:
                return found[0]
        return None

    def step(self, state: State, event: Event, at: Instant) -> Outcome:
        """Return what an event at an instant does to a state. Defined for all states and events.

        >>> from machines.pipeline import PIPELINE, Backlog, DepsMet
        >>> at = Instant("2026-01-01T12:00:00.000Z")
        >>> PIPELINE.step(Backlog(), DepsMet(), at).state
        Coding()
        """
        rule = self._rule(state, type(event))
        if rule is None:
            return IGNORED
        after = rule.build(state, event, at)
        own = self._own_actions(rule, event)
        if rule.in_place:
            return Updated(after, own)
        pair = (type(state), type(after))
        left = _actions(self._leaving[pair], "exit", state)
        entered = _actions(self._entering[pair], "entry", after)
        return StateChange(after, (*left, *own, *entered))

    def ignores(self, state: State, event: Event) -> bool:
        """Whether ``step`` would return ``Ignored``."""
        return self._rule(state, type(event)) is None

    def _rule(self, state: State, event: type) -> Rule | None:
        """Return the rule that applies to a state and a type of event, or ``None``."""
        rule = self._table.get((type(state), event))
        return rule if rule is None or rule.when is None or rule.when(state) else None

    def legal_events(self, state: State) -> tuple[str, ...]:
        """Return the names of the events that a state does not ignore, in the order of the table.

        >>> from machines.pipeline import PIPELINE
        >>> PIPELINE.legal_events(PIPELINE.initial)
        ('deps_met', 'block', 'abandon', 'supersede', 'review_hold')
        """
        return tuple(tag_of(event) for event in self.events if self._rule(state, event))

    @staticmethod
    def state_name(state: State) -> str:
        """Return the name of a state."""
        return tag_of(type(state))

    @staticmethod
    def event_name(event: Event) -> str:
        """Return the name of an event."""
        return tag_of(type(event))

    def superstate(self, kind: type) -> Superstate | None:
        """Return the superstate of a type of state, or ``None``."""
        return self._super.get(kind)

    # --- actions -------------------------------------------------------------------------------

    @staticmethod
    def _own_actions(rule: Rule, event: Event) -> tuple[Action, ...]:
        """Return the action of the transition itself."""
        if rule.action is None:
            return ()
        return (Action(rule.action, "transition", rule.source, _facts(event)),)

    def _exits(self, before: type, after: type) -> Declared:
        """Return exit actions: of the state, then of its superstate if that is left too."""
        name = tag_of(before)
        found = [(action, name) for action in self.exit.get(name, ())]
        superstate = self._super.get(before)
        if superstate is not None and self._super.get(after) is not superstate:
            found += [(action, superstate.name) for action in superstate.exit]
        return tuple(found)

    def _entries(self, before: type, after: type) -> Declared:
        """Return entry actions: of the superstate if it is entered too, then of the state."""
        superstate = self._super.get(after)
        found = []
        if superstate is not None and self._super.get(before) is not superstate:
            found += [(action, superstate.name) for action in superstate.entry]
        name = tag_of(after)
        found += [(action, name) for action in self.entry.get(name, ())]
        return tuple(found)
