"""Laws of the machines, for any sequence of events."""

from hypothesis import given
from hypothesis import strategies as st

from machines import pipeline as p
from machines.execution import EXECUTION
from machines.kernel import Ignored
from machines.pipeline import PIPELINE
from tests.support.oracles import flat_machines
from tests.support.strategies import records

WALKS = (
    (PIPELINE, flat_machines.pipeline, records.pipeline_events),
    (EXECUTION, flat_machines.execution, records.execution_events),
)


@given(st.data(), st.sampled_from(WALKS))
def test_kernel_and_flat_machine_agree_on_every_walk(data, walk):
    machine, flat, events = walk
    state = machine.initial
    for event in data.draw(st.lists(events, max_size=30)):
        at = data.draw(records.instants)
        outcome = machine.step(state, event, at)
        word, after = flat(state, event, at)
        assert word == outcome.word
        legal = machine.event_name(event) in machine.legal_events(state)
        assert legal == (not isinstance(outcome, Ignored))
        assert machine.ignores(state, event) == isinstance(outcome, Ignored)
        state = state if isinstance(outcome, Ignored) else outcome.state
        assert state == after
        assert type(state) in machine.states


@given(st.lists(records.pipeline_events, max_size=40), records.instants)
def test_archived_is_left_only_by_unblock_from_blocked(events, at):
    state = PIPELINE.initial
    for event in events:
        outcome = PIPELINE.step(state, event, at)
        if isinstance(outcome, Ignored):
            continue
        if isinstance(state, p.Archived):
            assert isinstance(state.reason, p.Blocked)
            assert isinstance(event, p.Unblock)
            assert outcome.state == p.Backlog()
        state = outcome.state
