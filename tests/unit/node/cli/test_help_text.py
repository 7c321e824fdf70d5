import ast
import os
import re
import shlex
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer
import typer.core
from typer.testing import CliRunner

from crdt.primitives import limits
from node.api import request_parsing as asked
from node.api import tickets
from node.cli import reference
from node.cli.commands import join, stories
from node.cli.console import Chosen, put_note, seconds
from node.cli.help_text import ending, parts
from node.cli.main import app
from node.network.ticket import Ticket
from node.system.exit_codes import Exit

TOP = Path(__file__).parents[4]
PROJECT = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
ROOT = typer.main.get_command(app)
COMMANDS = dict(reference.commands(ROOT, typer.Context(ROOT, info_name="gangline")))


def run(*args):
    return CliRunner().invoke(app, args, terminal_width=80)


def test_cli_page_is_up_to_date():
    stale = "write it anew with: python -m node.cli.reference > docs/cli.md"
    assert (TOP / "docs" / "cli.md").read_text() == reference.page(), stale


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_summary_example_and_exit_codes(name):
    text = COMMANDS[name]
    first = text.splitlines()[2].strip()
    assert re.match(r"[A-Z].*", first), "a sentence"
    assert re.search(rf"\n  Example:\n    .*gangline( --home \S+)? ?{name[9:]}", text)
    assert re.search(r"\n  Ends with:\n      0  done\n", text)
    assert not re.search(r"--\S+ <", text), "an option says what it takes, not of which type"


def examples():
    """Each command line that an example shows, without what stands before or behind a pipe."""
    for name, text in COMMANDS.items():
        shown = re.search(r"\n  Example:\n((?:    .*\n)+)", text)[1]
        for line in re.split(r"\n|&&|\|(?=(?:[^']*'[^']*')*[^']*$)", shown):
            words = shlex.split(line)
            if "gangline" in words:
                yield pytest.param(
                    words[words.index("gangline") + 1 :], id=f"{name}: {line.strip()}"
                )


@pytest.mark.parametrize("words", [*examples()])
def test_an_example_is_taken_as_it_is_printed(words):
    """Every command, option and value of it is one that there is."""
    words = words[: words.index(">")] if ">" in words else words
    command, context = ROOT, typer.Context(ROOT, info_name="gangline")
    while isinstance(command, typer.core.TyperGroup):
        context = command.make_context(command.name, list(words), parent=context)
        words = [*context._protected_args, *context.args]
        if not words:
            return  # a group that does something by itself
        name, command, words = command.resolve_command(context, words)
    command.make_context(name, list(words), parent=context)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_fits_a_terminal_and_cuts_nothing_off(name):
    told = run(*name.split()[1:], "--help")
    assert told.exit_code == 0
    lines = told.output.splitlines()
    assert max(map(len, lines)) <= 85, "an example may be a little longer than a line"
    assert not any(line.endswith("...") for line in lines[1:])


def test_the_list_of_commands_cuts_nothing_off():
    for group in ((), ("inspect",), ("machine",), ("members",)):
        assert "..." not in run(*group, "--help").output.replace("[ARGS]...", "")


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("nonesuch",), "No such command 'nonesuch'"),
        (("inspect", "nonesuch"), "No such command"),
        (("fire",), "Missing argument 'ID'"),
        (("fire", "s-1"), "Missing argument"),
        (("fire", "s-1", "block", "--set", "reason"), "write field=value"),
        (("fire", "s-1", "block", "--wait-for", "x"), "--wait-for"),
        (("fire", "s-1", "block", "--wait-for", "-1"), "--wait-for"),
        (("fire", "s-1", "block", "--timeout", "2m"), "--timeout 2m: from 0s to 60s"),
        (("claim", "s-1", "--for", "soon"), "such as 30m"),
        (("claim", "s-1", "--for", "3h"), "--for 3h: from 1s to 1h"),
        (("claim", "s-1", "--for", "0"), "--for 0: from 1s to 1h"),
        (("claim", "s-1", "--for", "\u0663m"), "such as 30m"),
        (("invite", "--expires", "31d"), "--expires 31d: from 1s to 30d"),
        (("invite", "--uses", "1001"), "1<=x<=1000"),
        (("exec", "s-1", "--", "true"), "Missing option '--agent'"),
        (("exec", "s-1", "--agent", "a"), "give the command to run"),
        (("stories", "--stage", "nope"), "there are: backlog, coding"),
        (("invite", "--role", "boss"), "no role is called boss; there are: admin"),
        (("members", "promote", "b", "--role", "boss"), "no role is called boss"),
        (("edit", "s-1"), "nothing to change"),
        (("edit", "s-1", "--label", "a", "--no-labels"), "not both"),
        (("machine", "table", "nope"), "there are: pipeline, execution"),
        (("status", "--nonesuch"), "No such option"),
    ],
)
def test_wrong_usage_is_a_sentence_and_ends_with_2(args, told):
    answer = run(*args)
    assert answer.exit_code == Exit.USAGE
    assert told in answer.output


def test_no_daemon_and_no_store_are_sentences(tmp_path):
    answer = run("--home", str(tmp_path / "none"), "status")
    again = f"start it with: gangline --home {tmp_path / 'none'} run"
    assert (answer.exit_code, again in answer.output) == (Exit.NO_DAEMON, True)
    answer = run("inspect", "feeds", "--store", str(tmp_path / "none"))
    assert (answer.exit_code, "no store at" in answer.output) == (Exit.ENVIRONMENT, True)
    answer = run("inspect", "update", str(tmp_path / "none"))
    assert (answer.exit_code, "cannot read" in answer.output) == (Exit.ENVIRONMENT, True)


def test_it_says_its_version():
    assert run("--version").output == f"gangline {PROJECT['version']}\n"


@pytest.mark.parametrize(
    ("args", "body"),
    [
        (("--no-labels",), {"labels": []}),
        (("--no-depends-on",), {"depends_on": []}),
        (("--title", ""), {"title": ""}),
        (("--label", "a", "--label", "b", "--depends-on", "s-2"),
         {"labels": ["a", "b"], "depends_on": ["s-2"]}),
    ],
)  # fmt: skip
def test_edit_changes_what_is_named_and_nothing_else(monkeypatch, args, body):
    asked = []

    def ask(*told):
        asked.append(told)
        written = {"author": "ab" * 32, "name": "den", "incarnation": 0, "clock": 7}
        return written | {"warnings": [], "holders": 0}

    monkeypatch.setattr("node.cli.commands.stories.ask", ask)
    assert run("edit", "s-1", *args).output == "edited s-1 (den/0#7)\n"
    fields = dict.fromkeys(("title", "description", "depends_on", "labels")) | body
    assert asked == [("PATCH", "/stories/s-1", fields)]


def test_init_says_which_name_it_took(tmp_path, monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "kennel-7")
    told = run("--home", str(tmp_path / "den"), "init").output
    assert re.search(r"^this node is kennel-7 [0-9a-f]{64}$", told, re.MULTILINE)


STORY_COMMANDS = (
    ("story",), ("add",), ("edit",), ("claim",), ("release",), ("watch",), ("fire", "deps_met"),
    ("exec", "--agent", "a", "--", "true"), ("inspect", "explain"), ("inspect", "history"),
)  # fmt: skip


@pytest.mark.parametrize("story", ["", "a/b", "..", "a b", "s" * 129])
@pytest.mark.parametrize("command", STORY_COMMANDS, ids=" ".join)
def test_what_is_no_story_id_is_told_without_a_daemon(tmp_path, command, story):
    words = 2 if command[0] == "inspect" else 1
    home = ("--home", str(tmp_path / "none"))
    answer = run(*home, *command[:words], story, *command[words:])
    assert answer.exit_code == Exit.MALFORMED
    assert "a story: 1 to 128 of A-Z" in answer.output


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("command", [("machine", "table", "pipeline"), ("--help",)])
def test_output_error_is_one_sentence(command):
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "node.cli", *command],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60,
        )  # fmt: skip
    assert done.returncode == Exit.ENVIRONMENT
    assert re.fullmatch("gangline: cannot write the answer: .*\n", done.stderr)


@pytest.mark.parametrize(
    "command",
    [
        ("machine", "table", "pipeline"), ("machine", "diagram", "pipeline"), ("--help",),
        ("machine", "replay", "pipeline", str(TOP / "examples" / "happy_path.jsonl")),
    ],
)  # fmt: skip
def test_closed_pipe_ends_quietly_like_sigpipe(command):
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "node.cli", *command],
            stdout=writer, stderr=subprocess.PIPE, text=True, check=False, timeout=60,
        )  # fmt: skip
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")
    assert done.returncode == Exit.UNREAD


def test_the_parts_of_a_docstring():
    text, example, codes = parts(
        """Do it.

        At once.

        Example: gangline do
          gangline do --again
        Exits: 3 1
        """
    )
    assert text == "Do it.\n\nAt once."
    assert example == ["gangline do", "gangline do --again"]
    assert codes == [Exit.NO_DAEMON, Exit.ENVIRONMENT]
    assert [line.split()[0] for line in ending(codes)] == ["0", "1", "2", "3"]
    assert parts("Do it.") == ("Do it.", [], [])
    assert ending([]) == []


def test_every_command_is_reached():
    assert {"gangline fire", "gangline members", "gangline members admit"} <= COMMANDS.keys()
    assert len([name for name in COMMANDS if name.startswith("gangline inspect ")]) >= 11


def test_ranges_of_options_match_the_limits():
    def lasts(text):
        return seconds("--option", text, "0s", "999d")

    assert lasts(stories.CLAIM_MAX) * 1000 == limits.CLAIM_MS_MAX
    assert lasts(stories.WAIT_MAX) == asked.WAIT_SECONDS_MAX
    assert (lasts(join.TICKET_MAX), join.USES_MAX) == (tickets.SECONDS_MAX, tickets.USES_MAX)


@pytest.mark.parametrize("name", ["add", "edit", "fire", "claim", "release"])
def test_commands_that_write_take_wait_for(name):
    assert "--wait-for N " in COMMANDS[f"gangline {name}"]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("x; start it with: gangline run", "x; start it with: gangline --home {home} run"),
        ("look (gangline status: unshared)", "look (gangline --home {home} status: unshared)"),
        (
            "first: gangline stop, then: gangline run",
            "first: gangline --home {home} stop, then: gangline --home {home} run",
        ),
        ("an admin may run gangline members admit", "an admin may run gangline members admit"),
        ("gangline: x", "gangline: x"),
    ],
)
def test_hinted_command_names_the_chosen_home(monkeypatch, tmp_path, capsys, said, told):
    home = f"'{tmp_path}/a home'"
    monkeypatch.setattr(Chosen, "command", f"gangline --home {home}")
    put_note(said)
    assert capsys.readouterr().err == f"gangline: {told.format(home=home)}\n"


HERE = Path(__file__).parents[4]
OFFERED = re.compile(r"(?:: |\(|\bby |\brunning |\brun |\band |\bthen )gangline ([a-z][^;:,.()]*)")


def offered():
    """Every command that a sentence of the program names, with what stands behind it."""
    for path in [*HERE.glob("node/**/*.py"), *HERE.glob("crdt/**/*.py")]:
        for one in ast.walk(ast.parse(path.read_text())):
            said = ""
            if isinstance(one, ast.Constant) and isinstance(one.value, str):
                said = one.value
            elif isinstance(one, ast.JoinedStr):
                said = "".join(str(getattr(part, "value", " X")) for part in map(plain, one.values))
            if "Example:" in said:  # a docstring, whose command lines have a test of their own
                continue
            for found in OFFERED.findall(said):
                yield pytest.param(found.split(), id=f"{path.name}: {found.strip()}")


def plain(part):
    return part if isinstance(part, ast.Constant) else ast.Constant(" X")


@pytest.mark.parametrize("words", [*offered()])
def test_hinted_command_and_its_options_exist(words):
    command = ROOT
    while isinstance(command, typer.core.TyperGroup) and words and words[0] in command.commands:
        command = command.commands[words.pop(0)]
    assert command is not ROOT, "there is no such command"
    known = {"--help", *(name for param in command.params for name in param.opts)}
    assert {word for word in words if word.startswith("--")} <= known


def test_the_sentences_that_offer_a_command_are_found():
    found = {param.id for param in offered()}
    assert len(found) > 30
    assert any("restore FILE --force" in one for one in found)
    assert any("members admit" in one for one in found)


def test_agent_name_is_checked_without_a_daemon(tmp_path):
    told = run("--home", str(tmp_path), "exec", "s-1", "--agent", "a b", "--", "true")
    assert told.exit_code == Exit.MALFORMED, "no daemon was looked for"
    assert told.output.startswith("gangline: --agent: 1 to 128 of")


def test_join_without_ticket_explains_how_to_pass_one(tmp_path):
    empty = tmp_path / "empty"
    empty.write_text("\n")
    for args in ((), ("--ticket-file", str(empty))):
        told = run("--home", str(tmp_path / "den"), "join", *args)
        assert told.exit_code == Exit.MALFORMED
        assert "no ticket was given; pipe" in told.output
        assert "--ticket-file" in told.output


@pytest.mark.parametrize("args", [(), ("--ticket-file",), ("--listen",)])
def test_a_ticket_in_the_wrong_place_is_not_shown(tmp_path, args):
    ticket = Ticket("den.example:1", bytes(32), bytes(32), bytes(16), 2**50).text()
    told = run("--home", str(tmp_path / "den"), "join", *args, ticket)
    assert told.exit_code in {Exit.USAGE, Exit.ENVIRONMENT, Exit.MALFORMED}
    assert ticket[20:40] not in told.output
    assert "--ticket-file" in told.output or "a ticket, not shown" in told.output
