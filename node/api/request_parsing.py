"""Parses requests of local callers into checked values.

Callers may write text in any form of Unicode and times in any form of RFC 3339; both are converted
to the form that records have. Source: protocol §4.
"""

from typing import Any

import msgspec
from litestar.params import FromQuery

from crdt.primitives import limits
from crdt.records.bodies import TITLE_CHARACTERS_MAX, Role
from machines.codec import lenient_hook
from machines.errors import InvalidValue
from machines.execution import EXECUTION, ExecutionEvent
from machines.kernel import Machine, tag_of
from machines.pipeline import PIPELINE, PipelineEvent
from machines.values import FREE_TEXT_BYTES_MAX, FreeText, Label, StoryId
from node.config.validation_messages import humanize
from node.reporting.rows import Add, Patience

WAIT_SECONDS_MAX = 60
ECHOED_MAX = 128


class Malformed(Exception):
    """A request cannot be parsed; the message is the reason."""


def pipeline_event(asked: dict[str, Any]) -> PipelineEvent:
    """Parse an event of the pipeline.

    Raises:
        Malformed: it is not one; the message lists the events, or the fields.
    """
    event: PipelineEvent = _event(PIPELINE, PipelineEvent, asked)
    return event


def execution_event(asked: dict[str, Any]) -> ExecutionEvent:
    """Parse an event of an execution.

    Raises:
        Malformed: it is not one; the message lists the events, or the fields.
    """
    event: ExecutionEvent = _event(EXECUTION, ExecutionEvent, asked)
    return event


def _event(machine: Machine, union: Any, asked: dict[str, Any]) -> Any:
    kinds = {tag_of(kind): kind for kind in machine.events}
    name = asked.get("event")
    if not isinstance(name, str) or name not in kinds:
        raise Malformed(
            f"no event is called {str(name)[:ECHOED_MAX]}; there are: {', '.join(kinds)}"
        )
    try:
        return msgspec.convert(asked, type=union, dec_hook=lenient_hook)
    except msgspec.ValidationError as fault:
        takes = ", ".join(field.name for field in msgspec.structs.fields(kinds[name]))
        message, cause = humanize(str(fault)), fault.__cause__
        if isinstance(cause, InvalidValue):  # the field is named already
            raise Malformed(f"{name}: {message.replace(f'{cause.what}: ', '', 1)}") from fault
        raise Malformed(f"{name} takes {takes or 'no fields'}: {message}") from fault


def patience(wait_for: FromQuery[int] = 0, timeout: FromQuery[float] = 10.0) -> Patience:
    """Parse how long to wait for other nodes, from the query of a write.

    Raises:
        Malformed: it is out of range.
    """
    if wait_for < 0:
        raise Malformed("wait_for: a number of nodes, 0 or more")
    if not 0 <= timeout <= WAIT_SECONDS_MAX:
        raise Malformed(f"timeout: from 0 to {WAIT_SECONDS_MAX} seconds")
    return Patience(wait_for, timeout)


def limit(rows: int) -> int:
    """Check the number of rows that a query asks for.

    Raises:
        Malformed: it is out of range.
    """
    if not 0 <= rows <= limits.INTEGER_MAX:
        raise Malformed(f"limit: from 0 to {limits.INTEGER_MAX} rows")
    return rows


def role(text: str) -> Role:
    """A role.

    Raises:
        Malformed: there is no such role.
    """
    if text not in set(Role):
        raise Malformed(f"no role is called {text[:ECHOED_MAX]}; there are: {', '.join(Role)}")
    return Role(text)


def story_fields(asked: Add) -> dict[str, Any]:
    """Parse the fields of a story that are given.

    Raises:
        InvalidValue: one of them is invalid.
    """
    title, description = asked.title, asked.description
    depends_on, labels = asked.depends_on, asked.labels
    return {
        "title": None if title is None else _text("a title", title, TITLE_CHARACTERS_MAX),
        "description": None if description is None else _text("a description", description),
        "depends_on": None if depends_on is None else tuple(map(StoryId, depends_on)),
        "labels": None if labels is None else tuple(map(Label, labels)),
    }


def _text(what: str, given: str, most: int = FREE_TEXT_BYTES_MAX) -> FreeText:
    """Convert a text to NFC and check its length.

    Raises:
        InvalidValue: it is invalid; the message names the field and its rule.
    """
    bound = f"{most} characters" if most < FREE_TEXT_BYTES_MAX else f"{most} bytes of UTF-8"
    rule = f"at most {bound}, no control characters but newline and tab"
    try:
        text: FreeText = lenient_hook(FreeText, given)
    except InvalidValue:
        raise InvalidValue(what, rule) from None
    if len(text) > most:
        raise InvalidValue(what, rule)
    return text
