"""How often a part may end before it is given up."""

from __future__ import annotations

from dataclasses import dataclass

WITHIN = 60.0  # seconds
TOO_MANY = 3  # deaths within this time
PAUSES = (0.0, 0.0, 5.0)  # seconds before a part is started again, after so many


@dataclass(frozen=True)
class Deaths:
    """The moments, in seconds of any clock, at which a part ended lately."""

    moments: tuple[float, ...] = ()

    def another(self, moment: float) -> Deaths:
        """These and one at ``moment``, without those that are too long ago to count."""
        return Deaths((*(one for one in self.moments if moment - one < WITHIN), moment))

    @property
    def too_many(self) -> bool:
        """Whether to give up."""
        return len(self.moments) >= TOO_MANY

    @property
    def pause(self) -> float:
        """Seconds to wait before the next start."""
        return PAUSES[len(self.moments)]
