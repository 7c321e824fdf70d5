"""Checked scalar values: identifiers, branch, commit, free text, public key, instant.

Each is a subclass of ``str`` or ``bytes`` whose ``__new__`` checks its rule (protocol §4), so an
invalid one cannot be built by constructor, decoding, copying or unpickling. All raise
``InvalidValue``.
"""

import re
from datetime import date
from typing import ClassVar, Final, Self

from machines.errors import InvalidValue

FREE_TEXT_BYTES_MAX: Final = 4096
BRANCH_BYTES_MAX: Final = 255
NODE_PUBKEY_BYTES: Final = 32
U32_MAX: Final = 2**32 - 1
I32_MIN: Final = -(2**31)
I32_MAX: Final = 2**31 - 1

_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_GIT_SHA = re.compile(r"[0-9a-f]{3,64}")
_PUBKEY_HEX = re.compile(r"[0-9a-f]{64}")
_CONTROL_IN_TEXT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class _Text(str):
    """A ``str`` that is always built through its class, also by unpickling."""

    __slots__ = ()
    what: ClassVar[str]
    rule: ClassVar[str]

    def __reduce__(self) -> tuple[type[Self], tuple[str]]:
        return type(self), (str.__str__(self),)

    @classmethod
    def _invalid(cls) -> InvalidValue:
        return InvalidValue(cls.what, cls.rule)


class _Identifier(_Text):
    """A name that is safe in paths, URLs and shells (protocol §4)."""

    __slots__ = ()
    rule = "1 to 128 of A-Z a-z 0-9 . _ -, starting with a letter or digit"

    def __new__(cls, text: str) -> Self:
        if not isinstance(text, str) or _IDENTIFIER.fullmatch(text) is None:
            raise cls._invalid()
        return super().__new__(cls, text)


class StoryId(_Identifier):
    """The id of a story."""

    __slots__ = ()
    what = "a story"


class AgentName(_Identifier):
    """The name of a coding agent."""

    __slots__ = ()
    what = "an agent"


class Label(_Identifier):
    """A label of a story."""

    __slots__ = ()
    what = "a label"


class GitSha(_Text):
    """A commit id of SHA-1 or SHA-256, which may be abbreviated."""

    __slots__ = ()
    what = "a commit"
    rule = "3 to 64 lower-case hex digits"

    def __new__(cls, text: str) -> Self:  # noqa: D102 - see the class
        if not isinstance(text, str) or _GIT_SHA.fullmatch(text) is None:
            raise cls._invalid()
        return super().__new__(cls, text)


# What `git check-ref-format` refuses after `refs/heads/`; the numbers are from its manual page.
_BRANCH_FAULTS: Final = tuple(
    (re.compile(pattern), fault)
    for pattern, fault in (
        (r"(?:\A|/)\.", "has a part that starts with a dot"),  # 1
        (r"\.lock(?:/|\Z)", "has a part that ends with .lock"),  # 1
        (r"\.\.", "has two dots in a row"),  # 3
        (r"[\x00-\x1f\x7f-\x9f]", "has a control character"),  # 4; C1 is our own rule
        (r"[ ~^:?*\[\\]", "has one of the characters: space ~ ^ : ? * [ \\"),  # 4, 5, 10
        (r"\A/|/\Z|//|\A\Z", "has an empty part"),  # 6
        (r"\.\Z", "ends with a dot"),  # 7
        (r"@\{", "has @{ in it"),  # 8
        (r"\A-", "starts with a dash, as an option does"),  # our own rule
    )
)


def branch_fault(text: str) -> str | None:
    """Return why a text is not a branch name; ``None`` if it is.

    The rules are those of ``git check-ref-format refs/heads/NAME``, and three of our own: no dash
    at the start, no C1 control characters, at most 255 bytes of UTF-8.

    >>> branch_fault("feature..x")
    'has two dots in a row'
    """
    # Length first; each character takes at least one byte.
    if len(text) > BRANCH_BYTES_MAX or _utf8_size(text) > BRANCH_BYTES_MAX:
        return f"is longer than {BRANCH_BYTES_MAX} bytes or not UTF-8"
    return next((fault for rule, fault in _BRANCH_FAULTS if rule.search(text) is not None), None)


class BranchName(_Text):
    """The name of a git branch; ``branch_fault`` has the rules."""

    __slots__ = ()
    what = "a branch"
    rule = (
        "a name that `git check-ref-format refs/heads/NAME` takes, not starting with '-', "
        "at most 255 bytes"
    )

    def __new__(cls, text: str) -> Self:  # noqa: D102 - see the class
        if not isinstance(text, str):
            raise cls._invalid()
        if (fault := branch_fault(text)) is not None:
            raise InvalidValue(cls.what, f"{cls.rule}; this one {fault}")
        return super().__new__(cls, text)


class FreeText(_Text):
    """Free text: at most 4 KiB of UTF-8, no control characters except newline and tab."""

    __slots__ = ()
    what = "a text"
    rule = "at most 4096 bytes of UTF-8 without control characters other than newline and tab"

    def __new__(cls, text: str) -> Self:  # noqa: D102 - see the class
        if not isinstance(text, str) or len(text) > FREE_TEXT_BYTES_MAX:
            raise cls._invalid()
        if _CONTROL_IN_TEXT.search(text) is not None or _utf8_size(text) > FREE_TEXT_BYTES_MAX:
            raise cls._invalid()
        return super().__new__(cls, text)


def _utf8_size(text: str) -> float:
    """Return the size in bytes of a text; infinity if it has a lone surrogate."""
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        return float("inf")


class NodePubkey(bytes):
    """The Ed25519 public key of a node, which is its id: 32 bytes, as text 64 hex digits."""

    __slots__ = ()
    what: ClassVar[str] = "a node's key"
    rule: ClassVar[str] = "32 bytes, as text 64 lower-case hex digits"

    def __new__(cls, raw: bytes) -> Self:  # noqa: D102 - see the class
        if not isinstance(raw, bytes) or len(raw) != NODE_PUBKEY_BYTES:
            raise InvalidValue(cls.what, cls.rule)
        return super().__new__(cls, raw)

    @classmethod
    def from_hex(cls, text: str) -> Self:
        """Decode 64 lower-case hex digits. (``bytes.fromhex`` also accepts capitals and spaces.)

        Raises:
            InvalidValue: the text is not 64 lower-case hex digits.
        """
        if not isinstance(text, str) or _PUBKEY_HEX.fullmatch(text) is None:
            raise InvalidValue(cls.what, cls.rule)
        return cls(bytes.fromhex(text))

    @property
    def short(self) -> str:
        """The first 8 hex digits, for people."""
        return self[:4].hex()

    def __str__(self) -> str:
        return self.hex()

    def __repr__(self) -> str:
        return f"NodePubkey({self.hex()!r})"

    def __reduce__(self) -> tuple[type[Self], tuple[bytes]]:
        return type(self), (self[:],)


_INSTANT = re.compile(
    r"20[2-9][0-9]-[01][0-9]-[0-3][0-9]"
    r"T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\.[0-9]{3}Z"
)
# RFC 3339 §5.6 lets T and Z be written in lower case; §4.3: -00:00 is UTC too.
_INSTANT_LENIENT = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt]([0-9]{2}:[0-9]{2}:[0-9]{2})"
    r"(?:\.([0-9]{1,3}))?(?:[Zz]|[+-]00:00)"
)
_DAY_MS: Final = 86_400_000
_EPOCH_ORDINAL: Final = date(1970, 1, 1).toordinal()
_MS_MIN: Final = (date(2020, 1, 1).toordinal() - _EPOCH_ORDINAL) * _DAY_MS
_MS_END: Final = (date(2100, 1, 1).toordinal() - _EPOCH_ORDINAL) * _DAY_MS


class Instant(_Text):
    """An instant in UTC with milliseconds, from 2020 until 2100: ``YYYY-MM-DDTHH:MM:SS.mmmZ``.

    The width is fixed, so instants sort as text.

    >>> Instant.from_ms(1_767_268_800_000)
    '2026-01-01T12:00:00.000Z'
    """

    __slots__ = ()
    what = "an instant"
    rule = "YYYY-MM-DDTHH:MM:SS.mmmZ, in UTC, from 2020 until 2100"

    def __new__(cls, text: str) -> Self:  # noqa: D102 - see the class
        if not isinstance(text, str) or _INSTANT.fullmatch(text) is None:
            raise cls._invalid()
        try:
            date.fromisoformat(text[:10])
        except ValueError:
            raise cls._invalid() from None
        return super().__new__(cls, text)

    @classmethod
    def parse_lenient(cls, text: str) -> Self:
        """Parse any RFC 3339 instant in UTC with up to three decimals, from a local caller.

        Raises:
            InvalidValue: not such an instant, not from 2020 until 2100, or a leap second.
        """
        found = _INSTANT_LENIENT.fullmatch(text) if isinstance(text, str) else None
        if found is None:
            raise InvalidValue(cls.what, "an RFC 3339 instant in UTC, from 2020 until 2100")
        day, time, decimals = found.groups("")
        return cls(f"{day}T{time}.{decimals:0<3}Z")

    @classmethod
    def from_ms(cls, unix_ms: int) -> Self:
        """Make an instant from milliseconds since 1970.

        Raises:
            InvalidValue: not from 2020 until 2100.
        """
        if type(unix_ms) is not int or not _MS_MIN <= unix_ms < _MS_END:
            raise cls._invalid()
        days, rest = divmod(unix_ms, _DAY_MS)
        seconds, millis = divmod(rest, 1000)
        minutes, second = divmod(seconds, 60)
        hour, minute = divmod(minutes, 60)
        day = date.fromordinal(_EPOCH_ORDINAL + days).isoformat()
        text = f"{day}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z"
        return super().__new__(cls, text)

    @classmethod
    def nearest(cls, unix_ms: int) -> Self:
        """Make the instant nearest to ``unix_ms``, milliseconds since 1970."""
        return cls.from_ms(min(max(unix_ms, _MS_MIN), _MS_END - 1))

    @property
    def is_edge(self) -> bool:
        """Whether it is the first or last possible instant, which means a wrong clock."""
        return self.ms in (_MS_MIN, _MS_END - 1)

    @property
    def ms(self) -> int:
        """Milliseconds since 1970."""
        days = date.fromisoformat(self[:10]).toordinal() - _EPOCH_ORDINAL
        seconds = int(self[11:13]) * 3600 + int(self[14:16]) * 60 + int(self[17:19])
        return days * _DAY_MS + seconds * 1000 + int(self[20:23])
