"""What a local caller wrote, as checked values; or what is wrong with it, in a sentence.

Stands under ``service.py``. Callers may write text in any form of Unicode and instants in any form
of RFC 3339; what is made of them is in the one form that records have. Source: protocol §4.
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
    """A caller wrote what means nothing here."""


def pipeline_event(asked: dict[str, Any]) -> PipelineEvent:
    """An event of the pipeline.

    Raises:
        Malformed: it is none; says which there are, or which fields it takes.
    """
    event: PipelineEvent = _event(PIPELINE, PipelineEvent, asked)
    return event


def execution_event(asked: dict[str, Any]) -> ExecutionEvent:
    """An event of an execution.

    Raises:
        Malformed: it is none; says which there are, or which fields it takes.
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
        said, cause = humanize(str(fault)), fault.__cause__
        if isinstance(cause, InvalidValue):  # the field is named already
            raise Malformed(f"{name}: {said.replace(f'{cause.what}: ', '', 1)}") from fault
        raise Malformed(f"{name} takes {takes or 'no fields'}: {said}") from fault


def patience(wait_for: FromQuery[int] = 0, timeout: FromQuery[float] = 10.0) -> Patience:
    """How long an answer may wait for other nodes, as the query of any write says it.

    Raises:
        Malformed: it is out of range.
    """
    if wait_for < 0:
        raise Malformed("wait_for: a number of nodes, 0 or more")
    if not 0 <= timeout <= WAIT_SECONDS_MAX:
        raise Malformed(f"timeout: from 0 to {WAIT_SECONDS_MAX} seconds")
    return Patience(wait_for, timeout)


def limit(rows: int) -> int:
    """How many rows to give at most.

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
    """Those fields of a story that are given.

    Raises:
        InvalidValue: one of them breaks its rule.
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
    """A text in NFC, of so many characters at most.

    Raises:
        InvalidValue: it is none; says of what, and what it may be.
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
