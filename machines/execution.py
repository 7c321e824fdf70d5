"""The execution machine: what one node is doing about one story.

>>> at = Instant("2026-01-01T12:00:00.000Z")
>>> EXECUTION.step(Idle(), SpawnRequested(AgentName("coder-1")), at).state
Pending(agent='coder-1', since='2026-01-01T12:00:00.000Z')

Execution records and local requests are checked by the same table. Field names and tags are those
in records and in the test vectors. Source: protocol §6.
"""

from typing import Annotated, Final

import msgspec

from machines.errors import InvalidValue
from machines.kernel import Machine, Rule, Superstate
from machines.pipeline import require
from machines.values import I32_MAX, I32_MIN, AgentName, Instant

ExitCode = Annotated[int, msgspec.Meta(ge=I32_MIN, le=I32_MAX)]


def _require_code(code: object) -> None:
    if type(code) is not int or not I32_MIN <= code <= I32_MAX:
        raise InvalidValue("exit_code", f"{I32_MIN} to {I32_MAX}")


class _State(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True, tag_field="state"):
    """What a node is doing about a story."""


class _Event(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True, tag_field="event"):
    """Something that happened to the execution."""


# --- states ------------------------------------------------------------------------------------


class Idle(_State, frozen=True, tag="idle"):
    """No agent works on the story."""


class Pending(_State, frozen=True, tag="pending"):
    """An agent was requested and has not started yet."""

    agent: AgentName
    since: Instant

    def __post_init__(self) -> None:
        require(self.agent, AgentName, "agent")
        require(self.since, Instant, "since")


class Running(_State, frozen=True, tag="running"):
    """An agent is working."""

    agent: AgentName
    started_at: Instant
    last_heartbeat: Instant

    def __post_init__(self) -> None:
        require(self.agent, AgentName, "agent")
        require(self.started_at, Instant, "started_at")
        require(self.last_heartbeat, Instant, "last_heartbeat")


class RateLimited(_State, frozen=True, tag="rate_limited"):
    """The agent must wait until ``resume_at``."""

    agent: AgentName
    resume_at: Instant

    def __post_init__(self) -> None:
        require(self.agent, AgentName, "agent")
        require(self.resume_at, Instant, "resume_at")


class Completed(_State, frozen=True, tag="completed"):
    """The agent exited by itself."""

    agent: AgentName
    exit_code: ExitCode
    completed_at: Instant

    def __post_init__(self) -> None:
        require(self.agent, AgentName, "agent")
        _require_code(self.exit_code)
        require(self.completed_at, Instant, "completed_at")


ExecutionState = Idle | Pending | Running | RateLimited | Completed

# --- events ------------------------------------------------------------------------------------


class SpawnRequested(_Event, frozen=True, tag="spawn_requested"):
    """An agent was requested."""

    agent: AgentName

    def __post_init__(self) -> None:
        require(self.agent, AgentName, "agent")


class SpawnedSuccessfully(_Event, frozen=True, tag="spawned_successfully"):
    """The agent has started."""


class Heartbeat(_Event, frozen=True, tag="heartbeat"):
    """The agent is alive."""


class HitRateLimit(_Event, frozen=True, tag="hit_rate_limit"):
    """The agent hit a rate limit and must wait until ``resume_at``."""

    resume_at: Instant

    def __post_init__(self) -> None:
        require(self.resume_at, Instant, "resume_at")


class Exited(_Event, frozen=True, tag="exited"):
    """The agent exited by itself."""

    exit_code: ExitCode

    def __post_init__(self) -> None:
        _require_code(self.exit_code)


class Stopped(_Event, frozen=True, tag="stopped"):
    """The agent was stopped."""


class Reset(_Event, frozen=True, tag="reset"):
    """Return to idle, whatever the state."""


ExecutionEvent = (
    SpawnRequested | SpawnedSuccessfully | Heartbeat | HitRateLimit | Exited | Stopped | Reset
)

# --- the table ---------------------------------------------------------------------------------

ANY: Final = "any"


def _exits(source: str) -> Rule:
    return Rule(source, Exited, Completed, lambda s, e, at: Completed(s.agent, e.exit_code, at))


def _limits(source: str) -> Rule:
    return Rule(
        source,
        HitRateLimit,
        RateLimited,
        lambda s, e, _at: RateLimited(s.agent, e.resume_at),
        action="schedule_resume",
    )


def _spawns(source: str) -> Rule:
    return Rule(source, SpawnedSuccessfully, Running, lambda s, _e, at: Running(s.agent, at, at))


EXECUTION: Final = Machine(
    name="execution",
    states=(Idle, Pending, Running, RateLimited, Completed),
    events=(
        SpawnRequested,
        SpawnedSuccessfully,
        Heartbeat,
        HitRateLimit,
        Exited,
        Stopped,
        Reset,
    ),
    superstates=(Superstate(ANY, (Idle, Pending, Running, RateLimited, Completed)),),
    rules=(
        Rule("idle", SpawnRequested, Pending, lambda _s, e, at: Pending(e.agent, at)),
        _spawns("pending"),
        _spawns("rate_limited"),
        Rule(
            "running",
            Heartbeat,
            Running,
            lambda s, _e, at: Running(s.agent, s.started_at, at),
            in_place=True,
        ),
        _limits("pending"),
        _limits("running"),
        _exits("pending"),
        _exits("running"),
        _exits("rate_limited"),
        Rule(ANY, Stopped, Idle, lambda _s, _e, _at: Idle()),
        Rule(ANY, Reset, Idle, lambda _s, _e, _at: Idle()),
    ),
    initial=Idle(),
    entry={"running": ("start_heartbeat",)},
    exit={"running": ("stop_heartbeat",)},
)
