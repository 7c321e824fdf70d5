"""What honest nodes are asked for: stories, events, executions, claims.

Each function is one step of a schedule: it is called with the world, the node and two numbers that
mean something wherever the steps before it led.
"""

from crdt.authoring.intents import (
    AddStory,
    ClaimStory,
    EditStory,
    FireEvent,
    FireExecution,
    ReleaseClaim,
)
from machines import execution as x
from machines import pipeline as p
from machines.pipeline import PIPELINE
from machines.values import AgentName, BranchName, FreeText, GitSha, Instant, StoryId
from tests.support.builders.cluster import START

STORIES = 6


def pipeline_events(number):
    """Every event of the pipeline, with contents."""
    text = FreeText(f"because {number % 97}")
    branch, sha = BranchName(f"feature/{number % 7}"), GitSha(f"{number % 4096:03x}abc")
    return [
        p.DepsMet(), p.GatesStarted(), p.GatesPassed(branch, 1 + number % 5), p.GatesFailed(text),
        p.QaSkipped(branch, 1), p.MergeSucceeded(sha), p.MergeFailedFinal(text), p.Accepted(),
        p.Block(text), p.Unblock(), p.Abandon(), p.Supersede(StoryId("s-0")), p.ReviewHold(text),
    ]  # fmt: skip


def execution_events(number):
    """Every event of an execution, with contents."""
    return [
        x.SpawnRequested(AgentName(f"agent-{number % 3}")), x.SpawnedSuccessfully(), x.Heartbeat(),
        x.HitRateLimit(Instant.from_ms(START.ms + number % 10**6)), x.Exited(number % 3),
        x.Stopped(), x.Reset(),
    ]  # fmt: skip


def add(world, node, a, b):
    world.request(node, lambda _: AddStory(StoryId(f"s-{a % STORIES}"), FreeText(f"t{b % 99}")))


def edit(world, node, a, b):
    world.request(
        node, lambda r: (s := _story(r, a)) and EditStory(s, title=FreeText(f"t{b % 99}"))
    )


def fire(world, node, a, b):
    def choose(replica):
        story = _story(replica, a)
        if story is None:
            return None
        legal = PIPELINE.legal_events(replica.ledger.board.state(story).stage)
        events = [e for e in pipeline_events(b) if PIPELINE.event_name(e) in legal]
        return FireEvent(story, events[b % len(events)], force=True) if events else None

    world.request(node, choose)


def execution(world, node, a, b):
    def choose(replica):
        story = _story(replica, a)
        events = execution_events(b)
        return story and FireExecution(story, events[b % len(events)])

    world.request(node, choose)


def claim(world, node, a, b):
    world.request(node, lambda r: (s := _story(r, a)) and ClaimStory(s, 60 + b % 3000))


def release(world, node, a, b):
    world.request(node, lambda r: (s := _story(r, a)) and ReleaseClaim(s))


def _story(replica, number):
    views = sorted(view.id for view in replica.ledger.board.stories())
    return views[number % len(views)] if views else None


STEPS = {step.__name__: step for step in (add, edit, fire, execution, claim, release)}
