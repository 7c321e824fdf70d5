"""Hypothesis strategies for the values, states and events of both machines."""

from hypothesis import strategies as st

from machines import execution as x
from machines import pipeline as p
from machines.values import AgentName, BranchName, FreeText, GitSha, Instant, StoryId

FIRST_MS = Instant("2020-01-01T00:00:00.000Z").ms
LAST_MS = Instant("2099-12-31T23:59:59.999Z").ms

instants = st.integers(FIRST_MS, LAST_MS).map(Instant.from_ms)
stories = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,12}", fullmatch=True).map(StoryId)
agents = st.sampled_from(["coder-1", "coder-2"]).map(AgentName)
texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=40).map(
    FreeText
)
branches = st.sampled_from(["feature/x", "feature/y", "main"]).map(BranchName)
commits = st.from_regex(r"[0-9a-f]{3,64}", fullmatch=True).map(GitSha)
ahead = st.integers(1, 2**32 - 1)
codes = st.integers(-(2**31), 2**31 - 1)

pipeline_events = st.one_of(
    st.just(p.DepsMet()),
    st.just(p.GatesStarted()),
    st.builds(p.GatesPassed, branches, ahead),
    st.builds(p.GatesFailed, texts),
    st.builds(p.QaSkipped, branches, ahead),
    st.builds(p.MergeSucceeded, commits),
    st.builds(p.MergeFailedFinal, texts),
    st.just(p.Accepted()),
    st.builds(p.Block, texts),
    st.just(p.Unblock()),
    st.just(p.Abandon()),
    st.builds(p.Supersede, stories),
    st.builds(p.ReviewHold, texts),
)
execution_events = st.one_of(
    st.builds(x.SpawnRequested, agents),
    st.just(x.SpawnedSuccessfully()),
    st.just(x.Heartbeat()),
    st.builds(x.HitRateLimit, instants),
    st.builds(x.Exited, codes),
    st.just(x.Stopped()),
    st.just(x.Reset()),
)
