"""One execution of a process's task: what earlier tries left is taken over, the rest is fed to pods of its own."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from kai_airflow import kube
from kai_airflow.messaging.drain import acked
from kai_airflow.messaging.errors import MessagingError
from kai_airflow.messaging.feed import close_input, fed, feed, open_input
from kai_airflow.messaging.outcome import manifest, settle
from kai_airflow.messaging.outputs import published
from kai_airflow.messaging.tries import Try, try_ids
from kai_airflow.operators.deferred import Wait
from kai_airflow.operators.memory import Begun
from kai_airflow.operators.part import followed
from kai_airflow.operators.pods import KubeError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from kai_airflow.errors import KaiAirflowError
    from kai_airflow.messaging.connection import Connection
    from kai_airflow.messaging.feed import Share
    from kai_airflow.messaging.outcome import Outcome
    from kai_airflow.messaging.outputs import Complaint
    from kai_airflow.messaging.tries import Manifest, Source
    from kai_airflow.operators.memory import Memory
    from kai_airflow.operators.part import Part
    from kai_airflow.operators.pods import Pods
    from kai_airflow.operators.shown import Log
    from kai_airflow.plan import Process, Workflow

# How long a process may take to subscribe, in seconds: an image of some GB, on a node that has to be started first.
START_TIMEOUT = 600.0


@dataclass(frozen=True)
class Task:
    """What is to be run, by the task instance ``id`` of a run that has been cleared so many times.

    ``pod`` and ``config`` give a try's pod and the content of its app.yaml.
    """

    workflow: Workflow
    process: Process
    id: str
    clears: int
    namespace: str
    pod: Callable[[str], dict[str, Any]]
    config: Callable[[Try], dict[str, Any]]
    log: Log
    note: Callable[[str], None]

    def of(self, try_id: str) -> Try:
        """The try with this id."""
        return Try(self.workflow.run_stream, try_id, self.process.name)

    def pod_name(self, of: Try) -> kube.PodName:
        """The name of its pod."""
        return kube.PodName(kube.object_name(of.process, of.id), self.namespace)

    async def end_pod(self, pods: Pods, of: Try) -> None:
        """End its pod, if it has one. One that can't be deleted now doesn't change what is known of the try."""
        try:
            await pods.delete(self.pod_name(of))
        except KubeError as error:
            self.note(f"{error}. Remedy: delete it by hand.")

    @property
    def errors_travel(self) -> bool:
        """Whether messages of type ERROR are results like others."""
        return self.process.on_message_error == "continue"

    @property
    def start_timeout(self) -> float:
        """Seconds until a process must have subscribed."""
        return self.process.start_timeout or START_TIMEOUT

    def is_own(self, try_id: str) -> bool:
        """Whether this execution, or its first half where it is deferred, made this try."""
        return try_id.startswith(self.id)


@dataclass(frozen=True)
class Verdict:
    """How it ended. ``tries`` is what the next execution has to know where it didn't end well."""

    manifest: Manifest
    complaints: tuple[Complaint, ...]
    errors: tuple[KaiAirflowError, ...]
    tries: tuple[Begun, ...]

    @property
    def is_good(self) -> bool:
        """Whether all went well."""
        return not self.complaints and not self.errors


@dataclass(frozen=True)
class _Open:
    """A try that is under way, and what it was fed."""

    begun: Begun
    share: Share


@dataclass
class Attempt:
    """One execution, at one nats-server and one Kubernetes API.

    ``said`` tells how many lines of a try's output the triggerer has put into the log already.
    """

    task: Task
    connection: Connection
    pods: Pods
    memory: Memory
    said: Mapping[str, int] = field(default_factory=dict)
    _over: list[Begun] = field(default_factory=list)
    _kept: list[Outcome] = field(default_factory=list)
    _open: list[_Open] = field(default_factory=list)

    async def begin(self, wanted: Sequence[Source]) -> None:
        """Have pods at work on everything that no earlier try has done.

        :raises KubeError: a pod can't be made
        :raises MessagingError: it can't be fed
        """
        for begun in self.memory.tries:
            await self._recall(begun, {source.sequence for source in wanted})
        done = {number for outcome in self._kept for number in outcome.done}
        done |= {one.source for under_way in self._open for one in under_way.share.inputs}
        rest = [source for source in wanted if source.sequence not in done]
        server, clears = self.connection.server_id, self.task.clears
        fresh = [Begun(try_id, server, clears) for try_id in self._fresh_ids(len(rest))]
        # Known before anything of it exists, so that nothing can be left of it that nobody knows.
        self.memory.keep([*self._over, *(under_way.begun for under_way in self._open), *fresh])
        if fresh:
            await self._launch(fresh, rest)

    @asynccontextmanager
    async def followed(self) -> AsyncIterator[list[Part]]:
        """The pods, read out while the block lasts."""
        async with AsyncExitStack() as parts:
            yield [await parts.enter_async_context(self._followed(under_way)) for under_way in self._open]

    def waits(self) -> list[Wait]:
        """What the triggerer has to know to wait for the pods."""
        return [self._wait(under_way) for under_way in self._open]

    def _wait(self, under_way: _Open) -> Wait:
        of, name = under_way.share.of, self.task.pod_name(under_way.share.of)
        return Wait(
            stream=of.stream,
            id=of.id,
            process=of.process,
            server=under_way.begun.server,
            pod=name.name,
            namespace=name.namespace,
            start_timeout=self.task.start_timeout,
        )

    async def verdict(self, parts: Sequence[Part]) -> Verdict:
        """Wait for all of them, also where one of them breaks."""
        ends = await asyncio.gather(*(part.end() for part in parts))
        outcomes = [*self._kept, *(end.outcome for end in ends)]
        return Verdict(
            manifest=manifest(self.task.workflow.run_stream, self.task.process.name, outcomes),
            complaints=tuple(complaint for end in ends for complaint in end.outcome.complaints),
            errors=tuple(end.error for end in ends if end.error),
            tries=(*self._over, *(replace(o.begun, acked=end.acked) for o, end in zip(self._open, ends, strict=True))),
        )

    async def close(self) -> None:
        """End the pods and their consumers. The verdict stands, whatever goes wrong here."""
        tries = [under_way.share.of for under_way in self._open]
        await asyncio.gather(*(self.task.end_pod(self.pods, of) for of in tries))
        await asyncio.gather(*(_close(self.connection, of) for of in tries))

    async def _recall(self, begun: Begun, wanted: set[int]) -> None:
        """An earlier try: adopted where its pod still works on it, otherwise what it did well is kept."""
        of = self.task.of(begun.id)
        share = await fed(self.connection, of)
        matches = {one.source for one in share.inputs} <= wanted
        if begun.acked is None and matches and await self._is_adoptable(begun):
            self.task.note(f"going on with pod {self.task.pod_name(of)}")
            self._open.append(_Open(begun, share))
            return
        floor = await settled_floor(self.connection, begun, of)
        if begun.acked is None:
            self.task.note(f"ending pod {self.task.pod_name(of)} of an earlier try")
            await self.task.end_pod(self.pods, of)
            await _close(self.connection, of)
        if matches:
            await self._keep(replace(begun, acked=floor), share, floor)

    async def _is_adoptable(self, begun: Begun) -> bool:
        if self.task.is_own(begun.id):
            return True  # whatever became of its pod is this very execution's verdict
        if begun.server != self.connection.server_id or begun.clears != self.task.clears:
            return False
        state = await self.pods.find(self.task.pod_name(self.task.of(begun.id)))
        return state is not None and (not state.ended or state.exit_code == 0)

    async def _keep(self, over: Begun, share: Share, floor: int) -> None:
        outputs = await published(self.connection, share.of)
        outcome = settle(share, outputs, floor, errors_travel=self.task.errors_travel)
        if outcome.done:
            self.task.note(f"keeping what an earlier try did well: {len(outcome.done)} of {share.count} message(s)")
            self._kept.append(replace(outcome, bad=0, complaints=()))  # what went wrong is fed again
            self._over.append(over)

    def _fresh_ids(self, messages: int) -> list[str]:
        """At most one for each message; adopted pods count as replicas."""
        free = max(1, self.task.process.replicas - len(self._open))
        return try_ids(self.task.id, free)[:messages]

    async def _launch(self, fresh: Sequence[Begun], rest: Sequence[Source]) -> None:
        tries = [self.task.of(begun.id) for begun in fresh]
        for of in tries:
            await open_input(self.connection, of)
        shares = await feed(self.connection, tries, rest)
        self.task.note(f"fed {len(rest)} message(s)")
        own = [_Open(begun, share) for begun, share in zip(fresh, shares, strict=True) if share.inputs]
        self._open += own
        await asyncio.gather(*(self._create(under_way.share) for under_way in own))

    async def _create(self, share: Share) -> None:
        """The pod first: it waits for its Secret and owns it, so that whatever dies, nothing stays."""
        of = share.of
        reference = await self.pods.create(self.task.pod(of.id))
        self.task.note(f"pod {reference}")
        secret = kube.secret(of.process, of.id, reference, self.task.config(of), share.requests.text)
        await self.pods.create_secret(secret)

    @asynccontextmanager
    async def _followed(self, under_way: _Open) -> AsyncIterator[Part]:
        async with followed(
            self.connection,
            self.pods,
            self.task.pod_name(under_way.share.of),
            under_way.share,
            under_way.begun.server,
            said=self.said.get(under_way.begun.id, 0),
            start_timeout=self.task.start_timeout,
            errors_travel=self.task.errors_travel,
            log=self.task.log,
            note=self.task.note,
        ) as part:
            yield part


async def end_pods(task: Task, pods: Pods, memory: Memory) -> None:
    """End the pods of all that is under way, without a verdict."""
    under_way = [begun for begun in memory.tries if begun.acked is None]
    await asyncio.gather(*(task.end_pod(pods, task.of(begun.id)) for begun in under_way))


async def record(task: Task, connection: Connection, memory: Memory) -> None:
    """Have the next execution know how far came what was under way; its consumers go."""
    floors = [(begun, await settled_floor(connection, begun, task.of(begun.id))) for begun in memory.tries]
    # Where Airflow doesn't take it, since the next try has begun, that one still finds the consumers to ask.
    memory.keep(replace(begun, acked=floor) for begun, floor in floors)
    for begun, _ in floors:
        await _close(connection, task.of(begun.id))


async def settled_floor(connection: Connection, begun: Begun, of: Try) -> int:
    """How far an earlier try had acked."""
    if begun.acked is not None:
        return begun.acked
    floor = await acked(connection, of)
    # Acks of the moments before a crash are forgotten, and what they were for may have been done twice.
    return floor if begun.server == connection.server_id else 0


async def _close(connection: Connection, of: Try) -> None:
    # A consumer that stays because NATS is gone goes by itself when nobody was bound to it for a day.
    with suppress(MessagingError):
        await close_input(connection, of)
