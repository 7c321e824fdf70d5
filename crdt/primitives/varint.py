"""Unsigned integers in lib0's variable-length format, and a strict reader of bytes.

Seven bits per byte, lowest first; the high bit is set on every byte but the last. Only the shortest
form is accepted. Source: lib0 ``encoding.js``.
"""

from machines.errors import InvalidValue

from crdt.primitives import limits


class Reader:
    """Reads bytes from the front. Every method raises ``InvalidValue`` at the end of the data.

    >>> Reader(block(b"abc")).block(8)
    b'abc'
    """

    __slots__ = ("at", "data", "end")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.end = len(data)

    def uint(self, most: int = limits.INTEGER_MAX) -> int:
        """Read an integer of at most ``most``.

        Raises:
            InvalidValue: incomplete, not in its shortest form, or too large.
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
        """Read ``size`` bytes.

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
        """Read a length of at most ``most``, then that many bytes."""
        return self.take(self.uint(most))

    def text(self, most: int) -> str:
        """Read a length of at most ``most`` bytes, then that much UTF-8.

        Raises:
            InvalidValue: not UTF-8.
        """
        try:
            return self.block(most).decode("utf-8", "strict")
        except UnicodeDecodeError:
            raise InvalidValue("text", "UTF-8") from None

    def count(self, weight: int, most: int = limits.INTEGER_MAX) -> int:
        """Read the number of items that follow, each at least ``weight`` bytes long.

        Raises:
            InvalidValue: more than ``most``, or than fit into the bytes left.
        """
        count = self.uint(most)
        if count * weight > self.end - self.at:
            raise InvalidValue("count", "no more than fit into the bytes left")
        return count

    def finish(self) -> None:
        """Check that no bytes are left.

        Raises:
            InvalidValue: some are.
        """
        if self.at != self.end:
            raise InvalidValue("end", f"here, but {self.end - self.at} bytes follow")


def uint(value: int) -> bytes:
    """Encode an integer in its shortest form.

    >>> uint(300).hex()
    'ac02'
    """
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def block(data: bytes) -> bytes:
    """Encode the length of ``data``, then ``data``."""
    return uint(len(data)) + data
