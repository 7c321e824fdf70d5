"""Unsigned integers in lib0's variable length, read strictly.

Stands under ``yjs_update.py`` and ``messages.py``: seven bits a byte, the lowest first, the high
bit on every byte but the last. Only the shortest form is taken. Source: lib0 ``encoding.js``.
"""

from machines.errors import InvalidValue

from crdt.primitives import limits


class Reader:
    """Reads bytes from the front; whoever runs past the end gets ``InvalidValue``."""

    __slots__ = ("at", "data", "end")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.end = len(data)

    def uint(self, most: int = limits.INTEGER_MAX) -> int:
        """One integer, at most ``most``.

        Raises:
            InvalidValue: cut short, longer than need be, or too large.
        """
        data, at = self.data, self.at
        value = shift = 0
        while at < self.end:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if byte == 0 and shift:
                    raise InvalidValue("varint", "in its shortest form")
                if value > most:
                    raise InvalidValue("varint", f"at most {most}")
                self.at = at
                return value
            shift += 7
            if shift > limits.CLIENT_ID_BITS:
                break
        raise InvalidValue("varint", "complete, and below 2^53")

    def take(self, size: int) -> bytes:
        """So many bytes.

        Raises:
            InvalidValue: fewer are left.
        """
        stop = self.at + size
        if stop > self.end:
            raise InvalidValue("length", f"at most the {self.end - self.at} bytes left")
        found = self.data[self.at : stop]
        self.at = stop
        return found

    def block(self, most: int) -> bytes:
        """A length, at most ``most``, and so many bytes."""
        return self.take(self.uint(most))

    def text(self, most: int) -> str:
        """A length and so much UTF-8.

        Raises:
            InvalidValue: not UTF-8.
        """
        try:
            return self.block(most).decode("utf-8", "strict")
        except UnicodeDecodeError:
            raise InvalidValue("text", "UTF-8") from None

    def count(self, weight: int, most: int = limits.INTEGER_MAX) -> int:
        """How many things follow, each of at least ``weight`` bytes: no more than can be left.

        Raises:
            InvalidValue: more than fit.
        """
        count = self.uint(most)
        if count * weight > self.end - self.at:
            raise InvalidValue("count", "no more than fit the bytes left")
        return count

    def finish(self) -> None:
        """Nothing may follow.

        Raises:
            InvalidValue: something does.
        """
        if self.at != self.end:
            raise InvalidValue("end", f"here, but {self.end - self.at} bytes follow")


def uint(value: int) -> bytes:
    """An integer in its shortest form."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def block(data: bytes) -> bytes:
    """Bytes behind their length."""
    return uint(len(data)) + data
