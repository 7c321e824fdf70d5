"""A token bucket, for rate limits."""


class TokenBucket:
    """A bucket that starts full. All times are in monotonic seconds.

    >>> bucket = TokenBucket(burst=2, rate=1, mono=0.0)
    >>> [bucket.take(0.0) for _ in range(3)], bucket.take(1.0)
    ([True, True, False], True)

    Args:
        burst: the capacity.
        rate: tokens added per second.
        mono: the time now.
    """

    __slots__ = ("_at", "_burst", "_left", "_rate")

    def __init__(self, burst: float, rate: float, mono: float) -> None:
        self._burst = burst
        self._rate = rate
        self._left = burst
        self._at = mono

    def take(self, mono: float, amount: float = 1.0) -> bool:
        """Take ``amount`` tokens if there are enough; return whether there were."""
        self._fill(mono)
        if self._left < amount:
            return False
        self._left -= amount
        return True

    def give_back(self, amount: float = 1.0) -> None:
        """Return tokens that were not needed after all."""
        self._left = min(self._burst, self._left + amount)

    def full(self, mono: float) -> bool:
        """Whether the bucket is full, so that it need not be remembered."""
        self._fill(mono)
        return self._left >= self._burst

    def _fill(self, mono: float) -> None:
        self._left = min(self._burst, self._left + (mono - self._at) * self._rate)
        self._at = mono
