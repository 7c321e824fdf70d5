"""The errors of the core, by whose fault they are, and the reasons of verdicts and refusals.

A ``Reason`` is the same word in code, log, table and command line. Source: protocol §5.

    Exception
    ├── PeerFault            the peer sent what an honest one would refuse; the link is dropped
    ├── MalformedRecord      the author signed an invalid body; its slot stays empty
    ├── MalformedEvidence    a file is not an evidence file
    └── ProposalRefused      a local request breaks the rules; nothing is written
        ├── UnknownStory
        ├── EventIgnored     the stage ignores the event; names the legal events
        └── NotWritable      this node may write nothing (observer, revoked)
            └── HeldUp       its host prevents it for now (clock off, store read-only)

Mistakes of our own are assertions.
"""

from enum import StrEnum


class Reason(StrEnum):
    """Why something was refused, rejected, pending or void."""

    # refused: the link is dropped
    MALFORMED_FRAME = "malformed_frame"
    MALFORMED_UPDATE = "malformed_update"
    TOO_LARGE = "too_large"
    BAD_SIGNATURE = "bad_signature"
    WRONG_CLUSTER = "wrong_cluster"
    # rejected: the author's fault
    MALFORMED_RECORD = "malformed_record"
    NOT_ALLOWED = "not_allowed"
    STAMP_BACKWARDS = "stamp_backwards"
    ILLEGAL_TRANSITION = "illegal_transition"
    ILLEGAL_EXECUTION = "illegal_execution"
    REJECTED_PARENT = "rejected_parent"
    # pending
    UNKNOWN_AUTHOR = "unknown_author"
    MISSING_PARENT = "missing_parent"
    STAMP_AHEAD = "stamp_ahead"
    # void
    FORK = "fork"
    REVOKED = "revoked"


class PeerFault(Exception):
    """A peer sent what no honest node would forward.

    Attributes:
        reason: the reason to record.
        detail: details for the log; contains no bytes from the peer.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


class MalformedRecord(Exception):
    """A body is not the canonical form of a record (protocol §4)."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail

    def __str__(self) -> str:
        return self.detail


class MalformedEvidence(Exception):
    """A file is not a valid evidence file (protocol §17)."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail

    def __str__(self) -> str:
        return self.detail


class ProposalRefused(Exception):
    """A local caller asked for something that the rules forbid; nothing was written."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail

    def __str__(self) -> str:
        return self.detail


class UnknownStory(ProposalRefused):
    """No record names this story."""

    def __init__(self, story: str) -> None:
        super().__init__(f"no story is called {story}")
        self.story = story


class EventIgnored(ProposalRefused):
    """The current state of the story, or of the execution, ignores the event.

    Attributes:
        subject: the story, or the execution of it.
        state: name of the current state.
        event: name of the event.
        legal: names of the legal events, in the order of the table.
    """

    def __init__(self, subject: str, state: str, event: str, legal: tuple[str, ...]) -> None:
        super().__init__(
            f"{subject} is in {state}, which ignores {event}; "
            f"legal here: {', '.join(legal) or 'nothing'}"
        )
        self.subject = subject
        self.state = state
        self.event = event
        self.legal = legal


class NotWritable(ProposalRefused):
    """This node may not write anything at present."""


class HeldUp(NotWritable):
    """A condition of the host prevents all writes for now."""
