"""Every command that shows what others wrote, with the worst that they could have written."""

import io
import json
import logging
import re

import pytest
from typer.testing import CliRunner

from crdt.records.bodies import Story
from crdt.records.record import sign_record
from machines.values import Instant, StoryId
from node.cli.commands import show
from node.cli.main import app
from node.client.http_client import Client
from node.system import log_format
from node.system.sanitize import UNSAFE, clean
from tests.support.builders.cluster import START
from tests.support.builders.record_author import as_frame
from tests.support.builders.stores import collided, write
from tests.support.harness.daemons import Fleet

POISON = "\x1b[31m\r\x00\x07\x08\x7f\x9b31m\u202e\u2066\u2028\ufeff[bold]b[/bold]<b>&"
SHOWN = clean(POISON)
KEY_OR_TIME = re.compile(r"[0-9a-f]{16,}|\d{4}-\d\d-\d\d.*|gangline1-.*")
HARMLESS = re.compile("[\n]")


def assert_harmless(told):
    assert UNSAFE.search(HARMLESS.sub("", told)) is None, repr(told)


def poisoned(value):
    """The answer of a daemon, with every text in it that somebody wrote made hostile."""
    if isinstance(value, dict):
        # A place in a tree is a word of the daemon's own, of which there are four.
        return {key: one if key == "place" else poisoned(one) for key, one in value.items()}
    if isinstance(value, list):
        return [poisoned(one) for one in value]
    if isinstance(value, str) and value and not KEY_OR_TIME.fullmatch(value):
        return value + POISON
    return value


def texts(value):
    if isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from texts(one)
    elif isinstance(value, str):
        yield value


def run(*args, code=0):
    done = CliRunner().invoke(app, args, terminal_width=200)
    assert done.exit_code == code, done.output
    return done.output


@pytest.fixture(scope="module")
def den(tmp_path_factory):
    with Fleet(tmp_path_factory.mktemp("display")) as fleet:
        den = fleet.found()
        for args in (
            ("add", "s-1", "--title", "one", "--description", "d", "--label", "l"),
            ("add", "s-2", "--title", "two", "--depends-on", "s-1"),
            ("fire", "s-1", "block", "--set", "reason=because"),
            ("claim", "s-1"),
            ("exec", "s-1", "--agent", "coder-1", "--", "true"),
            ("invite",),
        ):
            den.gangline(*args)
        yield den


COMMANDS = [
    ("status",), ("nodes",), ("peers",), ("stories",), ("story", "s-1"), ("members",),
    ("invite", "--list"), ("inspect", "feeds"), ("inspect", "quarantine"), ("inspect", "history"),
    ("inspect", "explain", "s-1"),
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("as_json", [False, True], ids=["people", "programs"])
def test_a_command_shows_what_others_wrote_and_obeys_none_of_it(den, monkeypatch, command, as_json):
    ask = Client.ask
    answers = []

    def asked(self, *args):
        answers.append(poisoned(ask(self, *args)))
        return answers[-1]

    monkeypatch.setattr(Client, "ask", asked)
    told = run("--home", str(den.home), *command, *(["--json"] if as_json else []))
    assert_harmless(told)
    assert answers
    if as_json:
        assert json.loads(told) == answers[-1]
    elif POISON in "".join(texts(answers)):
        assert "[bold]" in told, "it was taken for markup"


EVENTS = [
    {"type": "stage_moved", "story": "s", "before": {"stage": "a"}, "after": {"stage": "b"},
     "event": "e", "late": False, "record": None},
    {"type": "event_lost", "story": "s", "event": "e", "why": "w", "beaten_by": None,
     "record": None},
    {"type": "execution_moved", "story": "s", "node": "n", "state": "x", "event": "e",
     "record": None},
    {"type": "claim_moved", "story": "s", "holder": "n", "lost_by_us": True, "record": None},
    {"type": "record_rejected", "reason": "r", "detail": "d", "record": None},
    {"type": "peer_faulted", "peer": "p", "reason": "r", "detail": "d"},
    {"type": "noticed", "node": "n", "what": "w", "detail": "d"},
    {"type": "roster_moved", "changes": [{"node": "n", "name": "x", "role": "member",
     "before_name": "y", "before_role": "observer", "by": "n"}]},
    {"type": "one that this build does not know", "record": None},
]  # fmt: skip


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event["type"])
@pytest.mark.parametrize("as_json", [False, True], ids=["people", "programs"])
def test_watch_shows_events_and_obeys_none(den, monkeypatch, event, as_json):
    hostile = poisoned(event) | {"type": event["type"]}
    monkeypatch.setattr(Client, "ask", lambda *_: [{"node": "n" + POISON, "name": POISON}])
    monkeypatch.setattr(Client, "stream", lambda *_: iter([hostile]))
    told = run("--home", str(den.home), "watch", *(["--json"] if as_json else []), code=3)
    assert_harmless(told)
    if as_json:
        assert json.loads(told.splitlines()[0]) == hostile
    assert show.event_line(event, {})


def test_a_refusal_of_the_daemon_is_shown_and_not_obeyed(den, monkeypatch):
    from node.client.http_client import RequestRefused  # noqa: PLC0415 - where it is raised

    def refuse(*_):
        raise RequestRefused({"detail": POISON, "title": POISON}, 409)

    monkeypatch.setattr(Client, "ask", refuse)
    told = run("--home", str(den.home), "fire", "s-1", "deps_met", code=4)
    assert_harmless(told)
    assert SHOWN in told


def test_a_file_is_shown_and_not_obeyed(tmp_path):
    """A store holds what members may write: bidi, markup, separators, and rejected bytes."""
    bidi = "\u202e[bold]\u2028<b>"
    store = write(collided(bidi), 0, tmp_path / "0.db")
    for command in (
        ("explain", "s-1"), ("doc",), ("feeds",), ("feed", "den"), ("quarantine",),
        ("record", "den/0#4"), ("verify",),
    ):  # fmt: skip
        done = CliRunner().invoke(app, ("inspect", *command, "--store", str(store)))
        assert done.exit_code in (0, 4), done.output
        assert_harmless(done.output)
    assert "[bold]" in run("inspect", "explain", "s-1", "--store", str(store))


def test_bytes_that_a_peer_sent_are_decoded_and_not_obeyed(siege, tmp_path):
    """What lies in quarantine is the very place to look for the worst."""
    body = f'{{"at":"{START}","kind":"story","n":0,"story":"x","title":"{POISON}"}}'.encode()
    data = as_frame(siege.pen.sign_bytes(body))
    siege.bring(data)
    [row] = siege.quarantined[0]
    assert row.reason == "malformed_record"
    path = tmp_path / "frame"
    path.write_bytes(data)
    for args in ((), ("--json",)):
        done = CliRunner().invoke(app, ("inspect", "update", str(path), *args))
        assert_harmless(done.output)


def test_the_log_is_lines_and_obeys_nothing():
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(log_format.TextFormatter(log_format.FORMAT))
    log = logging.Logger("gangline.test")  # noqa: LOG001 - of its own, so that no other hears it
    log.addHandler(handler)
    log.warning("a node called %s\nforged: line", POISON)
    told = stream.getvalue()
    assert_harmless(told)
    assert told.count("\n") == 1
    assert SHOWN in told
    try:
        raise ValueError(POISON)
    except ValueError:
        log.exception("it failed")
    assert_harmless(stream.getvalue())
    assert "Traceback" in stream.getvalue()


def test_a_record_with_controls_is_never_made(siege):
    """What is escaped at the end is refused at the start too."""
    with pytest.raises(Exception, match="control"):
        sign_record(
            siege.keys[3], siege.found.id, 0, 0,
            Story(at=Instant(START), n=0, story=StoryId("x"), title=POISON),
        )  # fmt: skip
