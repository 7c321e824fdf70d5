import pytest

from crdt.primitives.errors import (
    EventIgnored,
    MalformedEvidence,
    MalformedRecord,
    NotWritable,
    PeerFault,
    ProposalRefused,
    Reason,
    UnknownStory,
)


def test_peer_fault_has_reason_and_detail():
    fault = PeerFault(Reason.TOO_LARGE, "a frame of 9 bytes")
    assert str(fault) == "too_large: a frame of 9 bytes"
    assert (fault.reason, fault.detail) == (Reason.TOO_LARGE, "a frame of 9 bytes")


def test_malformed_record_and_refusal_messages():
    assert str(MalformedRecord("too long")) == "too long"
    assert str(MalformedEvidence("no file")) == MalformedEvidence("no file").detail == "no file"
    assert str(ProposalRefused("nothing to change")) == "nothing to change"


def test_ignored_event_names_stage_and_legal_events():
    refusal = EventIgnored("s-1", "done", "deps_met", ("accepted", "abandon"))
    assert str(refusal) == "s-1 is in done, which ignores deps_met; legal here: accepted, abandon"
    assert (refusal.subject, refusal.state, refusal.event) == ("s-1", "done", "deps_met")
    assert refusal.legal == ("accepted", "abandon")


def test_ignored_event_without_legal_events():
    assert str(EventIgnored("s-1", "archived", "block", ())).endswith("legal here: nothing")


def test_an_unknown_story_is_named():
    refusal = UnknownStory("s-9")
    assert (str(refusal), refusal.story) == ("no story is called s-9", "s-9")


@pytest.mark.parametrize("kind", [UnknownStory, EventIgnored, NotWritable])
def test_all_refusals_share_a_base_class(kind):
    assert issubclass(kind, ProposalRefused)
    assert not issubclass(kind, PeerFault | MalformedRecord)


def test_a_reason_is_its_word():
    assert [str(reason) for reason in Reason] == [reason.value for reason in Reason]
    assert all(reason.name.lower() == reason.value for reason in Reason)
