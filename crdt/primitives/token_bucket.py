"""A token bucket: so much at once, so much a second after that.

Stands under ``rate_limits.py``, and under the door of the shell; handed the time in monotonic
seconds.
"""


class TokenBucket:
    """One bucket, full at first.

    Args:
        burst: what may be taken at once.
        rate: what flows back in a second.
    """

    __slots__ = ("_at", "_burst", "_left", "_rate")

    def __init__(self, burst: float, rate: float, mono: float) -> None:
        self._burst = burst
        self._rate = rate
        self._left = burst
        self._at = mono

    def take(self, mono: float, amount: float = 1.0) -> bool:
        """Take some out; says whether so much was there. If not, nothing is taken."""
        self._fill(mono)
        if self._left < amount:
            return False
        self._left -= amount
        return True

    def give_back(self, amount: float = 1.0) -> None:
        """Put back what was taken for nothing."""
        self._left = min(self._burst, self._left + amount)

    def full(self, mono: float) -> bool:
        """Whether nothing is missing: then the bucket need not be remembered."""
        self._fill(mono)
        return self._left >= self._burst

    def _fill(self, mono: float) -> None:
        self._left = min(self._burst, self._left + (mono - self._at) * self._rate)
        self._at = mono
