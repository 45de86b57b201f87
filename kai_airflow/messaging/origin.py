"""Which messages of a trigger a run carries: what the bridge writes into its conf, and the intake reads. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kai_airflow.messaging import ranges
from kai_airflow.messaging.errors import OriginError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# Run ids of the bridge begin so; a person's, a schedule's and a backfill's don't.
PREFIX = "kai__"
REPLAY_PREFIX = "kai-replay__"

MOST = 100_000  # messages of a run; messages_per_run is at most a tenth of it


@dataclass(frozen=True)
class Origin:
    """Messages of one trigger in KAI's stream.

    :param created: when that stream was made (:func:`kai_airflow.messaging.streams.created`)
    :param sequences: rising, at least one
    :param published: when the first of them was published, in microseconds since 1970: sequences start again where a
        stream is made anew, and no two messages have both alike
    """

    stream: str
    created: str
    trigger: str
    sequences: tuple[int, ...]
    published: int

    @property
    def run_id(self) -> str:
        """The run that these messages start."""
        return f"{PREFIX}{self.created}__{self.sequences[0]}"

    def replay_id(self, moment: str) -> str:
        """The run that they start when they are replayed at that moment."""
        return f"{REPLAY_PREFIX}{moment}__{self.created}__{self.sequences[0]}"

    def to_conf(self) -> dict[str, Any]:
        """As it stands in a run's conf."""
        return {
            "trigger": self.trigger,
            "stream": self.stream,
            "created": self.created,
            "sequences": ranges.to_text(self.sequences),
            "published": str(self.published),  # more digits than JSON readers keep of a number
        }

    @classmethod
    def from_conf(cls, conf: Mapping[str, Any]) -> Origin:
        """Read it back. Raises OriginError for what :meth:`to_conf` doesn't write."""
        try:
            sequences = ranges.from_text(conf["sequences"], MOST)
            found = cls(conf["stream"], conf["created"], conf["trigger"], sequences, int(conf["published"]))
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise OriginError(f"{type(error).__name__}: {error}") from error
        if not sequences or not all(isinstance(one, str) for one in (found.stream, found.created, found.trigger)):
            raise OriginError("it names no message")
        return found

    def is_of(self, other: Origin) -> bool:
        """Whether both are messages of one trigger in one stream."""
        return (self.stream, self.created, self.trigger) == (other.stream, other.created, other.trigger)


def is_origin(conf: Mapping[str, Any]) -> bool:
    """Whether a run's conf names messages of a stream, and doesn't hold its request itself."""
    return "sequences" in conf


def without(sequences: Iterable[int], done: Iterable[int]) -> tuple[int, ...]:
    """Those that aren't done."""
    over = set(done)
    return tuple(number for number in sequences if number not in over)


def request_of_run(run_id: str) -> tuple[str, int] | None:
    """When the stream of a run's first message was made, and that message's sequence: what :attr:`Origin.run_id` says.

    None for a run that the bridge didn't start.
    """
    created, _, sequence = run_id.removeprefix(PREFIX).partition("__")
    if not run_id.startswith(PREFIX) or not created or not (sequence.isascii() and sequence.isdigit()):
        return None
    return created, int(sequence)
