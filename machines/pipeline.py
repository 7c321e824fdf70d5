"""The pipeline machine: the stages of a story, and the events that move it.

Transition records and local requests are checked by the same table. Field names and tags are those
in records and in the test vectors. Source: protocol §6.
"""

from typing import Annotated, Final

import msgspec

from machines.errors import InvalidValue
from machines.kernel import Machine, Rule, Superstate
from machines.values import U32_MAX, BranchName, FreeText, GitSha, Instant, StoryId


def require(value: object, kind: type, what: str) -> None:
    """Check that the value of a field has exactly the type ``kind``.

    Raises:
        InvalidValue: it has another type.
    """
    if type(value) is not kind:
        raise InvalidValue(what, f"must be a {kind.__name__}")


CommitCount = Annotated[int, msgspec.Meta(ge=1, le=U32_MAX)]


def _require_ahead(count: object) -> None:
    # There is always something to merge.
    if type(count) is not int or not 1 <= count <= U32_MAX:
        raise InvalidValue("commits_ahead", f"1 to {U32_MAX}")


class _Reason(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True, tag_field="kind"):
    """Why a story is archived."""


class _Stage(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True, tag_field="stage"):
    """The stage of a story."""


class _Event(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True, tag_field="event"):
    """Something that happened to the story."""


# --- why a story is archived -------------------------------------------------------------------


class StoryCompleted(_Reason, frozen=True, tag="completed"):
    """Merged and accepted."""


class Abandoned(_Reason, frozen=True, tag="abandoned"):
    """Given up."""


class Superseded(_Reason, frozen=True, tag="superseded"):
    """Another story replaces this one."""

    by: StoryId

    def __post_init__(self) -> None:
        require(self.by, StoryId, "by")


class MergeFailed(_Reason, frozen=True, tag="merge_failed"):
    """The merge failed for good."""

    reason: FreeText

    def __post_init__(self) -> None:
        require(self.reason, FreeText, "reason")


class Blocked(_Reason, frozen=True, tag="blocked"):
    """The story is blocked; the only reason that can be undone."""

    reason: FreeText

    def __post_init__(self) -> None:
        require(self.reason, FreeText, "reason")


class ReviewHeld(_Reason, frozen=True, tag="review_held"):
    """A person wants to review the story first."""

    reason: FreeText

    def __post_init__(self) -> None:
        require(self.reason, FreeText, "reason")


ArchiveReason = StoryCompleted | Abandoned | Superseded | MergeFailed | Blocked | ReviewHeld

# --- stages ------------------------------------------------------------------------------------


class Backlog(_Stage, frozen=True, tag="backlog"):
    """Waiting for its dependencies."""


class Coding(_Stage, frozen=True, tag="coding"):
    """Being worked on."""


class Qa(_Stage, frozen=True, tag="qa"):
    """At the QA gates."""


class Merge(_Stage, frozen=True, tag="merge"):
    """Waiting to be merged: a branch with at least one commit."""

    feature_branch: BranchName
    commits_ahead: CommitCount

    def __post_init__(self) -> None:
        require(self.feature_branch, BranchName, "feature_branch")
        _require_ahead(self.commits_ahead)


class Done(_Stage, frozen=True, tag="done"):
    """Merged."""

    merged_at: Instant
    merge_commit: GitSha

    def __post_init__(self) -> None:
        require(self.merged_at, Instant, "merged_at")
        require(self.merge_commit, GitSha, "merge_commit")


class Archived(_Stage, frozen=True, tag="archived"):
    """Closed, for a reason."""

    archived_at: Instant
    reason: ArchiveReason

    def __post_init__(self) -> None:
        require(self.archived_at, Instant, "archived_at")
        if not isinstance(self.reason, ArchiveReason):
            raise InvalidValue("reason", "must be a reason to archive")


Stage = Backlog | Coding | Qa | Merge | Done | Archived

# --- events ------------------------------------------------------------------------------------


class DepsMet(_Event, frozen=True, tag="deps_met"):
    """The dependencies are done."""


class GatesStarted(_Event, frozen=True, tag="gates_started"):
    """The QA gates have started."""


class GatesPassed(_Event, frozen=True, tag="gates_passed"):
    """The QA gates passed, with something to merge."""

    feature_branch: BranchName
    commits_ahead: CommitCount

    def __post_init__(self) -> None:
        require(self.feature_branch, BranchName, "feature_branch")
        _require_ahead(self.commits_ahead)


class GatesFailed(_Event, frozen=True, tag="gates_failed"):
    """A QA gate failed: back to coding."""

    reason: FreeText

    def __post_init__(self) -> None:
        require(self.reason, FreeText, "reason")


class QaSkipped(_Event, frozen=True, tag="qa_skipped"):
    """The story goes to the merge without QA gates."""

    feature_branch: BranchName
    commits_ahead: CommitCount

    def __post_init__(self) -> None:
        require(self.feature_branch, BranchName, "feature_branch")
        _require_ahead(self.commits_ahead)


class MergeSucceeded(_Event, frozen=True, tag="merge_succeeded"):
    """The branch was merged."""

    merge_commit: GitSha

    def __post_init__(self) -> None:
        require(self.merge_commit, GitSha, "merge_commit")


class MergeFailedFinal(_Event, frozen=True, tag="merge_failed_final"):
    """The merge failed for good."""

    reason: FreeText

    def __post_init__(self) -> None:
        require(self.reason, FreeText, "reason")


class Accepted(_Event, frozen=True, tag="accepted"):
    """The merged work is accepted."""


class Block(_Event, frozen=True, tag="block"):
    """The story is blocked."""

    reason: FreeText

    def __post_init__(self) -> None:
        require(self.reason, FreeText, "reason")


class Unblock(_Event, frozen=True, tag="unblock"):
    """The story is not blocked any more."""


class Abandon(_Event, frozen=True, tag="abandon"):
    """The story is given up."""


class Supersede(_Event, frozen=True, tag="supersede"):
    """Another story replaces this one."""

    by: StoryId

    def __post_init__(self) -> None:
        require(self.by, StoryId, "by")


class ReviewHold(_Event, frozen=True, tag="review_hold"):
    """A person wants to review the story first."""

    reason: FreeText

    def __post_init__(self) -> None:
        require(self.reason, FreeText, "reason")


PipelineEvent = (
    DepsMet
    | GatesStarted
    | GatesPassed
    | GatesFailed
    | QaSkipped
    | MergeSucceeded
    | MergeFailedFinal
    | Accepted
    | Block
    | Unblock
    | Abandon
    | Supersede
    | ReviewHold
)

# --- the table ---------------------------------------------------------------------------------

ACTIVE: Final = "active"
INITIAL_STAGE: Final = Backlog()

_RULES: Final = (
    Rule("backlog", DepsMet, Coding, lambda _s, _e, _at: Coding()),
    Rule("coding", GatesStarted, Qa, lambda _s, _e, _at: Qa()),
    Rule("coding", QaSkipped, Merge, lambda _s, e, _at: Merge(e.feature_branch, e.commits_ahead)),
    Rule("qa", GatesPassed, Merge, lambda _s, e, _at: Merge(e.feature_branch, e.commits_ahead)),
    Rule("qa", GatesFailed, Coding, lambda _s, _e, _at: Coding(), action="report_gates"),
    Rule("merge", MergeSucceeded, Done, lambda _s, e, at: Done(at, e.merge_commit)),
    Rule(
        "merge", MergeFailedFinal, Archived, lambda _s, e, at: Archived(at, MergeFailed(e.reason))
    ),
    Rule(ACTIVE, Block, Archived, lambda _s, e, at: Archived(at, Blocked(e.reason))),
    Rule(ACTIVE, ReviewHold, Archived, lambda _s, e, at: Archived(at, ReviewHeld(e.reason))),
    Rule(ACTIVE, Abandon, Archived, lambda _s, _e, at: Archived(at, Abandoned())),
    Rule(ACTIVE, Supersede, Archived, lambda _s, e, at: Archived(at, Superseded(e.by))),
    Rule("done", Accepted, Archived, lambda _s, _e, at: Archived(at, StoryCompleted())),
    Rule("done", Abandon, Archived, lambda _s, _e, at: Archived(at, Abandoned())),
    Rule("done", Supersede, Archived, lambda _s, e, at: Archived(at, Superseded(e.by))),
    Rule(
        "archived",
        Unblock,
        Backlog,
        lambda _s, _e, _at: Backlog(),
        when=lambda state: isinstance(state.reason, Blocked),
        when_text="blocked only",
    ),
)

PIPELINE: Final = Machine(
    name="pipeline",
    states=(Backlog, Coding, Qa, Merge, Done, Archived),
    events=(
        DepsMet,
        GatesStarted,
        GatesPassed,
        GatesFailed,
        QaSkipped,
        MergeSucceeded,
        MergeFailedFinal,
        Accepted,
        Block,
        Unblock,
        Abandon,
        Supersede,
        ReviewHold,
    ),
    superstates=(Superstate(ACTIVE, (Backlog, Coding, Qa, Merge), exit=("release_claim",)),),
    rules=_RULES,
    initial=INITIAL_STAGE,
    entry={
        "coding": ("start_agent",),
        "qa": ("run_gates",),
        "merge": ("merge_branch",),
        "archived": ("clean_up",),
    },
    exit={"coding": ("stop_agent",)},
)

# The stage depends on the event only, so any rule of the event will do.
_LEADS_TO: Final = {rule.event: rule.build for rule in _RULES}


def stage_after(event: PipelineEvent, at: Instant) -> Stage:
    """Return the stage that an event leads to, whatever stage it started from.

    So the event and stamp of a parent determine the stage its child acts on (protocol §5).

    >>> at = Instant("2026-01-01T12:00:00.000Z")
    >>> PIPELINE.state_name(stage_after(MergeSucceeded(GitSha("abc123")), at))
    'done'

    Args:
        event: a legal event.
        at: its stamp.
    """
    stage: Stage = _LEADS_TO[type(event)](None, event, at)
    return stage
