"""What the log says of links: each change once, and a flood of them in a summary."""

import asyncio

import pytest

from node.network import disconnect_reasons, link_supervisor
from node.network.connection_limits import ConnectionLimiter
from node.network.link_supervisor import AT_ONCE, LinkSupervisor
from tests.support.builders.cluster import key

PEER = key(2).pubkey


class Link:
    """A link as the holder sees it."""

    def __init__(self, *, dialled=True, told=""):
        self.peer, self.dialled, self.peer_reason, self.address = (
            PEER,
            dialled,
            told,
            "192.0.2.7:7467",
        )


class Driver:
    """Whose links end at once, for the reason it is given."""

    def __init__(self):
        self.links = {}
        self.reason, self.news, self.stays = "closed", True, False

    async def attach(self, link, up):
        self.links[link.peer] = link
        if self.news:
            up()
        if not self.stays:
            del self.links[link.peer]
        return self.reason


@pytest.fixture
def driver():
    return Driver()


@pytest.fixture
def told(caplog):
    caplog.set_level("INFO", "gangline.links")
    return lambda: [row.getMessage() for row in caplog.records]


def holder(driver, **options):
    return LinkSupervisor(
        driver, ConnectionLimiter(lambda: 0.0), lambda _node: "fen (02020202)", **options
    )


@pytest.mark.parametrize(
    ("link", "reason", "lines"),
    [
        (Link(), "lagging",
         ["link to fen (02020202) at 192.0.2.7:7467 is up, dialled here",
          "link to fen (02020202) ended: lagging: it read too slowly"]),
        (Link(dialled=False, told="closed"), "closed",
         ["link from fen (02020202) at 192.0.2.7:7467 is up, dialled there",
          ("link from fen (02020202) ended: closed: that node closed the link, as it does "
           "when it stops")]),
        (Link(), "closed",
         ["link to fen (02020202) at 192.0.2.7:7467 is up, dialled here",
          f"link to fen (02020202) ended: {disconnect_reasons.message_for_peer('lost')}"]),
        (Link(told="revoked"), "closed",
         ["link to fen (02020202) at 192.0.2.7:7467 is up, dialled here",
          f"link to fen (02020202) ended: {disconnect_reasons.message_for_peer('revoked')}"]),
    ],
)  # fmt: skip
async def test_start_and_end_of_a_link_are_logged(driver, told, link, reason, lines):
    driver.reason = reason
    await holder(driver).hold(link)
    assert told() == lines


async def test_what_is_known_beside_is_for_programs(driver, caplog):
    caplog.set_level("INFO", "gangline.links")
    await holder(driver).hold(Link(dialled=False, told="full"))
    up, ended = (row.fields for row in caplog.records)
    known = {"peer": PEER.hex(), "address": "192.0.2.7:7467", "dialled_by": "peer"}
    assert up == known | {"what": "link_up"}
    assert ended == known | {"what": "link_ended", "reason": "full"}


@pytest.mark.parametrize(("own", "theirs"), [("duplicate", ""), ("closed", "duplicate")])
async def test_end_of_a_duplicate_link_is_not_logged(driver, told, own, theirs):
    driver.reason, driver.news, driver.stays = own, False, True
    end = await holder(driver).hold(Link(told=theirs))
    assert end.is_duplicate
    assert told() == []


async def test_link_lost_to_a_clone_is_logged(driver, told):
    """Or a link that comes up again and again would never have ended."""
    await holder(driver).hold(Link(told="duplicate"))
    assert told()[1] == (
        "link to fen (02020202) ended: duplicate: that node keeps another link with this node's key"
    )


@pytest.mark.parametrize(
    ("word", "why"),
    [
        ("left", "this node left the cluster"),
        ("rotated", "this node changed its key, and links again under the new one"),
    ],
)
async def test_where_this_node_parted_its_links_end_for_that(driver, told, word, why):
    end = await holder(driver, parted=lambda: word).hold(Link(told="revoked"))
    assert end.reason == word
    assert told()[1] == f"link to fen (02020202) ended: {word}: {why}"


async def test_a_fault_is_told_to_the_door(driver, told):
    driver.reason = "malformed_frame"
    held = holder(driver)
    await held.hold(Link())
    assert [(row.who, row.reason) for row in held.limiter.active_bans()] == [
        (PEER.hex(), "malformed_frame")
    ]
    assert "it sent something that is not a message" in told()[-1]


async def test_flapping_links_are_summed_up_in_the_log(driver, told, monkeypatch):
    monkeypatch.setattr(link_supervisor, "SUMMARY_SECONDS", 0.0)
    monkeypatch.setattr(link_supervisor.clock, "monotonic", lambda: 100.0)
    held = holder(driver)
    for _ in range(500):
        await held.hold(Link())
    assert len(told()) == AT_ONCE
    driver.links[PEER] = Link()
    for _ in range(3):
        await asyncio.sleep(0)
    [summary] = told()[AT_ONCE:]
    assert summary == (
        f"links with fen (02020202) came and went {1000 - AT_ONCE} times more than logged here; "
        "one is up now"
    )
