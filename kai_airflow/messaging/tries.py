"""One try of a process, and what it leaves: the manifest that downstream feeds from."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from kai_airflow.plan import names

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kai_airflow.plan.names import Consumer, Stream, Subject


@dataclass(frozen=True)
class Try:
    """One try of a process in a run: subjects and a consumer that belong to it alone.

    ``id`` is the task instance's id, a UUID that is new at each try and each clear.
    """

    stream: Stream
    id: str
    process: str

    @property
    def input(self) -> Subject:
        """The one subject that the process listens to."""
        return names.try_input(self.stream, self.id)

    @property
    def output(self) -> Subject:
        """The subject that the process publishes on."""
        return names.try_output(self.stream, self.id, self.process)

    @property
    def outputs(self) -> Subject:
        """A filter for all that the process publishes, on whatever channel."""
        return names.try_outputs(self.stream, self.id)

    @property
    def consumer(self) -> Consumer:
        """The durable consumer that the process binds to."""
        return names.consumer(self.input, self.process)

    def subject(self, channel: str) -> str:
        """Where the process publishes on this channel ("" is its bare subject)."""
        return f"{self.output}.{channel}" if channel else self.output

    def channel(self, subject: str) -> str:
        """The channel that a message on this subject was published on."""
        return subject[len(self.output) + 1 :]


@dataclass(frozen=True)
class Channel:
    """The good outputs of a try on one channel, as sequences of the run stream."""

    sequences: tuple[int, ...]

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.sequences)


@dataclass(frozen=True)
class Manifest:
    """What a try leaves in Airflow: where its good outputs are, and how its requests ended. Never a payload."""

    stream: str
    try_id: str
    process: str
    fed: int
    good: int
    bad: int
    channels: Mapping[str, Channel] = field(default_factory=dict)

    @property
    def published(self) -> int:
        """How many good messages the try published, on all channels."""
        return sum(channel.count for channel in self.channels.values())

    def to_json(self) -> dict[str, Any]:
        """The form that travels as an XCom."""
        channels = {
            name: {"count": channel.count, "sequences": list(channel.sequences)}
            for name, channel in sorted(self.channels.items())
        }
        return {**asdict(self), "channels": channels}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Manifest:
        """Read it back."""
        channels = {name: Channel(tuple(channel["sequences"])) for name, channel in data["channels"].items()}
        return cls(**{**data, "channels": channels})


@dataclass(frozen=True, order=True)
class Source:
    """One message that a try is to be fed: its place in the run stream, and the subject it must stand on there."""

    sequence: int
    subject: str


def sources(manifest: Manifest, channels: Iterable[str]) -> list[Source]:
    """What to feed of one upstream process: its good outputs on these channels, in the order of publication."""
    upstream = Try(names.Stream(manifest.stream), manifest.try_id, manifest.process)
    return sorted(
        Source(sequence, upstream.subject(channel))
        for channel in set(channels)
        for sequence in manifest.channels.get(channel, Channel(())).sequences
    )
