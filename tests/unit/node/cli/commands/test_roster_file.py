"""Hosts kept in a file: what follows from each difference, and what is no such file."""

import shlex

import pytest

from node.cli.commands.roster_file import RosterEntry, plan, read
from node.system.errors import OperatorError
from node.system.exit_codes import Exit

A, B = "aa" * 32, "bb" * 32


def row(node, role="member", name="", *, belongs=True):
    return {"node": node, "role": role if belongs else "", "name": name, "belongs": belongs}


def test_who_is_missing_is_admitted():
    (step,) = plan([RosterEntry(A, "observer", "screen")], []).steps
    assert step.path == "/members"
    assert step.body == {"node": A, "role": "observer", "name": "screen"}
    assert step.text == "admit aaaaaaaa screen as observer"


def test_a_higher_role_and_another_name_are_asked_for():
    found = plan([RosterEntry(A, "admin", "new")], [row(A, name="old")])
    assert [step.path for step in found.steps] == ["/members/role", "/members/name"]
    assert found.steps[0].body == {"node": A, "up": True, "role": "admin"}
    assert not found.left


def test_nobody_is_lowered_or_taken_back_in_by_a_file():
    b = RosterEntry(B, "observer", "the wall's $(screen)")
    found = plan([RosterEntry(A, "observer"), b], [row(A), row(B, belongs=False)])
    assert not found.steps
    lowered, revoked = found.left
    assert "members demote aaaaaaaa --role observer" in lowered
    pasted = shlex.split(revoked.partition(": ")[2])
    assert pasted == ["gangline", "members", "admit", B, "--role", "observer", "--name", b.name]


def test_a_name_that_is_left_out_is_left_as_it_is():
    assert plan([RosterEntry(A)], [row(A, name="old")]).steps == []


def test_who_belongs_and_is_not_in_the_file_is_named():
    found = plan([], [row(A, name="den"), row(B, belongs=False)])
    assert found.extra == ["aaaaaaaa den (member) belongs and is not in the file"]


@pytest.mark.parametrize("name", ["hosts.toml", "hosts.json"])
def test_both_forms_are_read(tmp_path, name):
    file = tmp_path / name
    text = (
        f'[[member]]\nnode = "{A}"\n'
        if name.endswith("toml")
        else f'{{"member":[{{"node":"{A}"}}]}}'
    )
    file.write_text(text)
    assert read(file) == [RosterEntry(A, "member", "")]


@pytest.mark.parametrize("text", [
    "member = 1", "[[member]]\n", '[[member]]\nnode = "short"', "no toml", "\0",
    f'[[member]]\nnode = "{A}"\nrole = "king"', f'[[member]]\nnode = "{A}"\nrule = "admin"',
    f'[[member]]\nnode = "{A}"\n' * 2,
])  # fmt: skip
def test_what_is_no_such_file_is_told(tmp_path, text):
    file = tmp_path / "hosts.toml"
    file.write_text(text)
    with pytest.raises(OperatorError) as caught:
        read(file)
    assert caught.value.code == Exit.MALFORMED
    assert "hosts.toml" in caught.value.message


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(OperatorError, match="cannot read"):
        read(tmp_path / "hosts.toml")
