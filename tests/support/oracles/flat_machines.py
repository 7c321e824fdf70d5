"""The two machines a second time: flat, one ``match`` each, no table and no superstates.

Slow to read and hard to get wrong in the same way as the kernel. Gives (outcome word, state).
"""

from machines import execution as x
from machines import pipeline as p


def pipeline(state, event, at):
    match state, event:
        case p.Backlog(), p.DepsMet():
            return "transition", p.Coding()
        case p.Coding(), p.GatesStarted():
            return "transition", p.Qa()
        case p.Coding(), p.QaSkipped(branch, ahead):
            return "transition", p.Merge(branch, ahead)
        case p.Qa(), p.GatesPassed(branch, ahead):
            return "transition", p.Merge(branch, ahead)
        case p.Qa(), p.GatesFailed():
            return "transition", p.Coding()
        case p.Merge(), p.MergeSucceeded(commit):
            return "transition", p.Done(at, commit)
        case p.Merge(), p.MergeFailedFinal(reason):
            return "transition", p.Archived(at, p.MergeFailed(reason))
        case ((p.Backlog() | p.Coding() | p.Qa() | p.Merge()), p.Block(reason)):
            return "transition", p.Archived(at, p.Blocked(reason))
        case ((p.Backlog() | p.Coding() | p.Qa() | p.Merge()), p.ReviewHold(reason)):
            return "transition", p.Archived(at, p.ReviewHeld(reason))
        case ((p.Backlog() | p.Coding() | p.Qa() | p.Merge() | p.Done()), p.Abandon()):
            return "transition", p.Archived(at, p.Abandoned())
        case ((p.Backlog() | p.Coding() | p.Qa() | p.Merge() | p.Done()), p.Supersede(by)):
            return "transition", p.Archived(at, p.Superseded(by))
        case p.Done(), p.Accepted():
            return "transition", p.Archived(at, p.StoryCompleted())
        case p.Archived(_, p.Blocked()), p.Unblock():
            return "transition", p.Backlog()
    return "ignored", state


def execution(state, event, at):
    match state, event:
        case x.Idle(), x.SpawnRequested(agent):
            return "transition", x.Pending(agent, at)
        case ((x.Pending(agent) | x.RateLimited(agent)), x.SpawnedSuccessfully()):
            return "transition", x.Running(agent, at, at)
        case x.Running(agent, started), x.Heartbeat():
            return "updated", x.Running(agent, started, at)
        case ((x.Pending(agent) | x.Running(agent)), x.HitRateLimit(resume)):
            return "transition", x.RateLimited(agent, resume)
        case ((x.Pending(agent) | x.Running(agent) | x.RateLimited(agent)), x.Exited(code)):
            return "transition", x.Completed(agent, code, at)
        case _, (x.Stopped() | x.Reset()):
            return "transition", x.Idle()
    return "ignored", state
