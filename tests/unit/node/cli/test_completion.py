"""What Tab offers: commands and options, what the daemon knows, and nothing that is evaluated."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from node.cli.main import app
from node.client.http_client import Client
from node.system.errors import NoDaemon

HOSTILE = ("\\$(touch /tmp/x)", "a b", "$HOME", "`id`", "x'y", "\x1b[31m", "", "-rf")
ANSWERS = {
    "/stories": [{"id": "s-1"}, {"id": "s-2"}],
    "/stories/s-1": {"stage": {"stage": "qa"}},
    "/members": [
        {"node": "1feb11c0" * 8, "name": "den"},
        *({"node": "2bad22c0" * 8, "name": name} for name in HOSTILE),
    ],
}


@pytest.fixture
def daemon(monkeypatch):
    monkeypatch.setattr(Client, "ask", lambda _self, _method, path: ANSWERS[path])


def offered(words, shell="bash"):
    """What is offered for the last word of a line."""
    line = f"gangline {words}"
    answer = CliRunner().invoke(
        app,
        prog_name="gangline",
        env={
            "_GANGLINE_COMPLETE": f"complete_{shell}",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(line.split(" ")) - 1),
            "_TYPER_COMPLETE_ARGS": line,
            "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        },
    )
    assert answer.exit_code == 0, answer.output
    return answer.output.split()


def test_commands_and_options_are_offered():
    assert offered("fi") == ["fire"]
    assert {"doc", "verify"} <= set(offered("inspect "))
    assert "--wait-for" in offered("add s-1 --")


def test_what_the_daemon_knows_is_offered(daemon):
    for command in (
        "story ",
        "fire ",
        "watch ",
        "exec ",
        "add s-3 --depends-on ",
    ):
        assert offered(command) == ["s-1", "s-2"], command
    assert "gates_passed" in offered("fire s-1 ")
    assert "deps_met" not in offered("fire s-1 "), "that is not legal in qa"


@pytest.mark.parametrize("home", ["--home den ", "--home ~/den ", "--home=den ", "--home /x/den "])
def test_the_node_that_the_line_names_is_asked(monkeypatch, home):
    asked = []
    monkeypatch.setattr(Client, "ask", lambda self, *_: asked.append(self._path) or [{"id": "s-1"}])
    assert offered(f"{home}story ") == ["s-1"]
    [socket] = asked
    assert socket.parts[-3:] == ("den", "run", "api.sock")
    assert socket.is_absolute()
    assert "~" not in socket.parts


def test_without_a_daemon_what_is_always_so_is_offered(monkeypatch):
    def ask(*_args):
        raise NoDaemon("socket")

    monkeypatch.setattr(Client, "ask", ask)
    assert offered("story ") == []
    assert {"deps_met", "gates_passed"} <= set(offered("fire s-1 "))
    assert offered("stories --stage q") == ["qa"]
    assert offered("machine table ") == ["pipeline", "execution"]
    assert offered("invite --role ") == ["admin", "member", "observer"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_offers_plain_words_only(daemon, shell):
    told = " ".join(offered("members rename ", shell))
    assert "den" in told
    assert not [name for name in HOSTILE if name and name in told.replace("_arguments '", "")]


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
def test_bash_takes_the_script():
    command = Path(sys.executable).parent / "gangline"
    play = f"""
        PATH="{command.parent}:$PATH"
        eval "$(gangline --show-completion bash)"
        COMP_WORDS=(gangline machine table pi) COMP_CWORD=3
        _gangline_completion gangline
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        ["bash", "-c", play], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.stdout, done.stderr) == ("pipeline\n", "")
