"""Streams, buckets and object stores: made where missing, mended where they differ, never deleted.

Everything here may run any number of times, and in several clients at once.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from nats.js import api
from nats.js.errors import BadRequestError, BucketNotFoundError, KeyWrongLastSequenceError, NotFoundError

from kai_airflow.messaging.errors import KaiStreamError, NoStreamError, translated
from kai_airflow.plan import names

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from nats.js import JetStreamContext

    from kai_airflow.messaging.connection import Connection

WEEK = 7 * 24 * 3600.0
NAME_IN_USE = 10058  # JetStream: somebody made it first, in another way
UNLIMITED = -1

# Bytes that are kept free in a message for headers: those of a copy, and those that say why a message is dead and what
# its subject was: a subject is up to 4 KiB, and three times as many in a header, which is ASCII.
HEADERS_ROOM = 16 << 10

KEY = re.compile(r"[-/_=a-zA-Z0-9]+(\.[-/_=a-zA-Z0-9]+)*")


@dataclass(frozen=True)
class Retention:
    """What a stream keeps: messages of so many seconds, in so many bytes, on so many servers.

    ``max_bytes``: None is no limit. ``replicas``: None leaves them as they are, one for a new stream.
    """

    max_age: float = WEEK
    max_bytes: int | None = None
    replicas: int | None = None


DEFAULT = Retention()


async def ensure_run_stream(js: JetStreamContext, name: names.Stream, retention: Retention = DEFAULT) -> None:
    """Make the stream of a workflow's batch runs exist; where it is full, the oldest messages go.

    :raises JetStreamError: JetStream is off or full, or NATS cannot change what is there
    :raises NatsUnavailableError: no answer
    """
    await _ensure_stream(js, _kept(name, names.run_stream_subjects(name), retention))


async def ensure_live_stream(
    connection: Connection, name: names.Stream, processes: Iterable[str], retention: Retention = DEFAULT
) -> str:
    """Make KAI's own stream of a workflow exist, with the subjects of these processes; gives when it was made.

    KAI keeps its streams by interest; here a message stays when nobody listens and after it was acked, for
    replay and audit (design, section 3). Where the stream is full, who publishes gets an error: no message goes
    before its time. What fits in has room for the headers that are added on its way: the SDKs ask for the limit.

    :raises KaiStreamError: KAI made it, whose processes may be working with it
    :raises JetStreamError: JetStream is off or full, or NATS cannot change what is there
    :raises NatsUnavailableError: no answer
    """
    subjects = [subject for process in processes for subject in names.live_subjects(name, process)]
    wanted = replace(
        _kept(name, [*subjects, names.bridge_subjects(name)], retention),
        discard=api.DiscardPolicy.NEW,
        max_msg_size=largest(connection),
    )
    await _refuse_kais(connection.js, name)
    await _ensure_stream(connection.js, wanted)
    return await created(connection.js, name)


async def _refuse_kais(js: JetStreamContext, name: names.Stream) -> None:
    """Raise KaiStreamError where KAI serves this version: nothing else keeps a stream of this name by interest."""
    with translated(f"look at stream {name}"):
        try:
            found = (await js.stream_info(name)).config
        except NotFoundError:
            return
    if found.retention == api.RetentionPolicy.INTEREST:
        raise KaiStreamError(name)


def largest(connection: Connection) -> int:
    """Bytes of a message with its headers that a live stream takes."""
    return max(connection.max_payload - HEADERS_ROOM, connection.max_payload // 2)


async def ensure_dead_letters(js: JetStreamContext, retention: Retention = DEFAULT) -> None:
    """Make the stream exist that holds what can't become a run. Raises as :func:`ensure_run_stream`."""
    await _ensure_stream(js, _kept(names.DEAD_LETTERS, [f"{names.DEAD_LETTERS}.>"], retention))


async def created(js: JetStreamContext, stream: str) -> str:
    """When a stream was made, UTC, as ``20260102T030405123456Z``: its sequences mean nothing in another one.

    :raises NoStreamError: there is none of that name
    :raises NatsUnavailableError: no answer
    """
    with translated(f"look at stream {stream}"):
        try:
            info = await js.stream_info(stream)
        except NotFoundError as error:
            raise NoStreamError(stream) from error
    moment = info.created or datetime.fromtimestamp(0, UTC)
    return moment.astimezone(UTC).strftime("%Y%m%dT%H%M%S%fZ")


async def consumer_info(js: JetStreamContext, stream: str, name: str) -> api.ConsumerInfo | None:
    """What JetStream says of a consumer; None where there is none. Raises MessagingError."""
    with translated(f"look at consumer {name}"):
        try:
            found: api.ConsumerInfo = await js.consumer_info(stream, name)
        except NotFoundError:
            return None
    return found


async def stream_names(connection: Connection, subject: str) -> list[names.Stream]:
    """The streams that take in something of a subject, which may be a filter. Raises MessagingError."""
    found: list[names.Stream] = []
    with translated("list streams"):
        while True:
            question = json.dumps({"subject": subject, "offset": len(found)}).encode()
            answer = json.loads((await connection.nc.request("$JS.API.STREAM.NAMES", question, timeout=10)).data)
            found += map(names.Stream, answer.get("streams") or ())
            if not answer.get("streams") or len(found) >= answer["total"]:
                return found


async def ensure_buckets(js: JetStreamContext, buckets: Iterable[names.Bucket]) -> None:
    """Make key-value buckets exist. An SDK process starts only where its four do (KAI reference, section 4).

    :raises JetStreamError: JetStream is off or full
    :raises NatsUnavailableError: no answer
    """
    for bucket in buckets:
        with translated(f"make key-value bucket {bucket}"):
            try:
                await js.key_value(bucket)
            except BucketNotFoundError:
                await _create_bucket(js, bucket)


async def ensure_object_store(js: JetStreamContext, bucket: names.Bucket) -> None:
    """Make an object store exist.

    :raises JetStreamError: JetStream is off or full
    :raises NatsUnavailableError: no answer
    """
    with translated(f"make object store {bucket}"):
        try:
            await js.object_store(bucket)
        except BucketNotFoundError:
            await _create_object_store(js, bucket)


async def seed_configuration(js: JetStreamContext, bucket: names.Bucket, config: Mapping[str, str]) -> tuple[str, ...]:
    """Put the KRT's configuration into a bucket, but only keys that never had a value there.

    So what somebody changed or deleted while the version ran stays as it is.

    :returns: the keys left out because NATS doesn't allow their characters
    :raises JetStreamError: the bucket is missing, or JetStream is full
    :raises NatsUnavailableError: no answer
    """
    refused = refused_keys(config)
    with translated(f"write configuration to key-value bucket {bucket}"):
        store = await js.key_value(bucket)
        for key in config.keys() - set(refused):
            try:
                await store.update(key, config[key].encode(), last=0)
            except KeyWrongLastSequenceError:
                continue
    return refused


def refused_keys(config: Mapping[str, str]) -> tuple[str, ...]:
    """The keys whose characters NATS doesn't allow in a bucket."""
    return tuple(key for key in config if not KEY.fullmatch(key))


def _kept(name: str, subjects: Iterable[str], retention: Retention) -> api.StreamConfig:
    return api.StreamConfig(
        name=name,
        subjects=list(subjects),
        retention=api.RetentionPolicy.LIMITS,
        storage=api.StorageType.FILE,
        discard=api.DiscardPolicy.OLD,
        max_age=retention.max_age,
        max_bytes=UNLIMITED if retention.max_bytes is None else retention.max_bytes,
        num_replicas=retention.replicas,
        allow_direct=True,
    )


async def _ensure_stream(js: JetStreamContext, wanted: api.StreamConfig) -> None:
    with translated(f"make stream {wanted.name}"):
        found = await _found_or_made(js, wanted)
        mended = _mended(found, wanted)
        if mended != found:
            await js.update_stream(mended)


async def _found_or_made(js: JetStreamContext, wanted: api.StreamConfig) -> api.StreamConfig:
    try:
        return (await js.stream_info(str(wanted.name))).config
    except NotFoundError:
        pass
    try:
        return (await js.add_stream(wanted)).config
    except BadRequestError as error:
        if error.err_code != NAME_IN_USE:
            raise
        return (await js.stream_info(str(wanted.name))).config


def _mended(found: api.StreamConfig, wanted: api.StreamConfig) -> api.StreamConfig:
    """What was found, with what we ask for; placement and the like are the administrator's."""
    same_subjects = set(found.subjects or ()) == set(wanted.subjects or ())
    return replace(
        found,
        subjects=found.subjects if same_subjects else wanted.subjects,
        retention=wanted.retention,
        storage=wanted.storage,
        discard=wanted.discard,
        max_age=wanted.max_age,
        max_bytes=wanted.max_bytes,
        max_msg_size=_smaller(found.max_msg_size, wanted.max_msg_size),
        num_replicas=wanted.num_replicas or found.num_replicas,
        allow_direct=wanted.allow_direct,
        duplicate_window=min(found.duplicate_window, wanted.max_age or 0),  # NATS refuses one beyond max_age
    )


def _smaller(found: int | None, wanted: int | None) -> int | None:
    """The smaller of two limits, of which neither may be one; an administrator may have set a lower one."""
    given = [limit for limit in (found, wanted) if limit is not None and limit > 0]
    return min(given) if given else found


async def _create_bucket(js: JetStreamContext, bucket: str) -> None:
    try:
        await js.create_key_value(api.KeyValueConfig(bucket, storage=api.StorageType.FILE, direct=True))
    except BadRequestError as error:
        if error.err_code != NAME_IN_USE:
            raise


async def _create_object_store(js: JetStreamContext, bucket: str) -> None:
    try:
        await js.create_object_store(bucket, storage=api.StorageType.FILE)
    except BadRequestError as error:
        if error.err_code != NAME_IN_USE:
            raise
