"""What others rely on, held to ``tests/pinned``: what is on disk, on the wire, in JSON, in the log.

Each file there is computed here from the code. No name of a class stands in one, so that a class
may be renamed; whatever else changes breaks a host, a script or a peer of the release before. What
is added on purpose is written by ``python -m tests.test_pinned NAME``.
"""

import ast
import asyncio
import contextlib
import difflib
import hashlib
import io
import itertools
import json
import logging
import os
import shutil
import sys
import tempfile
import typing
from pathlib import Path
from types import SimpleNamespace

import apsw
import pytest
import typer
from litestar.routes import HTTPRoute
from typer.testing import CliRunner

from crdt.authoring import roster_requests
from crdt.contract import ready
from crdt.ledger.feed import EntryStatus
from crdt.presence import signed_presence
from crdt.primitives import errors, identity
from crdt.primitives.identity import ClusterId, RecordId, RecordRef
from crdt.records import bodies, evidence_file
from crdt.sync.seal_audit import SourceState
from crdt.wire import handshake_transcript, messages
from crdt.wire.roster_request import Answer, RosterRequest, request_bytes
from machines import execution, pipeline
from machines.values import NodePubkey
from node.api import app as local_api
from node.api import version
from node.cli.commands import roster_file
from node.cli.main import app
from node.config import key_file, settings
from node.network import disconnect_reasons, handshake, link
from node.network.ticket import PREFIX, read_ticket
from node.provisioning import backup, board_transfer, init_join
from node.reporting import rows as types
from node.runtime import event_bus, leave_rotate, operator_notices
from node.storage import recovery
from node.storage.meta_keys import MetaKey
from node.storage.store import Store
from node.system import log_format
from node.system.exit_codes import Exit
from node.system.home import Home
from tests.support.builders.cluster import START, Found, key
from tests.support.builders.record_author import RecordAuthor
from tests.support.builders.service import api
from tests.support.builders.tables import load
from tests.support.tools import freeze
from tests.support.tools.shapes import flat, shape, shape_of

ROOT = Path(__file__).parents[1]
PINNED = ROOT / "tests" / "pinned"
NAMES = {
    "<stage>": flat(pipeline.Stage),
    "<event>": flat(pipeline.PipelineEvent),
    "<execution>": flat(execution.ExecutionState),
    "<execution event>": flat(execution.ExecutionEvent),
    "<record>": flat(RecordRef),
    "<reason>": flat(errors.Reason),
}
"""Shapes that stand in many others; ``words`` and ``records`` write each out once."""
NODE, OTHER = NodePubkey(b"\x11" * 32), NodePubkey(b"\x22" * 32)
NONCE, HASHED, SIGNED = b"\x33" * 32, b"\x44" * 32, b"\x55" * 64


def shaped(title, kind):
    yield f"# {title}"
    yield from shape(kind, NAMES)
    yield ""


# --- on disk -------------------------------------------------------------------------------------


def store(folder):
    """The tables of a new store."""
    path = folder / "store.db"
    with Store(path):
        pass
    with contextlib.closing(apsw.Connection(str(path))) as database:
        for name in ("application_id", "user_version", "journal_mode", "auto_vacuum"):
            yield f"{name} {database.pragma(name)}"
        for (sql,) in database.execute(
            "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY type, name"
        ):
            yield " ".join(sql.split())


def meta(folder):
    """Every name that a node writes into ``meta``, and what stands under it."""
    home, saved = Home(folder / "den"), folder / "den.gangline"
    own, cluster = init_join.found(home, "den", "")
    backup.backup(home, saved, with_key=True)
    successor = key_file.generate(home.next_key).pubkey
    roster = SimpleNamespace(belongs=lambda node: node == successor)
    replica = SimpleNamespace(own=own, ledger=SimpleNamespace(roster=roster))
    full = ready.Persist(incarnation=7, doubt="a sentence", own_end=ready.OwnEnd(own, 7, 9))
    with Store(home.store) as opened:
        opened.commit(full, [], START.ms)
        assert leave_rotate.settle(home, opened, replica)
        opened.probe()
    damaged = folder / "damaged.db"
    damaged.write_bytes(b"nothing")
    recovery.rebuild(damaged, cluster, own)
    found = {}
    for path in (home.store, saved, damaged):
        with Store(path, readonly=True) as opened:
            rows = opened._db.execute("SELECT name, value FROM meta")
            found |= {name: stored(value) for name, value in rows}
    note = (leave_rotate.ASKED, leave_rotate.GONE)
    found[MetaKey.LEFT] = " or ".join(word.decode() for word in note)
    yield from (f"{name}: {found[name]}" for name in sorted(found))


def stored(value):
    text = value.decode("ascii", "replace")
    if not (text.isascii() and text.isprintable()) or " " not in text:
        return f"{len(value)} bytes"
    return " ".join(shape_of(json.loads(text))) if text.startswith("{") else "a sentence"


def home(folder):
    """The names of what lies in a home, with their modes, and what small files hold."""
    den = Home(folder / "den")
    init_join.found(den, "den", "")
    key_file.replace(den.key)
    with Store(den.store):
        for path in sorted(den.path.rglob("*")):
            yield f"{path.stat().st_mode & 0o777:03o} {masked(path.relative_to(den.path))}"
        head, number, token, writes = Path(f"{den.store}.witness").read_text().splitlines()
        assert number.isdigit()
        sizes = f"host of {len(head)}, inode, token of {len(token)}, writes of {len(writes)}"
        yield f"store.db.witness, a line each: {sizes}"
    den.store.write_bytes(b"nothing")
    recovery.rebuild(den.store, ClusterId(bytes(32)), NODE)
    [damaged] = den.path.glob("store.db.damaged*")
    yield f"a damaged store: {masked(damaged.name)}"
    header, seed = den.key.read_text().splitlines()
    yield f"key file: {header}, {len(seed)} hex digits"
    for what in (den.next_key, den.config, den.socket):
        yield f"named {what.relative_to(den.path)}"
    deep = Home(folder / ("d" * 90) / "den")
    deep.make()
    deep.record_socket()
    assert (deep.run / "socket").read_text() == f"{deep.path}\n{deep.socket}\n"
    hashed = hashlib.blake2b(os.fsencode(deep.path), digest_size=8).hexdigest()
    assert deep.socket.parent == Path(os.environ["XDG_RUNTIME_DIR"]) / hashed
    yield f"or named in run/socket: XDG_RUNTIME_DIR/HASH/{deep.socket.name}"


def masked(name):
    """A name without what is drawn, or goes by the time."""
    text = str(name)
    if text.startswith("node.key.") and text != "node.key.next":
        return "node.key.KEY"
    return text.partition("-2")[0] + ("-TIME" if "-2" in text else "")


def files(_folder):
    """The files that people carry about."""
    yield from shaped("config.toml", settings.Config)
    yield from shaped("a backup's label", backup.BackupLabel)
    yield from shaped("an evidence file", evidence_file.EvidenceFile)
    yield from shaped("export, the first line", board_transfer.Head)
    yield from shaped("export, each other line", board_transfer.ExportedStory)
    yield from shaped("a list of members", roster_file.Hosts)
    yield f"a ticket begins with {PREFIX}"
    yield from shaped("a ticket, in MessagePack", typing.get_type_hints(read_ticket)["return"])


# --- on the wire ---------------------------------------------------------------------------------

MESSAGES = {
    "sync step 1": messages.SyncStep1({5: 7}),
    "sync step 2": messages.SyncStep2(b"\xaa\xbb"),
    "sync update": messages.Update(b"\xaa\xbb"),
    "awareness": messages.Awareness((messages.AwarenessEntry(5, 7, "{}"),)),
    "query awareness": messages.QueryAwareness(),
    "document digest": messages.DigestOffer(HASHED),
    "feed digests": messages.FeedDigests((messages.FeedDigest(NODE, 3, HASHED, 7),), True),
    "feed digests, no fork, more to come": messages.FeedDigests(
        (messages.FeedDigest(NODE, 3, HASHED, None),), False
    ),
    "range digests": messages.RangeDigests(NODE, 3, (messages.RangeDigest(7, 9, 2, HASHED),)),
    "records wanted": messages.RecordsWanted(NODE, 3, ((7, 9),)),
    "records": messages.Records(NODE, 3, ((7, SIGNED + b"{}"),)),
    "proof of a fork": messages.Proof(NODE, 3, 7, ((SIGNED, HASHED), (SIGNED, HASHED))),
    "on disk below": messages.HaveUpTo(NODE, 3, 7),
    "asks to leave": RosterRequest(NODE, None, 300, NONCE, ((3, 7),), (SIGNED,)),
    "asks for a new key": RosterRequest(NODE, OTHER, 300, NONCE, ((3, 7),), (SIGNED, SIGNED)),
    "answer": Answer(NONCE, "done"),
}
CLUSTER = ClusterId(b"\x66" * 32)


def wire(_folder):
    """Every message as bytes, ``aa*8`` being eight of one; what is signed; what is JSON."""
    assert {type(one) for one in MESSAGES.values()} == set(typing.get_args(messages.Frame))
    for name, message in MESSAGES.items():
        yield f"{name}: {run_lengths(messages.encode_frame(message))}"
        assert messages.decode_frame(messages.encode_frame(message)) == message
    own = handshake_transcript.PROTOCOL_VERSION
    said = handshake_transcript.hello_bytes(
        own, CLUSTER, handshake_transcript.DIALLED, NODE, OTHER, NONCE, HASHED, HASHED
    )
    yield f"signed hello: {run_lengths(said)}"
    asked = request_bytes(CLUSTER, OTHER, MESSAGES["asks to leave"])
    yield f"signed petition: {run_lengths(asked)}"
    told = signed_presence.presence_bytes(CLUSTER, NODE, 7, "{}")
    yield f"signed presence: {run_lengths(told)}"
    yield ""
    yield from shaped("hello", handshake.Message)
    entry = signed_presence.sign_presence(key(2), CLUSTER, 7, signed_presence.PresenceState(START))
    yield from shape_of(json.loads(entry.state), "an awareness state: ")
    yield from shaped("what it states", signed_presence.PresenceState)
    yield f"websocket closed in order {link.CLOSES_IN_ORDER}, for cause {link.CLOSE_POLICY}"
    yield from (f"websocket closed with {int(code)}: {word}" for code, word in link.CODES.items())


def run_lengths(data):
    told = []
    for byte, run in itertools.groupby(data):
        many = len([*run])
        told += [f"{byte:02x}*{many}"] if many > 3 else [f"{byte:02x}"] * many
    return " ".join(told)


def records(_folder):
    """Every kind of record, and the parts that stand in many."""
    yield from shaped("record", bodies.Known)
    for title, kind in (
        ("stage", pipeline.Stage),
        ("event", pipeline.PipelineEvent),
        ("execution", execution.ExecutionState),
        ("execution event", execution.ExecutionEvent),
        ("record: author, incarnation, clock, id", RecordRef),
    ):
        yield f"# <{title}>"
        yield from shape(kind)
        yield ""


def words(_folder):
    """The words that stand for one thing each, wherever they are shown or sent."""
    yield from listed("reasons", errors.Reason)
    yield from listed("why a link ended or never was", disconnect_reasons.SENTENCES)
    yield from listed("answers to leave and rotate", roster_requests.RequestOutcome)
    yield from listed("verdicts, as inspect shows them", (one.name.lower() for one in EntryStatus))
    yield from listed("where what is missing may be", SourceState)
    yield from listed("roles", bodies.Role)
    yield from listed("noticed", ready.NoticeKind)


def listed(title, found):
    yield f"# {title}"
    yield from sorted(map(str, found))
    yield ""


# --- in JSON -------------------------------------------------------------------------------------


def observations(_folder):
    """What the stream of changes sends, and ``history`` keeps."""
    yield from shaped("event", event_bus.Event)


def local_routes(folder):
    """Every route of the local API: how it is asked, and what it answers."""

    async def served():
        async with api(folder) as (client, desk):
            return (await client.get("/openapi.json")).json(), local_api.build(desk)

    described, built = asyncio.run(served())
    handlers = {
        (route.path_format, method): handler
        for route in built.routes
        if isinstance(route, HTTPRoute)
        for method, (handler, _) in route.route_handler_map.items()
    }
    first = {}
    for path, methods in sorted(described["paths"].items()):
        for method, route in sorted(methods.items()):
            yield from routed(
                f"{method.upper()} {path}", route, handlers[path, method.upper()], first
            )
    yield ""
    yield from shaped("a refusal", types.Problem)
    yield f"every answer names {', '.join(name for name, _ in version.headers())}"
    yield f"and speaks version {version.API}"


def routed(name, route, handler, first):
    yield f"# {name}"
    for one in route.get("parameters", ()):
        default = one["schema"].get("default")
        told = "" if default is None else f" = {json.dumps(default)}"
        yield f"{one['in']} {one['name']}: {one['schema'].get('type', 'string or none')}{told}"
    if handler.parsed_data_field is not None:
        yield from shape(handler.parsed_data_field.annotation, NAMES, "asked: ")
    for code, answer in route["responses"].items():
        for media in answer.get("content", {"nothing": None}) if code < "400" else ():
            yield f"answer {code}: {media}"
    answered = handler.parsed_return_field.annotation
    if answered is not type(None):
        with contextlib.suppress(TypeError):  # a stream, or bytes
            told = tuple(shape(answered, NAMES))
            yield from told if first.setdefault(told, name) == name else [f"as {first[told]}"]


def command_line(_folder):
    """Every command, its options, how many arguments it takes; and how commands end."""
    root = typer.main.get_command(app)
    yield from commands(root, "gangline")
    yield ""
    yield f"ends with {' '.join(str(code.value) for code in Exit)}"


def commands(command, path):
    told = [path]
    for one in command.params:
        if one.param_type_name == "argument":
            told.append("ARG" if one.required else "[ARG]")
        else:
            choices = getattr(one.type, "choices", ())
            told.append("/".join(one.opts) + (f"={'|'.join(choices)}" if choices else ""))
            told += [f"(also {one.envvar})"] if one.envvar else []
    yield " ".join(told)
    for name in sorted(getattr(command, "commands", {})):
        yield from commands(command.commands[name], f"{path} {name}")


def command_json(folder):
    """What commands print with ``--json`` that is no answer of the local API."""
    den = Home(folder / "den")
    init_join.found(den, "den", "")
    forked = forked_store(folder)
    file, proof = folder / "den.gangline", folder / "proof"
    lines = folder / "events"
    lines.write_text('{"event": "deps_met"}\n{"event": "accepted"}\n')
    update = folder / "update"
    update.write_text(load("yjs_updates.json")[2]["update"])
    for command in (
        f"inspect doc --store {forked}",
        f"inspect feed bad --store {forked}",
        f"inspect record den/0#0 --store {forked}",
        f"inspect evidence --store {forked}",
        f"inspect evidence bad --store {forked} --out {proof}",
        f"inspect proof {proof}",
        f"inspect verify --store {forked}",
        f"inspect diff {forked} {frozen(folder)}",
        f"inspect update {update}",
        f"--home {den.path} backup {file} --with-key",
        f"--home {folder / 'other'} restore {file}",
        "machine table pipeline",
        "machine legal pipeline",
        f"machine replay pipeline {lines}",
    ):
        done = CliRunner().invoke(app, [*command.split(), "--json"])
        name = command.replace(str(folder), "")
        assert done.stdout, f"{name}: {done.output}"
        decoder, text, told = json.JSONDecoder(), done.stdout.strip(), []
        while text:
            value, end = decoder.raw_decode(text)
            told.append(value)
            text = text[end:].strip()
        yield f"# {name} → {done.exit_code}"
        yield from shape_of(without_bodies(told[0] if len(told) == 1 else told))


def without_bodies(value):
    """What a record says is pinned with the kinds."""
    if isinstance(value, list):
        return [without_bodies(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {k: {} if k in ("body", "bodies") else without_bodies(v) for k, v in value.items()}


def frozen(folder):
    return shutil.copyfile(ROOT / "tests" / "stores" / "version-7.db", folder / "frozen.db")


def forked_store(folder):
    """A member forked, something was turned away, and something happened."""
    found = Found()
    founder, bad = (
        RecordAuthor(found.founder, found.id, START.ms, clock=1),
        RecordAuthor(key(2), found.id, START.ms),
    )
    rows = [
        found.record,
        founder.member(key(2).pubkey, bodies.Role.MEMBER, "bad"),
        founder.story("s-1", title="First"),
        founder.transition("s-1", pipeline.DepsMet(), None),
        bad.story("s-1", title="one", clock=0),
    ]
    other = bad.story("s-1", title="other", clock=0)
    sides = tuple((bytes(one.value[:64]), identity.H(one.value[64:])) for one in (rows[-1], other))
    persist = ready.Persist(proofs=[ready.ProofRow(key(2).pubkey, 0, 0, sides)])
    for record in rows:
        persist.rows[record.ref] = ready.Row(*record.ref, record.value)
    path = folder / "forked.db"
    with Store(path) as opened:
        happened = ready.ForkProven(key(2).pubkey, 0, 0)
        opened.commit(persist, [freeze.TURNED], START.ms, [happened])
    return path


# --- in the log, and around ----------------------------------------------------------------------


def log(_folder):
    """Who logs, and what each object of the JSON log holds."""
    named = {one.args[0].value for one in calls("getLogger") if one.args}
    yield from listed("loggers", (name for name in named if name.startswith("gangline")))
    entry = json.loads(
        log_format.JsonFormatter().format(logging.makeLogRecord({"exc_info": raised()}))
    )
    yield from listed("an entry", entry)
    change = ready.RosterChange(NODE, "b", "member", "a", "observer", OTHER)
    record = RecordRef(NODE, 3, 7, RecordId(HASHED))
    yield "# what happened"
    for event in (
        ready.RecordRejected(record, errors.Reason.NOT_ALLOWED, "detail", NODE),
        ready.PeerFaulted(NODE, errors.Reason.TOO_LARGE, "detail"),
        ready.ForkProven(NODE, 3, 7),
        ready.RosterMoved((change,)),
        ready.IncarnationOpened(3, "why"),
        ready.Noticed("clock", "detail"),
        ready.Noticed("flood", "detail", NODE),
    ):
        yield f"{type(event).__struct_config__.tag}: {logged(event)}"
    yield from ("", "# fields that are named where an entry is written")
    named = ([word.arg for word in one.keywords if word.arg] for one in calls("fields"))
    yield from sorted({" ".join(sorted(one)) for one in named if one})
    yield ""
    what = (word.value for one in calls() for word in one.keywords if word.arg == "what")
    yield from listed("what", {one.value for one in what if isinstance(one, ast.Constant)})


def raised():
    try:
        raise ValueError
    except ValueError:
        return sys.exc_info()


def logged(event):
    """The fields of an event's entry; ``what`` with its word."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(log_format.JsonFormatter())
    logger = logging.getLogger("gangline")
    logger.addHandler(handler)
    before = logger.level
    logger.setLevel(logging.DEBUG)
    try:
        operator_notices.Notices().on_event(event)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
    entry = json.loads(stream.getvalue())
    told = {name: f"={entry[name]}" if name == "what" else "" for name in list(entry)[4:]}
    return f"{entry['level']} " + " ".join(name + value for name, value in sorted(told.items()))


def surroundings(folder):
    """The environment variables that are read, by us or by a library for the default home."""
    read = (one for one in calls("get", "getenv") if "environ" in ast.unparse(one.func))
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("GANGLINE_HOME", raising=False)
        patch.setenv("XDG_DATA_HOME", str(folder))
        by_library = {"XDG_DATA_HOME"} if Home.chosen(None).path == folder / "gangline" else set()
    yield from sorted({one.args[0].value for one in read} | by_library)


def calls(*names):
    """Where the code calls a function of one of these names, or any."""
    for package in ("crdt", "node"):
        for path in sorted((ROOT / package).rglob("*.py")):
            for one in ast.walk(ast.parse(path.read_text())):
                if isinstance(one, ast.Call):
                    called = getattr(one.func, "id", getattr(one.func, "attr", ""))
                    if not names or called in names:
                        yield one


KINDS = {
    "store": store, "meta": meta, "home": home, "files": files, "wire": wire, "records": records,
    "words": words, "observations": observations, "api": local_routes, "cli": command_line,
    "cli_json": command_json, "log": log, "environment": surroundings,
}  # fmt: skip


def computed(name, folder):
    return "".join(f"{line}\n" for line in KINDS[name](folder))


@pytest.mark.parametrize("name", KINDS)
def test_what_others_rely_on_stays(name, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    told, pinned = computed(name, tmp_path), (PINNED / f"{name}.txt").read_text()
    lines = map(str.splitlines, (pinned, told))
    difference = difflib.unified_diff(*lines, f"pinned/{name}.txt", "the code", lineterm="")
    assert told == pinned, "\n" + "\n".join(difference)


def test_every_pinned_file_is_computed():
    assert {path.name for path in PINNED.iterdir()} == {f"{name}.txt" for name in KINDS}


if __name__ == "__main__":
    for asked in sys.argv[1:]:
        with tempfile.TemporaryDirectory() as made:
            os.environ["XDG_RUNTIME_DIR"] = f"{made}/run"
            (PINNED / f"{asked}.txt").write_text(computed(asked, Path(made)))
