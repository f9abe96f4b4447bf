"""When to try again. Time and chance are arguments."""

from __future__ import annotations

from collections.abc import Callable

_FIRST = 0.5
_LONGEST = 15.0


class Pauses:
    """Pauses that grow and are uneven, so that the clients of a restarted server do not come back in one wave."""

    def __init__(self, chance: Callable[[], float]) -> None:
        self._chance = chance
        self._failures = 0
        self._not_before = 0.0

    def after_success(self) -> None:
        self._failures = 0

    def not_before(self, time: float) -> None:
        """The server has named a time."""
        self._not_before = max(self._not_before, time)

    def at_once(self) -> None:
        self._not_before = 0.0

    def next(self, now: float) -> float:
        """When the next attempt may begin."""
        step = min(_LONGEST, _FIRST * 2.0 ** min(self._failures, 10))
        self._failures += 1
        until = max(self._not_before, now + step / 2 + self._chance() * step / 2)
        self._not_before = 0.0
        return until
