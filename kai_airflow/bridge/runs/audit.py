"""Messages against runs: each message of a batch trigger is in one run, or a dead letter, or still waits. Pure.

Only what both sides still hold can be compared. What can't be known is told, never taken for well or wrong.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from kai_airflow.messaging import ranges

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from kai_airflow.messaging.origin import Origin

SHOWN = 5  # runs that are named of many


@dataclass(frozen=True)
class Backlog:
    """What a consumer has still to do: behind ``delivered`` all, of what is between it and ``floor`` so many."""

    floor: int
    delivered: int
    unacked: int


@dataclass(frozen=True)
class Held:
    """What a stream holds of a trigger.

    :param messages: when each was published, by sequence, in microseconds since 1970
    :param backlog: of the bridge's consumer of them; None where no bridge has taken them up
    :param grouped: the records that name messages, by the messages' sequences
    :param groups: the backlog of the records
    """

    trigger: str
    messages: Mapping[int, int]
    backlog: Backlog | None
    grouped: Mapping[int, int] = field(default_factory=dict)
    groups: Backlog | None = None


@dataclass(frozen=True)
class Place:
    """A stream: its messages from ``first`` to ``last``, its dead letters, and what became of others."""

    stream: str
    created: str
    first: int
    last: int
    held: tuple[Held, ...]
    buried: frozenset[int] = frozenset()
    settled: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Carrier:
    """A run of the bridge, and the messages that it carries."""

    run_id: str
    origin: Origin


@dataclass(frozen=True)
class Difference:
    """Messages that aren't where they must be. ``kind``: lost, twice or unknown."""

    kind: str
    stream: str
    trigger: str
    sequences: str
    runs: tuple[str, ...]
    text: str


@dataclass(frozen=True)
class Audit:
    """What was found. ``unsure`` says what can't be known."""

    dag_id: str
    messages: int
    in_runs: int
    waiting: int
    dead: int
    settled: int
    differences: tuple[Difference, ...]
    unsure: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def compare(dag_id: str, places: Sequence[Place], runs: Sequence[Carrier], oldest: int | None) -> Audit:
    """Compare what streams hold with what runs carry.

    :param oldest: when the oldest run of the DAG that Airflow knows was due, µs since 1970; None where it knows none
    """
    return _Comparison(dag_id, places, runs, oldest).made()


@dataclass
class _Comparison:
    dag_id: str
    places: Sequence[Place]
    runs: Sequence[Carrier]
    oldest: int | None
    differences: list[Difference] = field(default_factory=list)
    unsure: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def made(self) -> Audit:
        compared = 0
        for place in self.places:
            own = [run for run in self.runs if _is_of(run, place)]
            compared += len(own)
            self._compare(place, own)
        self._say_strangers(len(self.runs) - compared)
        counts = {name: self.counts[name] for name in ("messages", "in_runs", "waiting", "dead", "settled")}
        return Audit(self.dag_id, **counts, differences=tuple(self.differences), unsure=tuple(self.unsure))

    def _compare(self, place: Place, runs: Sequence[Carrier]) -> None:
        known = {held.trigger for held in place.held}
        for trigger in sorted({run.origin.trigger for run in runs} - known):
            count = sum(run.origin.trigger == trigger for run in runs)
            self.unsure.append(f"{count} run(s) are of {trigger!r}, which is no trigger (any more)")
        for held in place.held:
            own = [run for run in runs if run.origin.trigger == held.trigger]
            carriers = self._carriers(place, held, own)
            self._twice(place, held, carriers)
            self._follow(place, held, carriers)

    def _carriers(self, place: Place, held: Held, runs: Sequence[Carrier]) -> dict[int, list[str]]:
        """The runs of each message that is still there; those of what never was are told."""
        carriers: dict[int, list[str]] = {}
        expired: set[str] = set()
        for run in runs:
            wrong = _never_held(place, held, run.origin)
            if wrong:
                self._differ("unknown", place, held, wrong, [run.run_id])
            if run.origin.sequences[0] < place.first:
                expired.add(run.run_id)
            for sequence in run.origin.sequences:
                if sequence in held.messages and sequence not in wrong:
                    carriers.setdefault(sequence, []).append(run.run_id)
        if expired:
            self.unsure.append(
                f"{len(expired)} run(s) of {held.trigger!r} carry messages that {place.stream} keeps no longer"
            )
        return carriers

    def _twice(self, place: Place, held: Held, carriers: Mapping[int, Sequence[str]]) -> None:
        alike: dict[tuple[str, ...], list[int]] = {}
        for sequence, run_ids in sorted(carriers.items()):
            if len(run_ids) > 1:
                alike.setdefault(tuple(run_ids), []).append(sequence)
        for ids, sequences in alike.items():
            self._differ("twice", place, held, sequences, ids)

    def _follow(self, place: Place, held: Held, carriers: Mapping[int, object]) -> None:
        """Where each message is that is in no run."""
        rest = [sequence for sequence in held.messages if sequence not in carriers]
        dead = [sequence for sequence in rest if sequence in place.buried]
        settled = [sequence for sequence in rest if sequence in place.settled - place.buried]
        rest = sorted(set(rest).difference(dead, settled))
        waiting, excess = _waiting(held, rest)
        gone = sorted(set(rest) - waiting)
        is_old = {one: self.oldest is None or held.messages[one] < self.oldest for one in gone}
        self._count(messages=len(held.messages), in_runs=len(carriers), dead=len(dead), settled=len(settled))
        self._count(waiting=len(waiting) - len(excess))
        self._say_old(place, held, [one for one in gone if is_old[one]])
        self._differ("lost", place, held, [one for one in gone if not is_old[one]], ())
        self._differ("lost", place, held, excess, ())

    def _say_old(self, place: Place, held: Held, old: Sequence[int]) -> None:
        if old:
            which = f"message(s) {ranges.to_text(old)} of {held.trigger!r} in {place.stream} are in no run"
            than = "older than any run of the DAG that Airflow knows: their runs may have been deleted"
            none = "Airflow knows no run of the DAG (any more)"
            self.unsure.append(f"{which}, and {none if self.oldest is None else than}")

    def _say_strangers(self, count: int) -> None:
        if count:
            self.unsure.append(
                f"{count} run(s) carry messages of streams that were deleted or made anew since, or aren't this DAG's"
            )

    def _differ(self, kind: str, place: Place, held: Held, sequences: Iterable[int], run_ids: Iterable[str]) -> None:
        if found := sorted(sequences):
            text = ranges.to_text(found)
            said = _TEXTS[kind].format(text, held.trigger, place.stream, _some(tuple(run_ids)))
            self.differences.append(Difference(kind, place.stream, held.trigger, text, tuple(run_ids), said))

    def _count(self, **counts: int) -> None:
        for name, count in counts.items():
            self.counts[name] += count


_TEXTS = {
    "lost": "message(s) {0} of {1} in {2}: in no run, no dead letters, and not waiting",
    "twice": "message(s) {0} of {1} in {2}: in several runs, {3}",
    "unknown": "message(s) {0} of {1}: run {3} carries them, and {2} never held them, or they were deleted there",
}


def _some(run_ids: Sequence[str]) -> str:
    more = f" and {len(run_ids) - SHOWN} more" if len(run_ids) > SHOWN else ""
    return ", ".join(run_ids[:SHOWN]) + more


def _is_of(run: Carrier, place: Place) -> bool:
    return (run.origin.stream, run.origin.created) == (place.stream, place.created)


def _never_held(place: Place, held: Held, origin: Origin) -> set[int]:
    """Of what a run names: messages that should be there, and aren't, or aren't what the run says."""
    wrong = {one for one in origin.sequences if place.first <= one <= place.last and one not in held.messages}
    first = origin.sequences[0]
    if first in held.messages and held.messages[first] != origin.published:
        wrong.add(first)
    return wrong


def _waiting(held: Held, rest: Iterable[int]) -> tuple[set[int], list[int]]:
    """Of messages in no run, those that wait; and of these, those that can't all be: consumers await fewer acks."""
    waiting: set[int] = set()
    excess: list[int] = []
    messages, records = _Look(held.backlog), _Look(held.groups)
    for sequence in rest:
        record = held.grouped.get(sequence)
        if messages.waits(sequence) if record is None else records.waits(record, sequence):
            waiting.add(sequence)
    for look in (messages, records):
        excess += look.excess()
    return waiting, sorted(excess)


@dataclass
class _Look:
    """A consumer, asked for one after the other."""

    backlog: Backlog | None
    _between: dict[int, list[int]] = field(default_factory=dict)

    def waits(self, sequence: int, message: int = 0) -> bool:
        """Whether it may have this still to do."""
        if self.backlog is None or sequence > self.backlog.delivered:
            return True
        if sequence <= self.backlog.floor or not self.backlog.unacked:
            return False
        self._between.setdefault(sequence, []).append(message or sequence)
        return True

    def excess(self) -> Iterator[int]:
        """What it can't all have to do, because it awaits fewer acks."""
        if self.backlog is not None and len(self._between) > self.backlog.unacked:
            for messages in self._between.values():
                yield from messages
