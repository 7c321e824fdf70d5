"""Whose fault it is: the peer's, the local caller's, or ours; and the one word for each reason.

Stands beside the whole line: every stage that turns something away does it with a ``Reason`` from
here, and that word is the same in code, log, table and command line. Source: protocol §5.

    Exception
    ├── PeerFault            bytes or a signature that an honest peer would refuse: link dropped
    ├── MalformedRecord      a body that is not what it must be: its author's, slot stays empty
    ├── MalformedEvidence    a file that is no evidence file: of whoever handed it to a person
    └── ProposalRefused      what a local caller asked for is against the rules; nothing is written
        ├── UnknownStory
        ├── EventIgnored     the stage ignores the event; names the legal ones
        └── NotWritable      this node may not write, whatever is asked (observer, revoked)
            └── HeldUp       what keeps it from writing now is its host (clock off, store read-only)

Our own mistakes are assertions, never one of these.
"""

from enum import StrEnum


class Reason(StrEnum):
    """The one word for why something was turned away, waits, or is void."""

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
        reason: the one word.
        detail: what exactly, for the log; contains no bytes of the peer's.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


class MalformedRecord(Exception):
    """A body that is not the one canonical form of a record (protocol §4)."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail

    def __str__(self) -> str:
        return self.detail


class MalformedEvidence(Exception):
    """What somebody was sent as an evidence file is none (protocol §17)."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail

    def __str__(self) -> str:
        return self.detail


class ProposalRefused(Exception):
    """A local caller asked for what the rules do not allow; nothing was written."""

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
    """The machine ignores the event where the story (or the execution) stands.

    Attributes:
        subject: the story, or whose execution of it.
        state: where it stands, by name.
        event: the event's name.
        legal: the events that are legal there, in the order of the table.
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
    """This node may not write at present, whatever is asked."""


class HeldUp(NotWritable):
    """Its host keeps this node from writing now, whatever is asked; it may pass."""
