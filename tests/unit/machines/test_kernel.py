import msgspec
import pytest

from machines.kernel import Action, Ignored, Machine, Rule, StateChange, Superstate, Updated
from machines.values import Instant

AT = Instant("2026-03-03T03:03:03.003Z")


class On(msgspec.Struct, frozen=True, tag="on"):
    pass


class Off(msgspec.Struct, frozen=True, tag="off"):
    pass


class Gone(msgspec.Struct, frozen=True, tag="gone"):
    pass


class Flip(msgspec.Struct, frozen=True, tag="flip"):
    pass


class End(msgspec.Struct, frozen=True, tag="end"):
    pass


def build(rules, entry=None, exit_=None):
    return Machine(
        name="lamp",
        states=(On, Off, Gone),
        events=(Flip, End),
        superstates=(Superstate("there", (On, Off), entry=("arrive",), exit=("leave",)),),
        rules=rules,
        initial=Off(),
        entry=entry or {},
        exit=exit_ or {},
    )


def to(kind):
    return lambda _state, _event, _at: kind()


END = Rule("there", End, Gone, to(Gone))
BACK = Rule("gone", Flip, On, to(On))


def test_a_state_answers_before_its_superstate():
    lamp = build((END, Rule("on", End, Off, to(Off))))
    assert lamp.step(On(), End(), AT).state == Off()
    assert lamp.step(Off(), End(), AT).state == Gone()


def test_superstate_actions_on_entry_and_exit_only():
    lamp = build(
        (END, BACK, Rule("off", Flip, On, to(On), action="click")),
        entry={"on": ("shine",)},
        exit_={"off": ("warm",)},
    )
    inside = lamp.step(Off(), Flip(), AT)
    assert inside.actions == (
        Action("warm", "exit", "off"),
        Action("click", "transition", "off"),
        Action("shine", "entry", "on"),
    )
    assert lamp.step(Off(), End(), AT).actions == (
        Action("warm", "exit", "off"),
        Action("leave", "exit", "there"),
    )
    assert lamp.step(Gone(), Flip(), AT).actions == (
        Action("arrive", "entry", "there"),
        Action("shine", "entry", "on"),
    )


def test_self_transition_leaves_and_enters():
    lamp = build((Rule("on", Flip, On, to(On)),), entry={"on": ("shine",)})
    outcome = lamp.step(On(), Flip(), AT)
    assert outcome == StateChange(On(), (Action("shine", "entry", "on"),))


def test_event_without_a_rule_is_ignored():
    assert build((END,)).step(Gone(), End(), AT) == Ignored()


def test_rule_for_an_unknown_state_is_refused():
    with pytest.raises(ValueError, match="nowhere"):
        build((Rule("nowhere", Flip, On, to(On)),))


def test_two_rules_for_one_state_and_event_are_refused():
    with pytest.raises(ValueError, match="two rules"):
        build((END, Rule("there", End, Gone, to(Gone))))


class Lit(msgspec.Struct, frozen=True, tag="lit"):
    watts: int
    by: On


class Dim(msgspec.Struct, frozen=True, tag="dim"):
    name: str


def test_action_has_the_fields_of_its_state_or_event():
    lamp = Machine(
        name="dimmer",
        states=(Lit, Off),
        events=(Dim,),
        superstates=(),
        rules=(Rule("lit", Dim, Off, to(Off), action="report"),),
        initial=Off(),
        entry={"off": ("cool",)},
        exit={"lit": ("save",)},
    )
    assert lamp.step(Lit(40, On()), Dim("me"), AT).actions == (
        Action("save", "exit", "lit", (("watts", 40), ("by", "on"))),
        Action("report", "transition", "lit", (("name", "me"),)),
        Action("cool", "entry", "off"),
    )


def test_superstate_action_has_fields_of_the_member():
    dimmer = Machine(
        name="dimmer",
        states=(Lit, Off),
        events=(Flip,),
        superstates=(Superstate("bright", (Lit,), entry=("shine",), exit=("fade",)),),
        rules=(
            Rule("off", Flip, Lit, lambda _state, _event, _at: Lit(40, On())),
            Rule("lit", Flip, Off, to(Off)),
        ),
        initial=Off(),
        entry={"lit": ("hum",)},
        exit={},
    )
    facts = (("watts", 40), ("by", "on"))
    assert dimmer.step(Off(), Flip(), AT).actions == (
        Action("shine", "entry", "bright", facts),
        Action("hum", "entry", "lit", facts),
    )
    assert dimmer.step(Lit(40, On()), Flip(), AT).actions == (
        Action("fade", "exit", "bright", facts),
    )


def test_an_action_cannot_be_changed():
    action = Action("shine", "entry", "on")
    with pytest.raises(AttributeError):
        action.name = "fade"


def test_an_update_in_place_leaves_and_enters_nothing():
    lamp = build(
        (Rule("on", Flip, On, to(On), in_place=True, action="note"),),
        entry={"on": ("shine",)},
        exit_={"on": ("fade",)},
    )
    assert lamp.step(On(), Flip(), AT) == Updated(On(), (Action("note", "transition", "on"),))


def test_condition_of_a_rule():
    dimmer = Machine(
        name="dimmer",
        states=(Lit, Off),
        events=(Dim, Flip),
        superstates=(),
        rules=(
            Rule("lit", Dim, Off, to(Off), when=lambda lit: lit.watts > 10),
            Rule("lit", Flip, Off, to(Off)),
        ),
        initial=Off(),
        entry={},
        exit={},
    )
    assert dimmer.step(Lit(40, On()), Dim("me"), AT) == StateChange(Off(), ())
    assert dimmer.step(Lit(4, On()), Dim("me"), AT) == Ignored()
    assert not dimmer.ignores(Lit(40, On()), Dim("me"))
    assert dimmer.ignores(Lit(4, On()), Dim("me"))
    assert dimmer.ignores(Off(), Flip())
    assert dimmer.legal_events(Lit(40, On())) == ("dim", "flip")
    assert dimmer.legal_events(Lit(4, On())) == ("flip",)
    assert dimmer.legal_events(Off()) == ()


def test_names_of_states_events_and_superstates():
    lamp = build((END, BACK))
    assert (lamp.state_name(On()), lamp.event_name(Flip())) == ("on", "flip")
    assert lamp.superstate(Off).name == "there"
    assert lamp.superstate(Gone) is None
    assert lamp.legal_events(Off()) == ("end",)
