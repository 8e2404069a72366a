"""A clock that moves only when told to: tests and the in-process simulation wait for nothing."""

from datetime import UTC, datetime, timedelta


class VirtualClock:
    """Satisfies `billing.clock.Clock`. `sleep` advances it; `slept` keeps every wait that was asked for."""

    def __init__(self, start: datetime) -> None:
        self.set(start)
        self.slept: list[float] = []

    def now(self) -> datetime:
        return self._now

    def set(self, instant: datetime) -> None:
        """Jump to an aware instant, also backwards."""
        if instant.tzinfo is None:
            raise ValueError("A clock needs an aware instant, with its time zone.")
        self._now = instant.astimezone(UTC)

    def advance(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)

    def sleep(self, seconds: float) -> None:
        if seconds > 0:
            self.slept.append(seconds)
            self.advance(seconds)
