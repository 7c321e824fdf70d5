"""Every transcript in this folder is played, and compared to the letter with what happens.

``make scenarios`` writes them anew, so that a change of behaviour is read as a difference of text.
"""

import os
from pathlib import Path

import pytest

from tests.support.scenario import runner

FILES = sorted(Path(__file__).parent.glob("*.txt"))
REWRITE = "REWRITE_SCENARIOS"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_scenario_goes_as_it_is_written(path):
    text = path.read_text()
    assert text.startswith("# "), "a transcript begins with what is to be proven"
    told = runner.play(text)
    if os.environ.get(REWRITE):
        path.write_text(told)
    assert told == path.read_text(), f"{REWRITE}=1 writes it anew; then read the difference"


def test_no_rewriting_makes_a_false_claim_pass():
    text = "# n1 alone.\ncluster n1\nn1 adds s-1\nso s-1 is done\n"
    with pytest.raises(AssertionError, match="on n1 it is backlog"):
        runner.play(text)


def test_a_line_that_means_nothing_is_named():
    with pytest.raises(runner.NotReadableError, match="n1 sings"):
        runner.play("# n1 sings.\ncluster n1\nn1 sings\nso all agree\n")


def test_every_transcript_ends_in_what_must_hold():
    with pytest.raises(AssertionError, match="what must hold"):
        runner.play("# Nothing.\ncluster n1\n")
