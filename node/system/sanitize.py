"""Escapes untrusted text before it reaches a terminal.

Used at the point of display: a title, a reason or a name may hold anything, and terminals interpret
control characters. Source: CVE-2021-25743, CVE-2021-42574.
"""

import re

# C0 and C1 controls, DEL, line and paragraph separators, and the marks that reorder text.
UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


def clean(text: str) -> str:
    """Escape what a terminal would interpret, and newlines and tabs, so that a line stays one."""
    return UNSAFE.sub(_escape, text).encode("utf-8", "backslashreplace").decode()


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
