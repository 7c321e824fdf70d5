import pytest

from machines.values import NodePubkey
from node.cli.exits import Exit
from node.errors import Trouble
from node.ticket import Ticket, read_ticket

TICKET = Ticket("127.0.0.1:7467", b"c" * 32, b"i" * 32, b"s" * 16, 1_800_000_000_000)


def test_a_ticket_is_one_line_that_reads_back():
    text = TICKET.text()
    assert len(text.split()) == 1
    assert read_ticket(f"  {text}\n") == TICKET
    assert NodePubkey(read_ticket(text).inviter)


def test_a_secret_shows_itself_nowhere():
    assert "s" * 16 not in repr(TICKET)
    assert "ssss" not in f"{TICKET}"


def test_every_wrong_letter_and_every_cut_is_told():
    text = TICKET.text()
    for place in range(len("gangline1-"), len(text)):
        spoiled = text[:place] + ("a" if text[place] != "a" else "b") + text[place + 1 :]
        for bad in (spoiled, text[:place]):
            with pytest.raises(Trouble) as told:
                read_ticket(bad)
            assert told.value.code == Exit.MALFORMED


def test_what_is_no_ticket():
    for bad in ("", "hello", "gangline2-abc", "gangline1-" + "a" * 5000, "gangline1-ü"):
        with pytest.raises(Trouble):
            read_ticket(bad)
