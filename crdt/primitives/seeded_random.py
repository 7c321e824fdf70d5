"""Random numbers for the core, drawn from a seed that is handed in.

Stands beside ``replica.py``: incarnations and delays must be random, the core owns no randomness,
and the same seed must give the same run. A counter under the hash is all it takes.
"""

from crdt.primitives.identity import H

DOMAIN = b"gangline/draw/1"


class SeededRandom:
    """A deterministic stream of numbers.

    Args:
        seed: secret bytes; from the operating system in a daemon, from the run's seed in a test.
    """

    def __init__(self, seed: bytes) -> None:
        self._seed = seed
        self._count = 0

    def u32(self) -> int:
        """An integer below 2^32."""
        self._count += 1
        return int.from_bytes(H(DOMAIN + self._seed + self._count.to_bytes(8, "big"))[:4], "big")

    def fraction(self) -> float:
        """A number from 0 up to, not including, 1."""
        return self.u32() / 2**32

    def __repr__(self) -> str:
        return "Draw(***)"
