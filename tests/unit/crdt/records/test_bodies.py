import json

import pytest
from msgspec import UNSET

from crdt.primitives import limits
from crdt.primitives.canonical_json import encode as canonical
from crdt.primitives.errors import MalformedRecord
from crdt.primitives.hlc import Stamp
from crdt.primitives.identity import RecordRef
from crdt.records.bodies import (
    DETAIL_CHARS_MAX,
    KINDS,
    Carried,
    Claim,
    Evidence,
    Member,
    Role,
    Seal,
    Story,
    Transition,
    encode_body,
    parse_body,
    stored_body,
)
from machines.values import Instant, StoryId
from tests.support.builders.vectors import RECORDS

AT = "2026-11-24T02:00:00.000Z"
HOUR = "2026-11-24T03:00:00.000Z"
NODE = "ab" * 32
BY_NAME = {row["name"]: json.loads(row["body"]) for row in RECORDS["records"]}


def said(kind, **fields):
    return {"at": AT, "kind": kind, "n": 0, **fields}


def parse(fields):
    return parse_body(canonical(fields))


def fault(fields):
    data = fields if isinstance(fields, bytes) else canonical(fields)
    with pytest.raises(MalformedRecord) as caught:
        parse_body(data)
    return str(caught.value)


@pytest.mark.parametrize("row", RECORDS["bodies"], ids=lambda row: row["name"])
def test_bodies_made_outside_the_project(row):
    data = bytes.fromhex(row["body_hex"])
    if row["verdict"] == "ok":
        parse_body(data)
    else:
        assert fault(data)


@pytest.mark.parametrize("row", RECORDS["records"], ids=lambda row: row["name"])
def test_records_made_outside_the_project(row):
    data = row["body"].encode()
    body, fields = parse_body(data), json.loads(data)
    assert body.kind == fields["kind"]
    assert body.key == fields.get("key")
    assert body.stamp == (fields["at"], fields["n"])
    if isinstance(body, Carried):
        assert body.kind not in KINDS
    else:
        assert encode_body(body) == data


def test_every_known_kind_stands_in_the_vectors():
    assert {fields["kind"] for fields in BY_NAME.values()} >= KINDS


def test_a_parent_is_a_reference():
    body = parse(BY_NAME["second transition"])
    assert isinstance(body, Transition)
    assert isinstance(body.parent, RecordRef)
    assert body.parent.author.hex() == BY_NAME["second transition"]["parent"][0]


@pytest.mark.parametrize("name", sorted(n for n, body in BY_NAME.items() if body["kind"] in KINDS))
def test_no_field_may_be_missing_null_or_new(name):
    fields = BY_NAME[name]
    optional = {"title", "description", "depends_on", "labels", "ticket", "nonce"}
    for field in fields:
        if field not in optional:
            rest = {other: value for other, value in fields.items() if other != field}
            assert fault(rest), field
        if field != "parent":  # the one that may be null
            assert fault(fields | {field: None}), field
    assert fault(fields | {"extra": 1})
    assert fault(fields | {"body": "x"})


@pytest.mark.parametrize("ref", [[NODE, 0, 0], [NODE, 0, 0, NODE, 0], [], [NODE, 2**32, 0, NODE],
                                 [NODE, 0, 2**31, NODE], [NODE, 0, 0, NODE.upper()],
                                 [NODE, True, 0, NODE], [NODE, "0", 0, NODE]])  # fmt: skip
def test_invalid_references(ref):
    assert fault(said("ack", story="s", end=ref))
    assert fault(BY_NAME["first transition"] | {"parent": ref})


def test_story_names_only_changed_fields():
    assert parse(said("story", story="s")) == Story(at=Instant(AT), n=0, story=StoryId("s"))
    body = parse(said("story", story="s", title="", depends_on=["a", "a"], labels=[]))
    assert (body.title, body.depends_on, body.labels) == ("", ("a", "a"), ())
    assert body.description is UNSET
    assert fault(said("story", story="s", depends_on=["a b"]))
    assert fault(said("story", story="s", labels="ui"))


def test_text_is_bound_in_characters_or_bytes():
    assert parse(said("story", story="s", title="😀" * 256)).title == "😀" * 256
    assert fault(said("story", story="s", title="x" * 257))
    assert parse(said("story", story="s", description="é" * 2048))
    assert fault(said("story", story="s", description="é" * 2049))
    assert fault(said("story", story="s", description="x" * 4097))
    assert parse(said("member", node=NODE, role="observer", name="é" * 64)).name == "é" * 64
    assert fault(said("member", node=NODE, role="observer", name="x" * 65))


def test_a_record_has_room_for_16_kib():
    def story(count):
        return canonical(said("story", story="s", labels=["x" * 126] * count))

    room = limits.BODY_BYTES_MAX - len(story(1)) + 129
    assert len(story(room // 129)) <= limits.BODY_BYTES_MAX < len(story(room // 129 + 1))
    parse_body(story(room // 129))
    assert fault(story(room // 129 + 1)) == "too long"


def test_a_claim_holds_or_is_released():
    body = parse(said("claim", key="s", since=[AT, 0], until=HOUR))
    assert (body.since, body.until, body.released) == (Stamp(AT, 0), HOUR, UNSET)
    assert parse(said("claim", key="s", released=True)).released is True
    # Renewed later, kept since then; an end that has passed already is no fault.
    early = "2020-01-01T00:00:00.000Z"
    parse(said("claim", key="s", since=[early, 65535], until=early))
    for broken in (
        {},
        {"since": [AT, 0]},
        {"until": HOUR},
        {"released": False},
        {"released": 1},
        {"released": True, "since": [AT, 0]},
        {"released": True, "until": HOUR},
        {"released": True, "since": [AT, 0], "until": HOUR},
        {"since": [AT, 1], "until": HOUR},
        {"since": [AT, -1], "until": HOUR},
        {"since": [early, 65536], "until": HOUR},
        {"since": [early], "until": HOUR},
        {"since": [early, 0, 0], "until": HOUR},
        {"since": [AT, 0], "until": "2026-11-24T03:00:00.001Z"},
        {"since": [AT, 0], "until": "9999-12-31T23:59:59.999Z"},
    ):
        assert fault(said("claim", key="s", **broken)), broken


def test_keep_lists_incarnations_once_rising():
    def revoke(keep):
        return said("revocation", node=NODE, admissions=[NODE], keep=keep)

    assert parse(revoke([[0, 5], [7, 0], [2**32 - 1, 2**31 - 1]])).keep[1] == (7, 0)
    assert parse(revoke([])).keep == ()
    for keep in ([[1, 0], [0, 0]], [[1, 0], [1, 1]], [[0]], [[0, 1, 2]], [0], [[2**32, 0]],
                 [[0, 2**31]], [[-1, 0]], [[0, -1]]):  # fmt: skip
        assert fault(revoke(keep)), keep


def test_evidence_has_its_feed_as_key_and_two_bodies():
    fields = BY_NAME["evidence"]
    assert isinstance(parse(fields), Evidence)
    (one, hashed), other = fields["proof"]
    for broken in (
        {"key": fields["feed"][0]},
        {"key": fields["feed"][0] + ".8"},
        {"feed": [fields["feed"][0], 8]},
        {"feed": [fields["feed"][0]]},
        {"clock": 2**31},
        {"proof": [[one, hashed]]},
        {"proof": [[one, hashed], [other[0], hashed]]},
        {"proof": [[one, hashed], other, other]},
        {"proof": [[one, hashed], [other[0][2:], other[1]]]},
        {"proof": [[one, hashed], [other[0].upper(), other[1]]]},
        {"proof": [[one, hashed], [*other, ""]]},
    ):
        assert fault(fields | broken), broken


def test_a_seal_has_one_key():
    body = parse(BY_NAME["seal"])
    assert isinstance(body, Seal)
    assert body.key == "feed"
    assert fault(BY_NAME["seal"] | {"key": "other"})


def test_a_member_may_show_a_ticket_and_a_nonce():
    body = parse(said("member", node=NODE, role="admin", name="", ticket=NODE, nonce=NODE))
    assert isinstance(body, Member)
    assert body.role is Role.ADMIN
    assert (body.ticket.hex(), body.nonce.hex()) == (NODE, NODE)
    for broken in ({"role": "founder"}, {"role": "Admin"}, {"ticket": ""}, {"nonce": NODE[2:]}):
        fields = said("member", node=NODE, role="admin", name="") | broken
        assert fault(fields), broken


@pytest.mark.parametrize("broken", [
    b"", b"[]", b"1", b'"x"', b"null", b"{}", b'{"kind":1}', b'{"kind":"tide"}', b'{"kind":"tide"',
    b"\xff", b"{" * 8,
])  # fmt: skip
def test_invalid_bodies(broken):
    assert fault(broken)


def test_unknown_kind_is_carried():
    body = parse(said("tide", key="k", x={"y": [None, -1]}))
    assert body == Carried("tide", Instant(AT), 0, "k")
    assert parse(said("tide")).key is None
    assert parse(said("tide") | {"n": 65535}).stamp == Stamp(Instant(AT), 65535)
    for broken in (
        {"n": -1}, {"n": 65536}, {"n": True}, {"n": "0"}, {"n": None}, {"at": 5}, {"at": AT[:-1]},
        {"key": None}, {"key": ""}, {"key": 5}, {"key": "a/b"}, {"kind": "a b"}, {"kind": ""},
    ):  # fmt: skip
        assert fault(said("tide") | broken), broken
    for gone in ("at", "n", "kind"):
        assert fault({name: v for name, v in said("tide").items() if name != gone}), gone


def test_numbers_of_an_unknown_kind():
    for number in (b"1.0", b"1e2", b"-0", b"-0.0", b"1e400", b"NaN", b"9" * 17, b"9" * 5000):
        assert fault(b'{"at":"%s","kind":"tide","n":0,"x":%s}' % (AT.encode(), number))


def test_unknown_kind_sorts_keys_by_utf_16():
    # The grinning face is D83D DE00 in UTF-16, so it stands before U+FFEE, which is less than it.
    rows = ['{"at":"%s","kind":"tide","n":0,"x":{"\U0001f600":1,"\uffee":2}}',
            '{"at":"%s","kind":"tide","n":0,"x":{"\uffee":2,"\U0001f600":1}}']  # fmt: skip
    parse_body((rows[0] % AT).encode())
    assert fault((rows[1] % AT).encode()) == "not in canonical form"


def test_error_detail_is_short_and_escaped():
    assert "\n" not in fault(said("story", story="s", **{"a\nb\u202e": 1}))
    assert "a\\nb\\u202e" in fault(said("story", story="s", **{"a\nb\u202e": 1}))
    assert len(fault(said("story", story="s", **{"x" * 9000: 1}))) == DETAIL_CHARS_MAX


def test_stored_body_skips_the_canonical_check():
    known = canonical(said("story", story="s"))
    for data in (known, canonical({"at": AT, "kind": "new", "n": 0})):
        assert stored_body(data) == parse_body(data)
    for damaged in (b"", known[:-1], known + b"]", b"[" * 30_000, b'{"a":' * 30_000):
        with pytest.raises(MalformedRecord):
            stored_body(damaged)


def test_the_same_name_in_many_records_is_one_object():
    first, second = (parse(said("story", story="one-and-the-same", title=t)) for t in ("a", "b"))
    assert first.story is second.story


def test_a_body_that_breaks_a_bound_is_not_written():
    at = Instant(AT)
    with pytest.raises(MalformedRecord):
        encode_body(Story(at=at, n=65536, story=StoryId("s")))
    with pytest.raises(MalformedRecord):
        encode_body(Story(at=at, n=0, story=StoryId("s"), title="a\x1b[31mb"))
    with pytest.raises(MalformedRecord):
        encode_body(Story(at=at, n=0, story=StoryId("s"), title="x" * 257))


def test_a_body_cannot_be_built_wrong():
    at = Instant(AT)
    with pytest.raises(ValueError, match="claim"):
        Claim(at=at, n=0, key=StoryId("s"))
    with pytest.raises(ValueError, match="description"):
        Story(at=at, n=0, story=StoryId("s"), description="x" * 4097)
