"""What is left in NATS of products, versions and workflows that no KRT names any more.

Only what a bridge made is looked at: a live stream that has the bridge's own subjects, a run stream, and the buckets
and object stores of the same product and version. A NATS may hold much else.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from nats.js.errors import NotFoundError

from kai_airflow import krt
from kai_airflow.bridge.runs.replies import PART
from kai_airflow.errors import KaiAirflowError
from kai_airflow.messaging.consumers import is_input, listed, pending
from kai_airflow.messaging.errors import NoStreamError, translated
from kai_airflow.messaging.following import Reader
from kai_airflow.messaging.origin import PREFIX
from kai_airflow.plan import compile_product, names

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    from nats.js.api import ConsumerInfo, StreamInfo

    from kai_airflow.bridge.client import Airflow
    from kai_airflow.messaging.connection import Connection
    from kai_airflow.plan import Workflow

BUCKET, STORE = "KV_", "OBJ_"  # NATS keeps buckets and object stores as streams of these names
_NAME = "[a-z0-9-]+"
_VERSION = "v[0-9]+_[0-9]+_[0-9]+"
_LIVE = re.compile(f"({_NAME})_({_VERSION})_({_NAME})")
_RUNS = re.compile(f"({names.RUNS})_({_NAME})_({_NAME})")
_KEPT = re.compile(f"{BUCKET}key-store_({_NAME})(?:_({_VERSION})(?:_({_NAME})(?:_{_NAME})?)?)?")
_STORED = re.compile(f"{STORE}({_NAME})_({_VERSION})(?:_({_NAME}))?_{_NAME}")


class UnknownKrtError(KaiAirflowError):
    """It isn't known what the KRT files name."""


@dataclass(frozen=True)
class Leftover:
    """What no KRT names: ``kind`` says what it is. ``spared``: why it stays all the same, "" if it goes.

    ``stream``: of a consumer, where it is; ``messages`` waited for it, and stay.
    """

    kind: str
    name: str
    messages: int
    bytes: int
    spared: str = ""
    stream: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Named:
    """What KRT files name: the streams, and the owners of buckets, from products to workflows of a version."""

    streams: frozenset[str]
    owners: frozenset[tuple[str, ...]]
    workflows: tuple[Workflow, ...]

    def is_version_of_one(self, stream: names.Stream) -> bool:
        """Whether a live stream is another version's of a workflow that there is."""
        return any(names.versions_of(one.live_stream, one.version).fullmatch(stream) for one in self.workflows)


def named(folders: Iterable[Path]) -> Named:
    """What the KRT files in these folders name.

    :raises UnknownKrtError: a file has errors, or there is none: what it names can't be told from what is left over
    """
    workflows: list[Workflow] = []
    files = [(folder / path, path) for folder in folders for path in krt.find(folder)]
    for file, path in files:
        report = krt.load(file, path)
        if report.product is None:
            raise UnknownKrtError(f"{file} has errors: what it names isn't known. Remedy: kai-airflow validate {file}")
        workflows += compile_product(report.product).workflows
    if not workflows:
        raise UnknownKrtError(
            f"no KRT file below {' and '.join(map(str, folders))}: everything would be left over. "
            "Remedy: name their folder with --dags."
        )
    return _named(workflows)


def _named(workflows: Sequence[Workflow]) -> Named:
    streams: set[str] = set()
    owners: set[tuple[str, ...]] = set()
    for one in workflows:
        owners |= _owned(one.product, names.underscored(one.version), one.name)
        streams |= {one.live_stream, one.run_stream}
        for process in one.processes:
            buckets = process.buckets
            kept = (buckets.shared, buckets.version, buckets.workflow, buckets.process)
            streams |= {f"{BUCKET}{bucket}" for bucket in kept} | {f"{STORE}{process.object_store}"}
    return Named(frozenset(streams), frozenset(owners), tuple(workflows))


async def needed(airflow: Airflow) -> Counter[str]:
    """How many runs that haven't ended carry messages of each stream. Raises AirflowError."""
    return Counter([str(run.conf.get("stream")) async for run in airflow.unfinished(PREFIX)])


async def leftovers(
    connection: Connection, keep: Named, runs: Mapping[str, int], force: Iterable[str] = ()
) -> list[Leftover]:
    """What is left over, in the order in which it may go: a live stream last, since it tells whose the rest is.

    What belongs to a live stream that stays, stays with it.

    :param runs: how many runs need each stream still
    :param force: streams that are to go though messages in them are unprocessed
    :raises MessagingError: NATS doesn't answer, or refuses
    """
    found = {name: info for name, info in (await _streams(connection)).items() if name not in keep.streams}
    forced = frozenset(force)

    async def _spared(name: str, info: StreamInfo) -> str:
        if count := runs.get(name, 0):
            return f"{count} run(s) that carry its messages haven't ended"
        return await _needed(connection, info, keep, found.keys() - forced)

    live = [
        _leftover("live stream", info, "" if name in forced else await _spared(name, info))
        for name, info in found.items()
        if _is_live(info)
    ]
    gone = _owners(one.name for one in live if not one.spared)
    gone -= keep.owners | _owners(one.name for one in live if one.spared)
    buckets = [_leftover("bucket", info) for name, info in found.items() if _is_of(gone, _KEPT, name)]
    stores = [_leftover("object store", info) for name, info in found.items() if _is_of(gone, _STORED, name)]
    run_streams = [
        _leftover("run stream", info, "" if name in forced else await _unfinished(connection, name))
        for name, info in found.items()
        if _is_of(gone, _RUNS, name) and info.config.subjects == [f"{name}.>"]
    ]
    return [*await _deaf(connection, keep), *buckets, *stores, *run_streams, *live]


async def _deaf(connection: Connection, keep: Named) -> list[Leftover]:
    """Consumers of processes that streaming workflows had, or of what they heard; nobody listens on them."""
    found: list[Leftover] = []
    for workflow in keep.workflows:
        if workflow.mode == "stream":
            inputs = {one.consumer for process in workflow.processes if process.live for one in process.live.inputs}
            deaf = [
                info
                for info in await _consumers(connection, workflow.live_stream)
                if is_input(info) and info.name not in inputs and not info.push_bound
            ]
            found += [Leftover("consumer", one.name, pending(one), 0, stream=workflow.live_stream) for one in deaf]
    return found


async def _consumers(connection: Connection, stream: names.Stream) -> list[ConsumerInfo]:
    """Those of a stream that needn't be there."""
    try:
        return await listed(connection, stream)
    except NoStreamError:
        return []


async def remove(connection: Connection, leftover: Leftover) -> None:
    """Delete it with all that it holds; one that is gone already is fine. Raises MessagingError."""
    with translated(f"remove {leftover.name}"):
        try:
            if leftover.stream:
                await connection.js.delete_consumer(leftover.stream, leftover.name)
            else:
                await connection.js.delete_stream(leftover.name)
        except NotFoundError:
            return


def _owners(streams: Iterable[str]) -> frozenset[tuple[str, ...]]:
    """Whose live streams these are: products, versions, workflows of versions, and workflows of any."""
    owners: set[tuple[str, ...]] = set()
    for stream in streams:
        if found := _LIVE.fullmatch(stream):
            product, version, workflow = found.groups()
            owners |= _owned(product, version, workflow)
    return frozenset(owners)


def _owned(product: str, version: str, workflow: str) -> set[tuple[str, ...]]:
    return {(product,), (product, version), (product, version, workflow), (names.RUNS, product, workflow)}


def _is_of(owners: Collection[tuple[str, ...]], pattern: re.Pattern[str], name: str) -> bool:
    """Whether a name of this kind tells one of these owners."""
    found = pattern.fullmatch(name)
    return found is not None and tuple(part for part in found.groups() if part is not None) in owners


def _is_live(info: StreamInfo) -> bool:
    return names.bridge_subjects(names.Stream(str(info.config.name))) in (info.config.subjects or ())


def _leftover(kind: str, info: StreamInfo, spared: str = "") -> Leftover:
    return Leftover(kind, str(info.config.name), info.state.messages, info.state.bytes, spared)


async def _needed(connection: Connection, info: StreamInfo, keep: Named, unnamed: Collection[str]) -> str:
    """Why a live stream stays: for its own sake, or for that of its run stream, which is told by it alone."""
    if why := await _unprocessed(connection, info, keep):
        return why
    for owner in _owners([str(info.config.name)]) - keep.owners:
        if (runs := "_".join(owner)) in unnamed and owner[0] == names.RUNS and await _unfinished(connection, runs):
            return f"a task still works with {runs}"
    return ""


async def _unfinished(connection: Connection, stream: str) -> str:
    return "a task still works with it" if any(map(pending, await listed(connection, stream))) else ""


async def _unprocessed(connection: Connection, info: StreamInfo, keep: Named) -> str:
    """Why a live stream stays: messages that became no run yet, or somebody who takes them in hand."""
    stream = names.Stream(str(info.config.name))
    consumers = await listed(connection, stream)
    intakes = [one for one in consumers if one.name.startswith(f"{names.BRIDGE}-")]
    if waiting := sum(map(pending, intakes)):
        return f"{waiting} message(s) wait to become runs"
    if any(one.num_waiting for one in intakes) and not keep.is_version_of_one(stream):
        return "a bridge of other KRT files serves it"
    if inputs := [one for one in consumers if is_input(one)]:  # its processes took in what they were to
        return _in_use(inputs)
    taken = [one.config.filter_subject or "" for one in intakes]
    taken += [subject for one in intakes for subject in one.config.filter_subjects or ()]
    if count := await _never_taken(connection, stream, taken):
        return f"{count} message(s) that no bridge has ever taken up"
    return ""


def _in_use(inputs: Sequence[ConsumerInfo]) -> str:
    if count := sum(map(pending, inputs)):
        return f"{count} message(s) wait for a process, or are in hand"
    return "a process listens there" if any(one.push_bound for one in inputs) else ""


async def _never_taken(connection: Connection, stream: names.Stream, taken: Iterable[str]) -> int:
    """Messages of processes without an intake, but for what a bridge sent as a reply."""
    own = {subject.removeprefix(f"{stream}.").partition(".")[0] for subject in taken} | {names.BRIDGE}
    reader = Reader(connection, stream, [f"{stream}.>"], bare=True)
    count = 0
    async for one in reader.kept():
        process = one.subject.removeprefix(f"{stream}.").partition(".")[0]
        count += process not in own and PART not in one.headers
    return count


async def _streams(connection: Connection) -> dict[str, StreamInfo]:
    """All streams, by name."""
    found: dict[str, StreamInfo] = {}
    with translated("list streams"):
        while page := await connection.js.streams_info(offset=len(found)):
            found |= {str(info.config.name): info for info in page}
    return found
