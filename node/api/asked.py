"""What a local caller wrote, as checked values; or what is wrong with it, in a sentence.

Stands under ``desk.py``. Callers may write text in any form of Unicode and instants in any form of
RFC 3339; what is made of them is in the one form that records have. Source: protocol §4.
"""

from typing import Any

import msgspec
from litestar.params import FromQuery

from crdt import limits
from crdt.bodies import TITLE_CHARACTERS_MAX, Role
from machines.codec import lenient_hook
from machines.errors import InvalidValue
from machines.execution import EXECUTION, ExecutionEvent
from machines.kernel import Machine, tag_of
from machines.pipeline import PIPELINE, PipelineEvent
from machines.values import FreeText, Label, StoryId
from node.api import types
from node.plain import plain

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
        raise Malformed(f"{name} takes {takes or 'no fields'}: {plain(str(fault))}") from fault


def patience(wait_for: FromQuery[int] = 0, timeout: FromQuery[float] = 10.0) -> types.Patience:
    """How long an answer may wait for other nodes, as the query of any write says it.

    Raises:
        Malformed: it is out of range.
    """
    if wait_for < 0:
        raise Malformed("wait_for: a number of nodes, 0 or more")
    if not 0 <= timeout <= WAIT_SECONDS_MAX:
        raise Malformed(f"timeout: from 0 to {WAIT_SECONDS_MAX} seconds")
    return types.Patience(wait_for, timeout)


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


def story_fields(asked: types.Add) -> dict[str, Any]:
    """Those fields of a story that are given.

    Raises:
        InvalidValue: one of them breaks its rule.
    """
    title, description = asked.title, asked.description
    depends_on, labels = asked.depends_on, asked.labels
    if title is not None and len(title) > TITLE_CHARACTERS_MAX:
        raise InvalidValue("a title", f"at most {TITLE_CHARACTERS_MAX} characters")
    return {
        "title": None if title is None else lenient_hook(FreeText, title),
        "description": None if description is None else lenient_hook(FreeText, description),
        "depends_on": None if depends_on is None else tuple(map(StoryId, depends_on)),
        "labels": None if labels is None else tuple(map(Label, labels)),
    }
