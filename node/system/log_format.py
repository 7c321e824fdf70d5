"""The log on standard error: one entry a line, with every control character escaped.

Entries quote names and texts of peers, so text for people passes the sanitiser; a traceback keeps
its lines. As JSON, an entry is one object on one line, in ASCII. Fields beside the message
(``fields``) appear in JSON only.

JSON by hand: with python-json-logger we would still write the time, the level, the flat fields and
the escapes of surrogates and DEL, which is all of ``JsonFormatter``.
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
    """Text, in local time, with control characters escaped."""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002, N802 - named by the base class
        """The time of the entry, local."""
        return local_of(record.created)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - named by the base class
        """The entry, on one line."""
        return clean(in_local_time(super().formatMessage(record)))

    def formatException(self, ei: Any) -> str:  # noqa: N802 - named by the base class
        """The traceback, line by line."""
        return "\n".join(map(clean, super().formatException(ei).split("\n")))


class JsonFormatter(logging.Formatter):
    """JSON: ``time`` (RFC 3339, UTC), ``level``, ``logger``, ``message``, then the fields."""

    def format(self, record: logging.LogRecord) -> str:
        """The entry, as one object on one line."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        entry: dict[str, Any] = {
            "time": time.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _valid_unicode(record.getMessage()),
        }
        for name, value in getattr(record, "fields", {}).items():
            entry[name] = value if isinstance(value, int | float) else _valid_unicode(str(value))
        if record.exc_info:
            entry["exception"] = _valid_unicode(self.formatException(record.exc_info))
        # DEL is ASCII, and terminals interpret it.
        return json.dumps(entry).replace("\x7f", "\\u007f")


def _valid_unicode(text: str) -> str:
    """The text with lone surrogates escaped, which not every JSON parser accepts."""
    return text.encode("utf-8", "backslashreplace").decode()


class LogRateLimit:
    """Limits entries of one kind to a burst, then one each ``seconds``; counts the others.

    Attributes:
        suppressed: entries suppressed since ``reset``.
    """

    def __init__(self, at_once: int, seconds: float, mono: float) -> None:
        self.suppressed = 0
        self._bucket = TokenBucket(at_once, 1 / seconds, mono)

    def allow(self, mono: float) -> bool:
        """Whether one more entry may be written now; counts it if not."""
        if self._bucket.take(mono):
            return True
        self.suppressed += 1
        return False

    def reset(self) -> int:
        """Return the number of suppressed entries, and count from 0 again."""
        suppressed, self.suppressed = self.suppressed, 0
        return suppressed


def fields(**known: object) -> dict[str, dict[str, object]]:
    """The fields of an entry, for ``extra``: whole keys, reasons as their tag."""
    return {"fields": known}


def start_logging(log_format: str) -> None:
    """Log to standard error in one of ``FORMATS``, without the chatter of libraries."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter(FORMAT))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("gangline.websocket").setLevel(logging.CRITICAL)
    logging.getLogger("websockets").setLevel(logging.CRITICAL)
    # uvicorn logs routine events under the name "uvicorn.error".
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
