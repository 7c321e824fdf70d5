"""The pipeline: where a story stands, and what moves it.

Stands on ``kernel.py``; judges every transition record and every local caller alike. Field names
and tags are those of the records and of the conformance tables. Source: protocol §6.
"""

from typing import Annotated, Final

import msgspec

from machines.errors import InvalidValue
from machines.kernel import Machine, Rule, Superstate
from machines.values import U32_MAX, BranchName, FreeText, GitSha, Instant, StoryId


def require(value: object, kind: type, what: str) -> None:
    """Refuse a field that is not of its checked type, by whatever road it came.

    Raises:
        InvalidValue: it is not.
    """
    if type(value) is not kind:
        raise InvalidValue(what, f"must be a {kind.__name__}")


CommitCount = Annotated[int, msgspec.Meta(ge=1, le=U32_MAX)]


def _require_ahead(count: object) -> None:
    # A merge with nothing to merge cannot exist.
    if type(count) is not int or not 1 <= count <= U32_MAX:
        raise InvalidValue("commits_ahead", f"1 to {U32_MAX}")


# --- why a story is archived -------------------------------------------------------------------


class Completed(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="completed", tag_field="kind"
):
    """Merged and accepted."""


class Abandoned(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="abandoned", tag_field="kind"
):
    """Given up."""


class Superseded(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="superseded", tag_field="kind"
):
    """Another story takes its place."""

    by: StoryId

    def __post_init__(self) -> None:
        require(self.by, StoryId, "by")


class MergeFailed(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="merge_failed", tag_field="kind"
):
    """The merge failed for good."""

    reason: FreeText

    def __post_init__(self) -> None:
        require(self.reason, FreeText, "reason")


class Blocked(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="blocked", tag_field="kind"
):
    """Something stands in the way; the only reason that can be undone."""

    reason: FreeText

    def __post_init__(self) -> None:
        require(self.reason, FreeText, "reason")


class ReviewHeld(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="review_held", tag_field="kind"
):
    """A person wants to look first."""

    reason: FreeText

    def __post_init__(self) -> None:
        require(self.reason, FreeText, "reason")


ArchiveReason = Completed | Abandoned | Superseded | MergeFailed | Blocked | ReviewHeld

# --- stages ------------------------------------------------------------------------------------


class Backlog(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="backlog", tag_field="stage"
):
    """Waiting for its dependencies."""


class Coding(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="coding", tag_field="stage"
):
    """Being worked on."""


class Qa(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="qa", tag_field="stage"):
    """At the QA gates."""


class Merge(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="merge", tag_field="stage"
):
    """Waiting to be merged: a branch with at least one commit."""

    feature_branch: BranchName
    commits_ahead: CommitCount

    def __post_init__(self) -> None:
        require(self.feature_branch, BranchName, "feature_branch")
        _require_ahead(self.commits_ahead)


class Done(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="done", tag_field="stage"):
    """Merged."""

    merged_at: Instant
    merge_commit: GitSha

    def __post_init__(self) -> None:
        require(self.merged_at, Instant, "merged_at")
        require(self.merge_commit, GitSha, "merge_commit")


class Archived(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="archived", tag_field="stage"
):
    """Closed, for a reason."""

    archived_at: Instant
    reason: ArchiveReason

    def __post_init__(self) -> None:
        require(self.archived_at, Instant, "archived_at")
        if not isinstance(self.reason, ArchiveReason):
            raise InvalidValue("reason", "must be a reason to archive")


Stage = Backlog | Coding | Qa | Merge | Done | Archived

# --- events ------------------------------------------------------------------------------------


class DepsMet(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="deps_met", tag_field="event"
):
    """What it depends on is done."""


class GatesStarted(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="gates_started", tag_field="event"
):
    """The QA gates run."""


class GatesPassed(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="gates_passed", tag_field="event"
):
    """The QA gates passed, with something to merge."""

    feature_branch: BranchName
    commits_ahead: CommitCount

    def __post_init__(self) -> None:
        require(self.feature_branch, BranchName, "feature_branch")
        _require_ahead(self.commits_ahead)


class GatesFailed(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="gates_failed", tag_field="event"
):
    """A QA gate failed: back to coding."""

    reason: FreeText

    def __post_init__(self) -> None:
        require(self.reason, FreeText, "reason")


class QaSkipped(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="qa_skipped", tag_field="event"
):
    """Straight to the merge."""

    feature_branch: BranchName
    commits_ahead: CommitCount

    def __post_init__(self) -> None:
        require(self.feature_branch, BranchName, "feature_branch")
        _require_ahead(self.commits_ahead)


class MergeSucceeded(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    tag="merge_succeeded",
    tag_field="event",
):
    """The branch was merged."""

    merge_commit: GitSha

    def __post_init__(self) -> None:
        require(self.merge_commit, GitSha, "merge_commit")


class MergeFailedFinal(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    tag="merge_failed_final",
    tag_field="event",
):
    """The merge failed and will not be tried again."""

    reason: FreeText

    def __post_init__(self) -> None:
        require(self.reason, FreeText, "reason")


class Accepted(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="accepted", tag_field="event"
):
    """What was merged is accepted."""


class Block(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="block", tag_field="event"
):
    """Something stands in the way."""

    reason: FreeText

    def __post_init__(self) -> None:
        require(self.reason, FreeText, "reason")


class Unblock(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="unblock", tag_field="event"
):
    """Nothing stands in the way any longer."""


class Abandon(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="abandon", tag_field="event"
):
    """Give the story up."""


class Supersede(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="supersede", tag_field="event"
):
    """Another story takes its place."""

    by: StoryId

    def __post_init__(self) -> None:
        require(self.by, StoryId, "by")


class ReviewHold(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="review_hold", tag_field="event"
):
    """A person wants to look first."""

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
    Rule("done", Accepted, Archived, lambda _s, _e, at: Archived(at, Completed())),
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

# Every event leads to one stage whatever it started from, so any rule of an event will do.
_LEADS_TO: Final = {rule.event: rule.build for rule in _RULES}


def stage_after(event: PipelineEvent, at: Instant) -> Stage:
    """The stage that an event made, stamped ``at``: it does not depend on where it started.

    That is why a parent's event and stamp alone say which stage its child acts on (protocol §5).
    """
    stage: Stage = _LEADS_TO[type(event)](None, event, at)
    return stage
