"""The log: a line for each entry on standard error, with nothing in it that a terminal obeys.

Stands under ``daemon.py``. Names and words of peers come into it, so that it goes through the one
sanitiser as everything else that a person sees. A traceback keeps its lines.
"""

import logging
import sys
from typing import Any

from node.cli.text import clean

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class Lines(logging.Formatter):
    """Escapes what was not written here."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the base has it so
        """The entry, on one line."""
        return clean(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802 - likewise
        """The traceback, line by line."""
        told = super().formatException(ei)
        return "\n".join(map(clean, told.split("\n")))


def start() -> None:
    """Log to standard error; what libraries say in passing is left out."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Lines(FORMAT))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("gangline.websocket").setLevel(logging.CRITICAL)
    logging.getLogger("websockets").setLevel(logging.CRITICAL)
    # What it says in passing it says as "uvicorn.error", which frightens people.
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
