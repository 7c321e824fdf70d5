"""The rule for node names, checked before anything is written or sent.

Stricter than for a record, which accepts any text of 64 characters (protocol §4), because names
appear in tables.
"""

from typing import Final

from crdt.records.bodies import NODE_NAME_CHARACTERS_MAX
from machines.codec import lenient_hook
from machines.errors import InvalidValue
from machines.values import FreeText

RULE: Final = f"1 to {NODE_NAME_CHARACTERS_MAX} characters on one line, no control characters"


def node_name(text: str) -> FreeText:
    """The name in NFC.

    Raises:
        InvalidValue: it breaks ``RULE``.
    """
    try:
        name: FreeText = lenient_hook(FreeText, text)
    except InvalidValue:
        raise InvalidValue("a node's name", RULE) from None
    odd = "\n" in name or "\t" in name or not name.strip()
    if odd or len(name) > NODE_NAME_CHARACTERS_MAX:
        raise InvalidValue("a node's name", RULE)
    return name
