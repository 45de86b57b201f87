"""One try of a process, and what its task leaves: the manifest that downstream feeds from."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from kai_airflow.messaging import ranges
from kai_airflow.plan import names

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kai_airflow.plan.names import Consumer, Stream, Subject


@dataclass(frozen=True)
class Try:
    """One try of a process in one pod: subjects and a consumer that belong to it alone.

    ``id`` is made of the task instance's id, a UUID that is new at each try and each clear; see :func:`try_ids`.
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


def try_ids(task_instance_id: str, count: int) -> list[str]:
    """The ids of ``count`` pods that share a task's requests: the first bears the task instance's own."""
    return [task_instance_id, *(f"{task_instance_id}-{n}" for n in range(1, count))]


@dataclass(frozen=True)
class Manifest:
    """What a task leaves in Airflow: where its good outputs are, and how its requests ended. Never a payload.

    ``channels`` gives for each channel ("" is the bare subject) the sequences in the run stream, by the try that
    published them: what an earlier try did well is kept. ``latency``: of a long-lived process, the seconds between the
    publication of what it got and of its last output, by the stream's clock.
    """

    stream: Stream
    process: str
    fed: int
    good: int
    bad: int
    channels: Mapping[str, Mapping[str, tuple[int, ...]]] = field(default_factory=dict)
    latency: float | None = None

    @property
    def sequences(self) -> list[int]:
        """Where all the good outputs are, in the order of their publication."""
        return sorted(n for tries in self.channels.values() for sequences in tries.values() for n in sequences)

    def to_json(self) -> dict[str, Any]:
        """The form that travels as an XCom."""
        channels = {
            name: {
                "count": sum(map(len, tries.values())),
                "sequences": {try_id: ranges.to_text(sequences) for try_id, sequences in tries.items()},
            }
            for name, tries in sorted(self.channels.items())
        }
        known = {name: value for name, value in asdict(self).items() if name != "latency" or value is not None}
        return {**known, "channels": channels}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Manifest:
        """Read it back."""
        channels = {
            name: {try_id: ranges.from_text(text) for try_id, text in channel["sequences"].items()}
            for name, channel in data["channels"].items()
        }
        return cls(**{**data, "channels": channels})


@dataclass(frozen=True, order=True)
class Source:
    """One message that a try is to be fed: its place in the run stream, and the subject it must stand on there."""

    sequence: int
    subject: str


def sources(manifest: Manifest, channels: Iterable[str]) -> list[Source]:
    """What to feed of one upstream process: its good outputs on these channels, in the order of publication."""
    return sorted(
        Source(sequence, Try(manifest.stream, try_id, manifest.process).subject(channel))
        for channel in set(channels)
        for try_id, sequences in manifest.channels.get(channel, {}).items()
        for sequence in sequences
    )
