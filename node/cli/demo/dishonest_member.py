"""A dishonest member: has a real key and sends what no honest node would.

    python -m node.cli.demo.dishonest_member HOME PEER_HOME [forge|illegal|fork]

``gangline demo`` runs it; you can run it too. HOME is the folder of a node that joined and is not
running; its key is used. PEER_HOME is the folder of a running node, which is dialled. ``forge``
sends a record in the peer's name. ``illegal`` sends a signed transition (``accepted`` for a story
in backlog) that the state machine ignores. The peer's ``gangline inspect quarantine`` lists both.
``fork`` signs two records for one slot; ``gangline inspect evidence`` shows the proof.
"""

import argparse
import asyncio
from pathlib import Path

from crdt.primitives.identity import ClusterId
from crdt.records.bodies import Story, Transition
from crdt.records.record import sign_record
from crdt.wire.messages import Records, encode_frame
from machines import pipeline
from machines.values import FreeText, Instant, NodePubkey, StoryId
from node.cli.demo.demo_node import tell
from node.client.http_client import Client
from node.config import key_file, settings
from node.network.handshake import HelloRefused, Identity
from node.network.link import Link, reach
from node.runtime.peer_link import DisconnectReason
from node.system import clock
from node.system.errors import OperatorError
from node.system.home import Home

TRICKS = ("forge", "illegal", "fork")


async def main(mine: Home, theirs: Home, trick: str) -> None:
    """Link as an honest member would, do the trick, and wait for the end of the link."""
    config = settings.load(mine.config)
    key = key_file.load(mine.key)
    cluster = ClusterId(bytes.fromhex(config.cluster))
    status = Client(theirs.socket).ask("GET", "/status")
    peer = NodePubkey.from_hex(status["node"])
    link, now = await _reach(status["listen"], peer, Identity(key, cluster))
    story = StoryId("s-trick")
    if trick == "forge":
        record = sign_record(key, cluster, 0, 0, Story(at=now, n=0, story=story))
        # Its own signature, sent as a record of the peer's feed.
        link.send(encode_frame(Records(peer, 0, ((10_000, record.value),))))
    elif trick == "fork":
        for title in ("this", "that"):
            edit = Story(at=now, n=0, story=story, title=FreeText(title))
            record = sign_record(key, cluster, 0, 1, edit)
            link.send(encode_frame(Records(key.pubkey, 0, ((1, record.value),))))
    else:
        body = Transition(at=now, n=0, story=story, event=pipeline.Accepted(), parent=None)
        record = sign_record(key, cluster, 0, 0, body)
        link.send(encode_frame(Records(key.pubkey, 0, ((0, record.value),))))

    async def received(_link: Link, _data: bytes) -> None:
        """Ignore what the peer sends."""

    running = asyncio.create_task(link.run(received))
    await asyncio.wait({running}, timeout=1)
    link.drop(DisconnectReason.CLOSED)
    await running
    tell(f"sent: {trick}")


async def _reach(address: str, peer: NodePubkey, me: Identity) -> tuple[Link, Instant]:
    """Link to the peer, once the ban for the last trick is over."""
    while True:
        now = clock.wall()
        try:
            link, _ = await reach(address, peer, me, now)
        except HelloRefused as refusal:
            if refusal.reason != "banned":
                raise
            tell("banned for the last trick; trying again")
            await asyncio.sleep(1)
        else:
            return link, now


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m node.cli.demo.dishonest_member")
    parser.add_argument("home", type=Path, help="folder of a node that joined and is not running")
    parser.add_argument("peer_home", type=Path, help="folder of a running node")
    parser.add_argument("trick", nargs="?", choices=TRICKS, default=TRICKS[0])
    args = parser.parse_args()
    try:
        asyncio.run(main(Home(args.home.absolute()), Home(args.peer_home.absolute()), args.trick))
    except OperatorError as error:
        parser.exit(error.code, f"{parser.prog}: {error.message}\n")
