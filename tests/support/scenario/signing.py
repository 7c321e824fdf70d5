"""What a liar signs, from the words of a transcript: any record, true to the rules or not."""

import shlex

from crdt.primitives.canonical_json import encode
from crdt.primitives.hlc import Stamp
from crdt.primitives.identity import Hash
from crdt.records.bodies import Claim, Role, Seal
from crdt.records.digests import seal_digest
from machines import execution as x
from machines import pipeline as p
from machines.values import AgentName, BranchName, FreeText, GitSha, Instant, StoryId

UNITS = {"ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000, "d": 86_400_000, "y": 31_536_000_000}


def duration(text):
    """``-3 d`` and the like, in milliseconds."""
    amount, unit = text.split()
    return int(float(amount) * UNITS[unit])


def pipeline_event(name, args=()):
    """An event by name; what it carries has a value where none is said."""
    said = list(args)

    def word(default):
        return said.pop(0) if said else default

    merge = lambda kind: kind(BranchName(word("feature/x")), int(word("1")))  # noqa: E731
    makers = {
        "deps_met": p.DepsMet,
        "gates_started": p.GatesStarted,
        "gates_passed": lambda: merge(p.GatesPassed),
        "gates_failed": lambda: p.GatesFailed(FreeText(word("why"))),
        "qa_skipped": lambda: merge(p.QaSkipped),
        "merge_succeeded": lambda: p.MergeSucceeded(GitSha(word("abc123"))),
        "merge_failed_final": lambda: p.MergeFailedFinal(FreeText(word("why"))),
        "accepted": p.Accepted,
        "block": lambda: p.Block(FreeText(word("why"))),
        "unblock": p.Unblock,
        "abandon": p.Abandon,
        "supersede": lambda: p.Supersede(StoryId(word("s-2"))),
        "review_hold": lambda: p.ReviewHold(FreeText(word("why"))),
    }
    event = makers[name]()
    assert not said, f"{name} does not carry {said}"
    return event


def execution_event(name, args=(), *, at=None):
    """An event of an execution by name."""
    makers = {
        "spawn_requested": lambda: x.SpawnRequested(AgentName(args[0] if args else "coder")),
        "spawned_successfully": x.SpawnedSuccessfully,
        "heartbeat": x.Heartbeat,
        "hit_rate_limit": lambda: x.HitRateLimit(at),
        "exited": lambda: x.Exited(int(args[0]) if args else 0),
        "stopped": x.Stopped,
        "reset": x.Reset,
    }
    return makers[name]()


def sign(field, pen, words):
    """Sign what the words say."""
    first, *rest = shlex.split(words)
    return _SAYERS.get(first, _transition)(field, pen, [first, *rest])


def _transition(field, pen, words):
    """``s-1 gates_passed feature/x 1 on a``; on nothing where no parent is said."""
    story, name, *args = words
    parent = None
    if len(args) >= 2 and args[-2] == "on":
        parent = field.labels[args[-1]]
        args = args[:-2]
    return pen.transition(story, pipeline_event(name, args), parent, ms=pen.ms)


def _story(_field, pen, words):
    """``story s-1 "title"``."""
    return pen.story(words[1], title=words[2] if len(words) > 2 else "untold", ms=pen.ms)


def _execution(_field, pen, words):
    """``execution s-1 coder`` is legal; with ``wrongly`` its state does not follow."""
    at = Instant.from_ms(pen.ms)
    agent = AgentName(words[2])
    state = x.Idle() if words[-1] == "wrongly" else x.Pending(agent, at)
    return pen.execution(words[1], x.Idle(), x.SpawnRequested(agent), state, ms=pen.ms)


def _claim(_field, pen, words):
    """``claim s-1 since -1 y until 1 h``: both from now."""
    at = Instant.from_ms(pen.ms)
    since = Instant.from_ms(pen.ms + duration(" ".join(words[3:5])))
    if words[-1] == "9999":
        fields = {
            "at": str(at), "key": words[1], "kind": "claim", "n": 0, "since": [str(since), 0],
            "until": "9999-12-31T23:59:59.000Z",
        }  # fmt: skip
        return pen.sign_bytes(encode(fields))
    until = Instant.from_ms(pen.ms + duration(" ".join(words[6:8])))
    body = Claim(at=at, n=0, key=StoryId(words[1]), since=Stamp(since, 0), until=until)
    return pen.write(body)


def _ack(field, pen, words):
    """``ack s-1 of a``."""
    pen.ms -= 1
    return pen.ack(words[1], field.labels[words[3]])


def _member(field, pen, words):
    """``member z1 as admin``."""
    pen.ms -= 1
    return pen.member(field.keys[field.number(words[1])].pubkey, Role(words[3]), words[1])


def _revocation(field, pen, words):
    """``revocation of x2 [admitted by a b] [keep 0:3 7:1]``; of every admission that is known."""
    pubkey = field.keys[field.number(words[2])].pubkey
    keep = [tuple(map(int, word.split(":"))) for word in words if ":" in word]
    if "by" in words:
        named = words[words.index("by") + 1 :]
        named = named[: named.index("keep")] if "keep" in named else named
        taken = [field.labels[word] for word in named]
    else:
        roster = field.replicas[0].ledger.roster
        taken = [admission.ref for admission in roster.admissions(pubkey)]
    pen.ms -= 1
    return pen.revocation(pubkey, taken, keep)


def _evidence(field, pen, words):
    """``evidence a b``."""
    pen.ms -= 1
    return pen.evidence(field.labels[words[1]], field.labels[words[2]])


def _seal(field, pen, words):
    """``seal of a b``, or ``seal of anything`` (``of 3 of anything``) with a digest of nothing."""
    if words[-1] == "anything":
        count, digest = int(words[2]) if len(words) > 3 else 0, bytes(range(32))
    else:
        ids = [field.labels[word].record_id for word in words[2:]]
        count, digest = len(ids), seal_digest(ids)
    at = Instant.from_ms(pen.ms)
    return pen.write(Seal(at=at, n=0, key="feed", count=count, digest=Hash(digest)))


def _kind(_field, pen, words):
    """``kind weather k wind``: one that this version does not know, with a key."""
    at = str(Instant.from_ms(pen.ms))
    return pen.raw({"at": at, "key": words[2], "kind": words[1], "n": 0, "said": words[3]})


def _nonsense(_field, pen, words):
    """``nonsense``: signed, and no record."""
    return pen.sign_bytes(encode({"kind": "story", "said": words[1:]}))


_SAYERS = {
    "story": _story,
    "execution": _execution,
    "claim": _claim,
    "ack": _ack,
    "member": _member,
    "revocation": _revocation,
    "evidence": _evidence,
    "seal": _seal,
    "kind": _kind,
    "nonsense": _nonsense,
}
