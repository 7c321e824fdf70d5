"""What the commands of ``members`` print of the daemon's answer."""

from typer.testing import CliRunner

from node.cli.main import app

KEY = "1feb11c0" * 8


def test_admit_prints_the_role_and_what_to_know_of_it(monkeypatch):
    answers = {
        "POST": {"warnings": ["1feb11c0 is back as an observer: …"]},
        "GET": [{"node": KEY, "role": "observer", "name": "b"}],
    }
    monkeypatch.setattr("node.cli.commands.members.ask", lambda method, *_: answers[method])
    told = CliRunner().invoke(app, ["members", "admit", KEY])
    assert told.exit_code == 0
    assert told.stdout == "admitted 1feb11c0 as observer, called b\n"
    assert told.stderr == "gangline: 1feb11c0 is back as an observer: …\n"
