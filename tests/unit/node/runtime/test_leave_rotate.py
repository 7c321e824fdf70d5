"""Why this node's own key is off the roster, as far as it was this node's wish."""

from types import SimpleNamespace

import pytest

from crdt.authoring.roster_requests import RequestOutcome
from node.config import key_file
from node.runtime.leave_rotate import ASKED, GONE, WORDS, LeaveOrRotate
from node.system.home import Home


@pytest.fixture
def home(tmp_path):
    home = Home(tmp_path / "node")
    home.make()
    return home


def parting(home, own, *belonging, note=b""):
    """A node's way out of a roster to which these keys belong."""
    roster = SimpleNamespace(belongs=lambda node: node in belonging)
    store = SimpleNamespace(meta=lambda _name: note)
    driver = SimpleNamespace(own=own, roster=roster, store=store)
    return LeaveOrRotate(driver, home, lambda: None)


@pytest.mark.parametrize("note", [ASKED, GONE])
def test_a_node_that_asked_to_leave_left_once_it_is_off(home, note):
    own = key_file.generate(home.key).pubkey
    assert parting(home, own, own, note=note).own_reason() is None
    assert parting(home, own, note=note).own_reason() == "left"


def test_a_node_has_a_new_key_once_that_belongs_in_the_old_one_s_place(home):
    own, successor = key_file.generate(home.key).pubkey, key_file.generate(home.next_key).pubkey
    assert parting(home, own, own).own_reason() is None
    assert parting(home, own, own, successor).own_reason() is None
    assert parting(home, own).own_reason() is None  # revoked by another's wish
    assert parting(home, own, successor).own_reason() == "rotated"


def test_a_node_that_is_revoked_unasked_has_no_word_of_its_own(home):
    assert parting(home, key_file.generate(home.key).pubkey).own_reason() is None


def test_every_outcome_but_done_has_a_sentence():
    assert WORDS.keys() == set(RequestOutcome) - {RequestOutcome.DONE}
