"""What a change of the roster says, in one line."""

import pytest

from node.reporting.describe import counted, describe_body, roster_change

NODE, DEN = "1f" * 32, "ab" * 32


def change(before, now, *, by=DEN):
    (was_name, was_role), (name, role) = before, now
    return {
        "node": NODE, "name": name, "role": role, "before_name": was_name, "before_role": was_role,
        "by": by,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("number", "noun", "told"),
    [
        (0, "fault", "0 faults"), (1, "fault", "1 fault"), (2, "fault", "2 faults"),
        (0, "story", "0 stories"), (1, "story", "1 story"), (2, "story", "2 stories"),
        (1, "live record", "1 live record"), (1000, "live record", "1000 live records"),
    ],
)  # fmt: skip
def test_one_thing_is_no_several(number, noun, told):
    assert counted(number, noun) == told


@pytest.mark.parametrize(
    ("before", "now", "told"),
    [
        (("", ""), ("fen", "member"), "fen (1f1f1f1f) was admitted as member by den"),
        (("", ""), ("", "observer"), "1f1f1f1f was admitted as observer by den"),
        (("fen", "member"), ("fen", "revoked"), "fen (1f1f1f1f) was revoked by den"),
        (("fen", "revoked"), ("fen", "member"),
         "fen (1f1f1f1f) was readmitted as member by den"),
        (("fen", "member"), ("fen", "admin"),
         "fen (1f1f1f1f) was promoted from member to admin by den"),
        (("fen", "admin"), ("fen", "observer"),
         "fen (1f1f1f1f) was demoted from admin to observer by den"),
        (("fen", "member"), ("moor", "member"), "moor (1f1f1f1f) was renamed from fen by den"),
        (("", "member"), ("moor", "admin"),
         "moor (1f1f1f1f) was promoted from member to admin and was renamed from nothing by den"),
        (("fen", "member"), ("fen", "member"),
         "fen (1f1f1f1f) is member as before, by another record by den"),
        (("", ""), ("fen", "revoked"), "fen (1f1f1f1f) was revoked by den"),
        (("", "revoked"), ("", ""), "1f1f1f1f is unknown as before, by another record by den"),
    ],
)  # fmt: skip
def test_what_changed_is_said_with_whose_word_it_is(before, now, told):
    assert roster_change(change(before, now), {DEN: "den"}) == told


def test_roster_change_with_unknown_author_and_own_node():
    moved = change(("", ""), ("fen", "member"), by=None)
    assert roster_change(moved, {}) == "fen (1f1f1f1f) was admitted as member"
    told = roster_change(moved | {"by": DEN}, {}, own=NODE)
    assert told == "this node, fen (1f1f1f1f), was admitted as member by abababab"


@pytest.mark.parametrize(
    ("admissions", "keep", "told"),
    [
        (["a"], [], "fen loses 1 admission; none of its records counts"),
        (["a", "b"], [[0, 120], [8153, 7]],
         "fen loses 2 admissions; its records count below 0#120, 8153#7"),
    ],
)  # fmt: skip
def test_a_revocation_tells_which_records_count(admissions, keep, told):
    body = {"kind": "revocation", "node": NODE, "admissions": admissions, "keep": keep}
    assert describe_body(body, {NODE: "fen"}) == told
