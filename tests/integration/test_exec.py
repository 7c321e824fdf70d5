"""``gangline exec`` with real processes."""

import signal
import subprocess
import sys
import threading
import time

import pytest

from tests.support.harness.daemons import GANGLINE, Fleet, agree, eventually

pytestmark = pytest.mark.timeout(200)


@pytest.fixture
def den(tmp_path):
    with Fleet(tmp_path) as fleet:
        node = fleet.found()
        node.gangline("add", "s-1")
        yield node


def start(node, code, **options):
    return subprocess.Popen(
        [GANGLINE, "--home", str(node.home), "exec", "s-1", "--agent", "coder-1", "--",
         sys.executable, "-u", "-c", code],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options,
    )  # fmt: skip


def state(node):
    views = node.json("story", "s-1")["executions"]
    return views[0]["state"] if views else {"state": "idle"}


def test_output_and_exit_code_pass_through_and_are_recorded(den):
    agent = start(den, "import sys; print('out'); print('err', file=sys.stderr); sys.exit(7)")
    out, err = agent.communicate(timeout=60)
    assert (agent.returncode, out, err) == (7, b"out\n", b"err\n")
    assert (state(den)["state"], state(den)["exit_code"]) == ("completed", 7)
    again = start(den, "print('again')")
    assert again.communicate(timeout=60)[0] == b"again\n"
    assert state(den)["exit_code"] == 0


def test_a_signal_reaches_the_agent_and_its_end_is_recorded(den):
    agent = start(den, "import time\nprint('up')\ntime.sleep(600)")
    assert agent.stdout.readline() == b"up\n"
    eventually(lambda: state(den)["state"] == "running", "it runs")
    agent.send_signal(signal.SIGTERM)
    agent.communicate(timeout=60)
    assert agent.returncode == 128 + signal.SIGTERM
    assert state(den)["exit_code"] == 128 + signal.SIGTERM


def test_rate_limits_by_exit_code_and_by_output(den):
    config = den.home / "config.toml"
    config.write_text(
        config.read_text()
        + "\n[[rate_limits]]\nresume_after = 60\nexit_code = 75\n"
        + "\n[[rate_limits]]\nresume_after = 60\npattern = 'try again later'\n"
    )
    agent = start(den, "import sys; sys.exit(75)")
    agent.communicate(timeout=60)
    assert agent.returncode == 75
    assert state(den)["state"] == "rate_limited"
    agent = start(den, "import sys; print('please try again later'); sys.exit(1)")
    assert agent.communicate(timeout=60)[0] == b"please try again later\n"
    assert state(den)["state"] == "rate_limited"


def test_an_agent_whose_output_nobody_reads_any_longer_is_not_held_up(den):
    config = den.home / "config.toml"
    limits = "\n[[rate_limits]]\nresume_after = 60\npattern = 'try again later'\n"
    for watched in ("", limits):
        config.write_text(config.read_text() + watched)
        agent = subprocess.Popen(
            [GANGLINE, "--home", str(den.home), "exec", "s-1", "--agent", "coder-1", "--", "yes"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert agent.stdout.readline() == b"y\n"
        agent.stdout.close()
        assert agent.wait(timeout=60) == 128 + signal.SIGPIPE
        assert agent.stderr.read() == b""
        agent.stderr.close()
        assert state(den)["exit_code"] == 128 + signal.SIGPIPE


def test_a_config_that_is_wrong_is_told_before_anything_is_written(den):
    config = den.home / "config.toml"
    config.write_text(config.read_text() + "\n[[rate_limits]]\nresume_after = 1\npattern = '(('\n")
    told = den.gangline("exec", "s-1", "--agent", "a", "--", "true", code=1)
    assert "pattern is not a regular expression" in told
    assert state(den)["state"] == "idle"


def test_nothing_is_lost_while_the_daemon_is_away(den):
    agent = start(den, "import time\nprint('up')\ntime.sleep(2)\nraise SystemExit(3)")
    assert agent.stdout.readline() == b"up\n"
    eventually(lambda: state(den)["state"] == "running", "it runs")
    den.kill()
    time.sleep(3)
    den.start()
    _, err = agent.communicate(timeout=60)
    assert agent.returncode == 3
    assert b"the daemon is away" in err
    assert (state(den)["state"], state(den)["exit_code"]) == ("completed", 3)


def test_what_cannot_be_started_ends_as_in_a_shell_and_is_recorded_so(den, tmp_path):
    no_program, no_interpreter = tmp_path / "data", tmp_path / "script"
    no_program.write_text("")
    no_interpreter.write_text("#!/nonesuch\n")
    no_interpreter.chmod(0o700)
    for command, code, why in (
        ("/nonesuch", 127, "no such command"),
        ("nonesuch-command", 127, "no such command"),
        (str(no_program), 126, "Permission denied"),
        (str(no_interpreter), 126, "the interpreter"),
    ):
        told = den.gangline("exec", "s-1", "--agent", "a", "--", command, code=code)
        assert told.startswith(f"gangline: cannot start {command}: ")
        assert why in told
        assert (state(den)["state"], state(den)["exit_code"]) == ("completed", code)
    den.gangline("exec", "s-1", "--agent", "a", "--", "true")
    assert (state(den)["state"], state(den)["exit_code"]) == ("completed", 0)
    den.gangline("exec", "nonesuch", "--agent", "a", "--", "true", code=4)


WAITING = (
    "import pathlib, sys, time\nwhile not pathlib.Path(sys.argv[1]).exists(): time.sleep(0.05)"
)


class Agents:
    """Agents that run until they are told to end, each on a story of its own."""

    def __init__(self, node, folder, count):
        self.node, self.folder = node, folder
        self.stories = [f"w-{number}" for number in range(count)]
        for story in self.stories:
            node.gangline("add", story)
        self.running = [
            subprocess.Popen(
                [GANGLINE, "--home", str(node.home), "exec", story, "--agent", "a", "--",
                 sys.executable, "-c", f"{WAITING}\nsys.exit({number})", str(folder / story)],
                stderr=subprocess.PIPE, text=True,
            )
            for number, story in enumerate(self.stories)
        ]  # fmt: skip
        eventually(lambda: [*self.states(node)] == ["running"] * count, "all run", 120)

    def states(self, node):
        for story in self.stories:
            for view in node.json("story", story)["executions"]:
                yield view["state"]["state"]

    def end(self, number):
        (self.folder / self.stories[number]).touch()

    def ends(self):
        """What each said, and with what code it ended."""
        ended = [(one.communicate(timeout=120)[1], one.returncode) for one in self.running]
        assert [code for _, code in ended] == [*range(len(ended))]
        return [said for said, _ in ended]


@pytest.mark.slow
def test_what_runs_across_a_change_of_keys_ends_under_the_new_one(tmp_path):
    """Before the old key is revoked, between the two, while the daemon starts, and long after."""
    with Fleet(tmp_path) as fleet:
        den = fleet.found()
        b = fleet.join(den, "b")
        agents = Agents(b, tmp_path, 10)
        old = b.key()
        rotating = threading.Thread(target=b.gangline, args=("rotate",))
        rotating.start()
        for number in range(9):
            agents.end(number)
            time.sleep(0.2)  # so that they end all along the way
        rotating.join()
        eventually(lambda: b.key() not in (None, old), "it has its new key")
        agree(den, b)
        assert [*agents.states(den)][9] == "running"
        agents.end(9)
        assert not [said for said in agents.ends() if "not recorded" in said]
        agree(den, b)
        for number, story in enumerate(agents.stories):
            (view,) = den.json("story", story)["executions"]
            assert view["node"] == b.key()
            assert (view["state"]["state"], view["state"]["exit_code"]) == ("completed", number)


def test_who_leaves_while_an_agent_runs_is_told_that_its_end_is_not_recorded(tmp_path):
    with Fleet(tmp_path) as fleet:
        den = fleet.found()
        b = fleet.join(den, "b")
        agents = Agents(b, tmp_path, 1)
        agree(den, b)
        b.gangline("leave")
        eventually(lambda: [*agents.states(den)] == [], "what it does counts no longer")
        agents.end(0)
        (said,) = agents.ends()
        assert said.startswith("gangline: exited was not recorded: this node left the cluster")
