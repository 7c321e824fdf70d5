"""One entry is one line, as text and as JSON, whatever stands in it."""

import io
import json
import logging
import re
import sys
from datetime import datetime, timedelta

import pytest

from crdt.contract.ready import ForkProven, IncarnationOpened, Noticed, PeerFaulted, RecordRejected
from crdt.presence.duplicate_key import peer_sentence
from crdt.presence.signed_presence import PresenceState
from crdt.primitives.errors import Reason
from crdt.primitives.identity import RecordId, RecordRef
from machines.values import Instant
from node.runtime.operator_notices import Notices
from node.system import log_format as logs
from tests.support.builders.cluster import START, key

POISON = (
    "\x1b[31m\x1b]0;owned\x07\r\n2026-01-01 INFO forged\x00\x7f\x85\x9b31m\u202e\u2066\u2028\ufeff"
)
NODE = key(2).pubkey
PRINTABLE = re.compile(r"[ -~]*")


@pytest.fixture
def told(monkeypatch):
    """What is logged as JSON: gives the lines so far, as they are."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.JsonFormatter())
    log = logging.getLogger("gangline")
    monkeypatch.setattr(log, "handlers", [handler])
    monkeypatch.setattr(log, "level", logging.INFO)
    monkeypatch.setattr(log, "propagate", False)
    return lambda: stream.getvalue().splitlines()


def only(lines):
    [line] = lines
    assert PRINTABLE.fullmatch(line), "what is not plain ASCII is an escape"
    return json.loads(line)


def test_an_entry_has_time_level_logger_message(told):
    logging.getLogger("gangline.store").warning("%s takes writes again", "store.db")
    entry = only(told())
    assert list(entry) == ["time", "level", "logger", "message"]
    assert entry["time"].endswith("Z")
    assert datetime.fromisoformat(entry.pop("time")).utcoffset() == timedelta(0)
    assert entry == {
        "level": "warning", "logger": "gangline.store", "message": "store.db takes writes again"
    }  # fmt: skip


@pytest.mark.parametrize("text", [POISON, "Zoë 日本", *map(chr, range(0x20)), "\x7f"])
def test_text_of_a_peer_is_one_line_and_round_trips(told, text):
    log = logging.getLogger("gangline")
    log.warning("%s", text, extra=logs.fields(reason=text))
    entry = only(told())
    assert entry["message"] == entry["reason"] == text


def test_half_a_surrogate_pair_is_no_text():
    line = logs.JsonFormatter().format(logging.makeLogRecord({"msg": "file \udcff"}))
    assert only([line])["message"] == "file \\udcff"


def test_a_traceback_is_a_part_of_its_line(told):
    try:
        raise ValueError(POISON)
    except ValueError:
        logging.getLogger("gangline").exception("it failed", extra=logs.fields(clock=7))
    entry = only(told())
    assert (entry["level"], entry["message"], entry["clock"]) == ("error", "it failed", 7)
    assert entry["exception"].startswith("Traceback (most recent call last):\n")
    assert POISON in entry["exception"]


RECORD = RecordRef(NODE, 3, 7, RecordId(bytes(32)))
EVENTS = [
    (
        RecordRejected(RECORD, Reason.NOT_ALLOWED, POISON, None),
        {"author": NODE.hex(), "incarnation": 3, "clock": 7, "reason": "not_allowed",
         "detail": POISON},
    ),
    (
        PeerFaulted(NODE, Reason.BAD_SIGNATURE, POISON),
        {"peer": NODE.hex(), "reason": "bad_signature", "detail": POISON},
    ),
    (
        ForkProven(NODE, 3, 7),
        {"what": "fork", "node": NODE.hex(), "incarnation": 3, "clock": 7},
    ),
    (IncarnationOpened(9, POISON), {"what": "new_feed", "incarnation": 9}),
    (Noticed("clock", POISON), {"what": "clock"}),
    (Noticed("flood", POISON, NODE), {"what": "flood", "node": NODE.hex()}),
]  # fmt: skip


@pytest.mark.parametrize(("event", "known"), EVENTS, ids=lambda one: type(one).__name__)
def test_fields_appear_beside_the_message(told, event, known):
    Notices().on_event(event)
    entry = only(told())
    assert entry["message"]
    assert {name: entry.get(name) for name in known} == known


def test_a_hostile_host_name_is_escaped(told):
    state = PresenceState(Instant(START), host=POISON, twin=POISON)
    Notices().on_event(Noticed("twin", peer_sentence(NODE, state), NODE))
    assert only(told())["message"].count(POISON) == 2


@pytest.mark.parametrize("log_format", logs.FORMATS)
def test_the_log_goes_to_stderr_without_libraries(monkeypatch, log_format):
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    logs.start_logging(log_format)
    logging.getLogger("gangline.door").info("a caller")
    for library in ("websockets.server", "gangline.websocket", "uvicorn.error"):
        logging.getLogger(library).info("chatter")
    [line] = stream.getvalue().splitlines()
    assert line.startswith("{") == (log_format == "json")
    assert "a caller" in line


def test_text_has_local_time_and_json_utc(zone):
    zone("IST-5:30")
    entry = logging.makeLogRecord(
        {"created": 1_796_040_682.9, "name": "gangline", "msg": "until 2026-11-30T12:11:22.000Z"}
    )
    here = "2026-11-30 17:41:22+05:30"
    assert (
        logs.TextFormatter(logs.FORMAT).format(entry) == f"{here} Level None gangline: until {here}"
    )
    told = json.loads(logs.JsonFormatter().format(entry))
    assert told["time"] == "2026-11-30T12:11:22.900Z"
    assert told["message"] == "until 2026-11-30T12:11:22.000Z"
