"""When a dead child may be started again: after 1, 2, 4 ... 30 seconds, and from 1 again once it has lived."""

from __future__ import annotations

import time

_FIRST = 1.0  # seconds, as is the longest wait below
_LONGEST = 30.0
_LIVED = 60.0  # seconds of life after which a death counts as the first one again


class Backoff:
    """The waiting times of one child. Times are seconds of the monotonic clock."""

    def __init__(self) -> None:
        self.failures = 0
        self._not_before = 0.0
        self._started = 0.0
        self.waiting = False

    def started(self) -> None:
        """The child was started now."""
        self._started = time.monotonic()
        self.waiting = False

    def failed(self) -> float:
        """The child died now; returns the seconds to wait."""
        now = time.monotonic()
        if self._started and now - self._started > _LIVED:
            self.failures = 0
        delay = min(_FIRST * 2.0**self.failures, _LONGEST)
        self.failures += 1
        self._not_before = now + delay
        self.waiting = True
        return delay

    def due(self) -> bool:
        """Whether the child may be started now."""
        return time.monotonic() >= self._not_before
