"""The log: an entry a line on standard error, with nothing in it that a terminal obeys.

Stands under ``daemon.py``. Names and words of peers come into it. As text, for people, they go
through the one sanitiser, as everything else that a person sees; a traceback keeps its lines. As
JSON, for programs, an entry is one object and one line whatever happened: nothing but ASCII, every
control character an escape. What is known of an entry beside its sentence (``fields``) stands in
the object alone.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Final

from crdt.primitives.token_bucket import TokenBucket
from node.system.local_time import in_local_time, local_of
from node.system.sanitize import clean

FORMAT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"
FORMATS: Final = ("text", "json")


class TextFormatter(logging.Formatter):
    """Text, in local time; escapes what was not written here."""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002, N802 - the base has it so
        """When it was written."""
        return local_of(record.created)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the base has it so
        """The entry, on one line."""
        return clean(in_local_time(super().formatMessage(record)))

    def formatException(self, ei: Any) -> str:  # noqa: N802 - likewise
        """The traceback, line by line."""
        told = super().formatException(ei)
        return "\n".join(map(clean, told.split("\n")))


class JsonFormatter(logging.Formatter):
    """JSON: ``time`` (RFC 3339, UTC), ``level``, ``logger``, ``message``, then the fields."""

    def format(self, record: logging.LogRecord) -> str:
        """The entry, as one object on one line."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        entry: dict[str, Any] = {
            "time": time.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _whole(record.getMessage()),
        }
        for name, value in getattr(record, "fields", {}).items():
            entry[name] = value if isinstance(value, int | float) else _whole(str(value))
        if record.exc_info:
            entry["exception"] = _whole(self.formatException(record.exc_info))
        # DEL is ASCII, and a terminal obeys it.
        return json.dumps(entry).replace("\x7f", "\\u007f")


def _whole(text: str) -> str:
    """Text that every reader of JSON takes: half a surrogate pair is none."""
    return text.encode("utf-8", "backslashreplace").decode()


class LogRateLimit:
    """So many entries of a kind at once, then one each so many seconds; the rest are counted.

    Attributes:
        held: how many were held back since ``forget``.
    """

    def __init__(self, at_once: int, seconds: float, mono: float) -> None:
        self.held = 0
        self._bucket = TokenBucket(at_once, 1 / seconds, mono)

    def lets(self, mono: float) -> bool:
        """Whether one more may be written now."""
        if self._bucket.take(mono):
            return True
        self.held += 1
        return False

    def forget(self) -> int:
        """How many were held back, now that they are told of as a number."""
        held, self.held = self.held, 0
        return held


def fields(**known: object) -> dict[str, dict[str, object]]:
    """What is known of an entry, for ``extra``: keys whole, reasons in their one word."""
    return {"fields": known}


def start_logging(log_format: str) -> None:
    """Log to standard error, in one of ``FORMATS``; what libraries say in passing is left out."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter(FORMAT))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("gangline.websocket").setLevel(logging.CRITICAL)
    logging.getLogger("websockets").setLevel(logging.CRITICAL)
    # What it says in passing it says as "uvicorn.error", which frightens people.
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
