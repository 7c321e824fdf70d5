"""What is wrong with a value, in the words of a person; every sentence is msgspec's own first."""

from typing import Annotated

import msgspec
import pytest
from msgspec import Meta

from node.config.validation_messages import humanize


class Value(msgspec.Struct, forbid_unknown_fields=True):
    key: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")] = ""
    name: Annotated[str, Meta(max_length=64)] = ""
    count: int = 0
    below: "list[Value]" = []


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"key": "ab"}, "key: 64 hex digits"),
        ({"name": "x" * 65}, "name: at most 64 characters"),
        ({"below": [{}, {"key": "z"}]}, "below[1].key: 64 hex digits"),
        ({"count": "1"}, "count: expected int, got str"),
        ({"other": 1}, "there is no field other"),
        ([], "expected object, got array"),
    ],
)
def test_where_comes_before_what(given, told):
    with pytest.raises(msgspec.ValidationError) as fault:
        msgspec.convert(given, type=Value)
    assert humanize(str(fault.value)) == told


def test_what_is_missing_is_named():
    class Needs(msgspec.Struct):
        name: str

    with pytest.raises(msgspec.ValidationError) as fault:
        msgspec.convert({}, type=Needs)
    assert humanize(str(fault.value)) == "name is missing"
