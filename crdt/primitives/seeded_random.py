"""Random numbers for the core, derived from a seed: hash(seed, counter).

Incarnations and delays must be random, but the core is pure: the same seed gives the same run.
"""

from crdt.primitives.identity import H

DOMAIN = b"gangline/draw/1"


class SeededRandom:
    """A deterministic stream of numbers.

    >>> SeededRandom(b"seed").u32() == SeededRandom(b"seed").u32()
    True

    Args:
        seed: secret bytes: from the operating system in a daemon, fixed in a test.
    """

    def __init__(self, seed: bytes) -> None:
        self._seed = seed
        self._count = 0

    def u32(self) -> int:
        """Return an integer below 2^32."""
        self._count += 1
        return int.from_bytes(H(DOMAIN + self._seed + self._count.to_bytes(8, "big"))[:4], "big")

    def fraction(self) -> float:
        """Return a number in ``[0, 1)``."""
        return self.u32() / 2**32

    def __repr__(self) -> str:
        return "SeededRandom(***)"
