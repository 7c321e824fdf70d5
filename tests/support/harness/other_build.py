"""The command ``gangline`` of another build, made of this one by patches from outside.

    python -m tests.support.harness.other_build BUILD --home DIR run

``weather`` is a later build with a kind of its own, keyed by a story: it writes one where a
story's description is edited to ``weather: WORD``. ``version-2`` speaks version 2 of the protocol.
"""

import sys
from pathlib import Path

import msgspec

from crdt.authoring import handlers
from crdt.authoring.intents import EditStory
from crdt.records import bodies
from crdt.wire import handshake_transcript
from machines.values import StoryId
from node.cli.main import run
from tests.support.harness.daemons import Node

ROOT = Path(__file__).parents[3]
MARK = "weather: "


class Weather(bodies._Body, frozen=True, tag="weather"):
    """What the sky does over the story that is its key."""

    key: StoryId
    sky: str


def weather():
    bodies.KINDS |= {"weather"}
    bodies._DECODER = msgspec.json.Decoder(bodies.Known | Weather, dec_hook=bodies._dec_hook)
    propose = handlers.handle_intent

    def proposed(intent, ledger, author):
        text = intent.description if isinstance(intent, EditStory) else None
        if text is None or not text.startswith(MARK):
            return propose(intent, ledger, author)
        stamp = author.stamp(ledger.board.state(intent.story))
        body = Weather(at=stamp.at, n=stamp.n, key=intent.story, sky=text.removeprefix(MARK))
        return body, ()

    handlers.handle_intent = proposed


def version_2():
    handshake_transcript.PROTOCOL_VERSION = 2


BUILDS = {"weather": weather, "version-2": version_2}


class OtherNode(Node):
    """A node that runs another build, once ``build`` names one."""

    build = ""

    def _command(self, *args):
        command = super()._command(*args)
        if not self.build:
            return command
        at = command.index("--home")
        module = [
            "env",
            f"PYTHONPATH={ROOT}",
            sys.executable,
            "-m",
            "tests.support.harness.other_build",
        ]
        return [*command[: at - 1], *module, self.build, *command[at:]]


if __name__ == "__main__":
    BUILDS[sys.argv.pop(1)]()
    run()
