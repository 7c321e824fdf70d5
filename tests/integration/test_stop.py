"""A daemon that is stopped while a caller waits for it."""

import subprocess

from tests.support.harness.daemons import GANGLINE, Fleet, eventually


def test_who_waits_for_others_is_answered_and_the_log_stays_clean(tmp_path):
    with Fleet(tmp_path) as fleet:
        den = fleet.found()
        den.gangline("add", "s-1")
        waiting = subprocess.Popen(
            [GANGLINE, "--home", str(den.home), "fire", "s-1", "deps_met", "--wait-for", "5",
             "--timeout", "50s"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        eventually(
            lambda: den.json("story", "s-1")["stage"]["stage"] == "coding", "the event is written"
        )
        den.gangline("stop")
        out, err = waiting.communicate(timeout=60)
        assert waiting.returncode == 1
        assert "Traceback" not in out + err
        assert "on disk here" in err or "daemon" in err
        den.process.wait(timeout=60)
        assert "Traceback" not in den.log()
