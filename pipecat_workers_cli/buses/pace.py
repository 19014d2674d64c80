"""How fast something may go on: a bucket that fills at a steady pace and is spent from."""

import asyncio


class Pace:
    """Lets through so much a second, and more at once if there was less before."""

    def __init__(self, per_second: float, *, burst: float) -> None:
        """Begin with a full bucket.

        Args:
            per_second: How much goes through in the long run.
            burst: How much may at once.
        """
        self._per_second = per_second
        self._burst = burst
        self._left = burst
        self._at: float | None = None

    async def spend(self, amount: float) -> None:
        """Take an amount, which may be more than is left; then wait until it is paid back."""
        now = asyncio.get_running_loop().time()
        if self._at is not None:
            self._left = min(self._burst, self._left + (now - self._at) * self._per_second)
        self._at = now
        self._left -= amount
        if self._left < 0:
            await asyncio.sleep(-self._left / self._per_second)
