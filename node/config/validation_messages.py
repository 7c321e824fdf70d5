"""What msgspec finds wrong with a value, in the order and the words of a person.

Stands at the edge, where a value comes from a caller or a file. Gives where, then what.
"""

import re

_WHERE = re.compile(r" - at `\$\.?(.*?)`$")
_WORDS = (
    (re.compile(r"^Expected `str` of length <= (\d+)$"), r"at most \1 characters"),
    (re.compile(r"^Expected `str` matching regex '\^\[0-9a-f\]\{(\d+)\}\$'$"), r"\1 hex digits"),
)


def plain(fault: str) -> str:
    """``name: at most 64 characters``, of what msgspec says."""
    if found := re.match(r"Object (missing required|contains unknown) field `(\w+)`", fault):
        lacks = found[1].startswith("missing")
        return f"{found[2]} is missing" if lacks else f"there is no field {found[2]}"
    where = _WHERE.search(fault)
    what = _WHERE.sub("", fault)
    for pattern, words in _WORDS:
        what = pattern.sub(words, what)
    what = what.replace("`", "")
    what = what[:1].lower() + what[1:]
    return f"{where[1]}: {what}" if where is not None and where[1] else what
