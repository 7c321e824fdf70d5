"""The conformance tables, made outside the project, as pytest parameters."""

import json
from pathlib import Path

import msgspec

from machines.codec import lenient_hook
from machines.values import Instant

VECTORS = Path(__file__).parents[2] / "vectors"
AT = Instant("2026-03-03T03:03:03.003Z")


def load(name):
    return json.loads((VECTORS / name).read_text())


def rows(name, states, events):
    """Every row as (state, event, outcome, expected state or None)."""
    found = []
    for row in load(name):
        state = msgspec.convert(row["from"], states, dec_hook=lenient_hook)
        event = msgspec.convert(row["event"], events, dec_hook=lenient_hook)
        expected = None
        if row["to"] is not None:
            filled = {
                key: {"@now": str(AT), "@kept": row["from"].get(key)}.get(value, value)
                if isinstance(value, str)
                else value
                for key, value in row["to"].items()
            }
            expected = msgspec.convert(filled, states, dec_hook=lenient_hook)
        found.append((state, event, row["outcome"], expected))
    return found
