"""Rewords validation errors of msgspec for people: first the field, then what is wrong."""

import re

_PATH = re.compile(r" - at `\$\.?(.*?)`$")
_REWORDED = (
    (re.compile(r"^Expected `str` of length <= (\d+)$"), r"at most \1 characters"),
    (re.compile(r"^Expected `str` matching regex '\^\[0-9a-f\]\{(\d+)\}\$'$"), r"\1 hex digits"),
)


def humanize(fault: str) -> str:
    """Reword an error: ``name: at most 64 characters``."""
    if found := re.match(r"Object (missing required|contains unknown) field `(\w+)`", fault):
        lacks = found[1].startswith("missing")
        return f"{found[2]} is missing" if lacks else f"there is no field {found[2]}"
    where = _PATH.search(fault)
    what = _PATH.sub("", fault)
    for pattern, words in _REWORDED:
        what = pattern.sub(words, what)
    what = what.replace("`", "")
    what = what[:1].lower() + what[1:]
    return f"{where[1]}: {what}" if where is not None and where[1] else what
