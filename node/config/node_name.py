"""What a node may be called: the same whoever is asked, before anything is written or sent.

Stands under ``init_join.py``, ``join_authorizer.py``, the local API and the command line. Stricter
than a record, which takes any text of 64 characters (protocol §4): a name stands in tables.
"""

from typing import Final

from crdt.records.bodies import NODE_NAME_CHARACTERS_MAX
from machines.codec import lenient_hook
from machines.errors import InvalidValue
from machines.values import FreeText

RULE: Final = f"1 to {NODE_NAME_CHARACTERS_MAX} characters on one line, no control characters"


def node_name(text: str) -> FreeText:
    """A name, in NFC.

    Raises:
        InvalidValue: nothing can be called that.
    """
    try:
        name: FreeText = lenient_hook(FreeText, text)
    except InvalidValue:
        raise InvalidValue("a node's name", RULE) from None
    odd = "\n" in name or "\t" in name or not name.strip()
    if odd or len(name) > NODE_NAME_CHARACTERS_MAX:
        raise InvalidValue("a node's name", RULE)
    return name
