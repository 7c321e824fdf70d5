"""Each route of the local API over HTTP, and each kind of refusal as problem details."""

import json

import pytest

from crdt.primitives.identity import FeedId
from machines.values import NodePubkey
from node.client.http_client import RequestRefused
from node.reporting import queries
from node.system.exit_codes import Exit
from tests.support.builders.cluster import key
from tests.support.builders.service import api

JSON = {"content-type": "application/json"}
STRANGER = key(9).pubkey.hex()


@pytest.fixture
async def node(tmp_path):
    async with api(tmp_path) as (client, desk):
        yield client, desk


@pytest.fixture
async def client(node):
    client, _ = node
    await client.post("/stories/s-1", json={"title": "first"})
    return client


def problem(answer, status, title):
    """What a refusal says, once it is one in form."""
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json()
    assert (answer.status_code, told["status"], told["title"]) == (status, status, title)
    return told


async def test_a_new_node_shows_itself(client):
    status = (await client.get("/status")).json()
    assert (status["name"], status["role"], status["stories"]) == ("den", "admin", {"backlog": 1})
    assert status["founder"]
    assert (status["peers"], status["pending"], status["forks"]) == (0, 0, 0)
    [row] = (await client.get("/nodes")).json()
    assert (row["node"], row["liveness"], row["seen_by"]) == (status["node"], "here", [])
    assert row["founder"]
    assert (await client.get("/peers")).json() == []
    assert (await client.get("/inspect/digest")).json() == {"digest": status["digest"]}
    assert (await client.get("/inspect/quarantine")).json() == []


async def test_peers_shows_who_must_stay_away_and_why(node):
    client, desk = node
    door = desk._dialer.limiter
    door._mono = lambda: 100.0
    door.fault_from_address("192.0.2.7", "too_large")
    door.fault_of_node(NodePubkey.from_hex(STRANGER), "bad_signature")
    place, key = (await client.get("/peers")).json()
    assert (place["node"], place["state"], place["address"]) == ("", "banned", "192.0.2.7")
    assert place["error"] == "too_large: 1 in the last hour, may come again in 1 s"
    assert (key["node"], key["state"], key["address"]) == (STRANGER, "banned", "")
    assert key["error"].startswith("bad_signature")


async def test_a_story_is_named_moved_and_shown(client):
    written = (await client.patch("/stories/s-1", json={"labels": ["a"]})).json()
    assert written["clock"] > 0
    assert written["name"] == "den"
    moved = await client.post("/stories/s-1/events", json={"event": {"event": "deps_met"}})
    assert moved.json()["holders"] == 0
    story = (await client.get("/stories/s-1")).json()
    assert (story["title"], story["labels"], story["stage"]) == (
        "first",
        ["a"],
        {"stage": "coding"},
    )
    assert story["names"] == {moved.json()["author"]: "den"}
    assert (await client.get("/stories")).json() == [story]


WRITES = {
    "add": ("POST", "/stories/s-2", {}),
    "edit": ("PATCH", "/stories/s-1", {"title": "other"}),
    "fire": ("POST", "/stories/s-1/events", {"event": {"event": "deps_met"}}),
    "claim": ("POST", "/stories/s-1/claim", {"seconds": 60}),
    "release": ("DELETE", "/stories/s-1/claim", None),
}


@pytest.mark.parametrize("name", WRITES)
async def test_every_write_waits_for_as_many_nodes_as_asked(client, name, monkeypatch):
    await client.post("/stories/s-1/claim", json={"seconds": 60})
    asked = []

    def holders(_sessions, ref):
        asked.append(ref)
        return len(asked)

    monkeypatch.setattr("crdt.sync.session.Sessions.holders", holders)
    method, path, body = WRITES[name]
    answer = await client.request(method, path, json=body, params={"wait_for": 3, "timeout": 60})
    assert answer.json()["holders"] == 3
    assert {ref.record_id.hex() for ref in asked} == {answer.json()["record"]}


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"wait_for": -1}, "wait_for: a number of nodes"),
        ({"timeout": -1}, "timeout: from 0 to 60"),
        ({"timeout": 61}, "timeout: from 0 to 60"),
        ({"timeout": "nan"}, "timeout: from 0 to 60"),
        ({"wait_for": "x"}, "wait_for"),
    ],
)
async def test_how_long_to_wait_has_its_bounds(client, asked, told):
    answer = await client.patch("/stories/s-1", json={"title": "other"}, params=asked)
    assert told in problem(answer, 400, "malformed")["detail"]
    assert (await client.get("/stories/s-1")).json()["title"] == "first"


async def test_a_node_goes_by_the_name_that_the_roster_has(client):
    own = (await client.get("/status")).json()["node"]
    await client.post("/members/name", json={"node": own, "name": "kennel-1"})
    assert (await client.get("/status")).json()["name"] == "kennel-1"


async def test_status_counts_stories_in_order_of_stages(client):
    for number in range(2):
        await client.post(f"/stories/a-{number}", json={})
    for event in ("deps_met", "gates_started"):
        await client.post("/stories/a-0/events", json={"event": {"event": event}})
    await client.post("/stories/a-1/events", json={"event": {"event": "abandon"}})
    stages = (await client.get("/status")).json()["stories"]
    assert list(stages.items()) == [("backlog", 1), ("qa", 1), ("archived", 1)]


async def test_explain_says_who_stands_behind_an_event(client):
    moved = (await client.post("/stories/s-1/events", json={"event": {"event": "deps_met"}})).json()
    [event] = (await client.get("/stories/s-1/explain")).json()["events"]
    assert event["record"][3] == moved["record"]
    assert (event["makes"], event["weight"]) == ({"stage": "coding"}, 1)
    assert event["authors"] == [moved["author"]]
    assert (event["place"], event["in_tree"]) == ("spine", True)


async def test_a_claim_is_taken_shown_and_given_back(client):
    taken = (await client.post("/stories/s-1/claim", json={"seconds": 60})).json()
    assert (await client.get("/stories/s-1")).json()["holder"] == taken["author"]
    await client.delete("/stories/s-1/claim")
    assert (await client.get("/stories/s-1")).json()["holder"] is None
    problem(await client.delete("/stories/s-1/claim"), 409, "refused")


async def test_an_execution_goes_from_idle_to_its_end(client):
    async def fire(**event):
        return await client.post("/stories/s-1/execution", json={"event": event})

    assert (await client.get("/stories/s-1/execution")).json() == {"state": {"state": "idle"}}
    await fire(event="spawn_requested", agent="coder-1")
    await fire(event="spawned_successfully")
    assert (await client.post("/stories/s-1/execution/beat", json={})).status_code == 201
    [row] = (await client.get("/nodes")).json()
    assert row["executions"] == {"s-1": "running"}
    await fire(event="exited", exit_code=3)
    state = (await client.get("/stories/s-1/execution")).json()["state"]
    assert (state["state"], state["exit_code"]) == ("completed", 3)
    told = problem(await fire(event="heartbeat"), 409, "ignored")
    assert "completed" in told["detail"]


async def test_feeds_tell_all_that_is_known_of_a_feed(client):
    [row] = (await client.get("/inspect/feeds")).json()
    assert (row["name"], row["incarnation"], row["fork"]) == ("den", 0, None)
    assert row["head"] == row["live"] + row["gaps"]
    assert row["unknown"] == 0
    assert row["bytes"] > 64 * row["live"]


async def test_many_feeds_are_looked_at_a_few_at_a_time(node, monkeypatch):
    client, desk_ = node
    monkeypatch.setattr("node.api.service.FEEDS_AT_ONCE", 2)
    replica, looks = desk_.driver._replica, []
    for incarnation in range(1, 5):
        replica.ledger.feed(FeedId(replica.own, incarnation))
    original = queries.feeds
    watched = lambda few, *rest: looks.append(len(few)) or original(few, *rest)  # noqa: E731
    monkeypatch.setattr(queries, "feeds", watched)
    rows = (await client.get("/inspect/feeds")).json()
    assert [row["incarnation"] for row in rows] == [0, 1, 2, 3, 4]
    assert looks == [2, 2, 1]


async def test_members_are_admitted_and_revoked(client):
    ticket = (await client.post("/invite", json={})).json()["ticket"]
    assert ticket.startswith("gangline1-")
    await client.post("/members", json={"node": STRANGER, "name": "b"})
    named = {row["node"]: row for row in (await client.get("/nodes")).json()}
    assert (named[STRANGER]["name"], named[STRANGER]["role"]) == ("b", "member")
    assert named[STRANGER]["liveness"] == "offline"
    await client.post("/members/revoke", json={"node": STRANGER[:8]})
    named = {row["node"]: row for row in (await client.get("/nodes")).json()}
    assert named[STRANGER]["role"] == "revoked"
    problem(await client.post("/members/revoke", json={"node": "ee"}), 409, "refused")


async def test_event_stream_is_json_lines(node):
    client, desk = node
    stream = app_events(desk, "s-2")
    assert await anext(stream) == b"\n"
    for story in ("s-1", "s-2"):
        await client.post(f"/stories/{story}", json={})
        await client.post(f"/stories/{story}/events", json={"event": {"event": "deps_met"}})
    event = json.loads(await anext(stream))
    assert (event["type"], event["story"], event["event"]) == ("stage_moved", "s-2", "deps_met")
    await stream.aclose()


def app_events(desk, story):
    from node.api import app  # noqa: PLC0415 - the one function that is not a route

    return app._events(desk, story)


# --- refusals


EVERY_WRITE = WRITES | {
    "execute": (
        "POST",
        "/stories/s-1/execution",
        {"event": {"event": "spawn_requested", "agent": "a"}},
    ),
    "admit": ("POST", "/members", {"node": STRANGER}),
    "promote": ("POST", "/members/role", {"node": "den", "up": True}),
    "rename": ("POST", "/members/name", {"node": "den", "name": "kennel-1"}),
    "revoke": ("POST", "/members/revoke", {"node": "den"}),
    "invite": ("POST", "/invite", {}),
}


@pytest.mark.parametrize("name", EVERY_WRITE)
@pytest.mark.parametrize("cause", ["read-only", "incomplete", "clock"])
async def test_a_cause_in_the_host_ends_every_write_alike(node, monkeypatch, name, cause):
    client, desk = node
    await client.post("/stories/s-1", json={})
    await client.post("/stories/s-1/claim", json={"seconds": 60})
    why = "this host's clock is 301 s behind its peers'; set it right"
    if cause == "clock":
        monkeypatch.setattr("crdt.sync.session.ClockWatch.why_not", lambda *_: why)
    elif cause == "read-only":
        why = desk.driver._replica.store_read_only = "read-only: the disk is full"
    else:
        why = desk.driver._replica.store_incomplete = "read-only: 3 records are missing"
    method, path, body = EVERY_WRITE[name]
    answer = await client.request(method, path, json=body)
    full = cause == "read-only" and name != "invite"
    assert problem(answer, 503, "store failure" if full else "not now")["detail"] == why
    assert RequestRefused(answer.json(), answer.status_code).code == Exit.ENVIRONMENT


@pytest.mark.parametrize("name", EVERY_WRITE)
async def test_what_the_rules_refuse_ends_every_write_alike(node, monkeypatch, name):
    client, desk = node
    await client.post("/stories/s-1", json={})
    monkeypatch.setattr(type(desk.driver.roster), "write_block", lambda *_: "mute")
    method, path, body = EVERY_WRITE[name]
    answer = await client.request(method, path, json=body)
    assert problem(answer, 409, "refused")["detail"] == "mute"
    assert RequestRefused(answer.json(), answer.status_code).code == Exit.REFUSED


async def test_ignored_event_lists_legal_events(client):
    answer = await client.post("/stories/s-1/events", json={"event": {"event": "accepted"}})
    told = problem(answer, 409, "ignored")
    assert (told["stage"], told["event"]) == ("backlog", "accepted")
    assert "deps_met" in told["legal"]


@pytest.mark.parametrize(
    "path", ["/stories/nope", "/stories/nope/explain", "/stories/nope/execution"]
)
async def test_an_unknown_story_is_named(client, path):
    assert "nope" in problem(await client.get(path), 404, "unknown story")["detail"]


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        ("/stories/s-1/events", {"event": {"event": "deps_mat"}}, "no event is called deps_mat"),
        ("/stories/s-1/events", {"event": {"event": ["deps_met"]}}, "no event is called ['deps"),
        ("/stories/s-1/events", {"event": {}}, "no event is called None"),
        ("/stories/s-1/events", {"event": {"event": "block"}}, "block takes reason: reason is"),
        ("/stories/s-1/events", {"event": {"event": "block", "x": "y"}}, "block takes reason"),
        ("/stories/s-1/events", {"event": 3}, "event: expected object"),
        ("/stories/s-1/events", {"event": {"event": "deps_met"}, "x": 1}, "there is no field x"),
        ("/stories/s-1/execution", {"event": {"event": "accepted"}}, "no event is called accepted"),
        ("/stories/bad%20id", {}, "a story: 1 to 128"),
        ("/stories/s-9", {"title": "\x1b[31m"}, "a title: at most 256 characters, no control"),
        ("/stories/s-9", {"title": "t" * 257}, "a title: at most 256 characters"),
        # In NFC it is twice as long.
        ("/stories/s-9", {"title": "\u0958" * 200}, "a title: at most 256 characters"),
        ("/stories/s-9", {"description": "\x00"}, "a description: at most 4096 bytes of UTF-8, no"),
        (
            "/stories/s-1/execution",
            {"event": {"event": "spawn_requested", "agent": "a b"}},
            "spawn_requested: agent: 1 to 128 of",
        ),
        ("/members", {"node": "00" * 32}, "no node has the key 00000000"),
        ("/members", {"node": f"01{'00' * 31}"}, "no node has the key 01000000"),
        ("/members", {"node": "ab" * 32}, "no node has the key abababab"),
        ("/invite", {"role": "boss"}, "no role is called boss; there are: admin, member"),
        ("/invite", {"seconds": "x"}, "seconds: expected int"),
        ("/members", {"node": "xyz"}, "64 lower-case hex digits"),
    ],
)  # fmt: skip
async def test_what_is_malformed_is_said_in_words(client, path, body, told):
    assert told in problem(await client.post(path, json=body), 400, "malformed")["detail"]


async def test_a_story_that_is_there_is_not_added_again(client):
    assert "edit" in problem(await client.post("/stories/s-1", json={}), 409, "refused")["detail"]


async def test_unknown_path_and_method_are_problem_details(client):
    problem(await client.get("/nonesuch"), 404, "refused")
    problem(await client.put("/status"), 405, "refused")


async def test_internal_error_is_logged_and_names_the_log(node, caplog):
    client, desk = node

    async def broken():
        raise RuntimeError("planted")

    desk.status = broken
    assert "log" in problem(await client.get("/status"), 500, "failed")["detail"]
    assert "planted" in caplog.text


# --- OpenAPI


async def test_the_api_describes_itself_whole(client):
    described = (await client.get("/openapi.json")).json()
    assert described["openapi"].startswith("3.")
    text = json.dumps(described)
    schemas = described["components"]["schemas"]
    wanted = {part.split('"')[0] for part in text.split('"#/components/schemas/')[1:]}
    assert wanted <= schemas.keys()
    operations = [one for path in described["paths"].values() for one in path.values()]
    names = [one["operationId"] for one in operations]
    assert len(set(names)) == len(names)
    board = described["paths"]["/stories"]["get"]["responses"]["200"]["content"]
    assert "StoryOut" in json.dumps(board)
    assert "/inspect/feeds" in described["paths"]
