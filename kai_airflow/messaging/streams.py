"""Streams, buckets and object stores: made where missing, mended where they differ, never deleted.

Everything here may run any number of times, and in several clients at once.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from nats.js import api
from nats.js.errors import BadRequestError, BucketNotFoundError, KeyWrongLastSequenceError, NotFoundError

from kai_airflow.messaging.errors import translated
from kai_airflow.plan import names

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from nats.js import JetStreamContext

WEEK = 7 * 24 * 3600.0
NAME_IN_USE = 10058  # JetStream: somebody made it first, in another way
UNLIMITED = -1
KEY = re.compile(r"[-/_=a-zA-Z0-9]+(\.[-/_=a-zA-Z0-9]+)*")


async def ensure_run_stream(
    js: JetStreamContext, name: names.Stream, *, max_age_seconds: float = WEEK, max_bytes: int | None = None
) -> None:
    """Make the stream of a workflow's batch runs exist.

    :param max_age_seconds: how long messages are kept, at the least a run's and its retries' time
    :param max_bytes: the stream's size, beyond which the oldest messages go; no limit by default
    :raises JetStreamError: JetStream is off or full, or NATS cannot change what is there
    :raises NatsUnavailableError: no answer
    """
    await _ensure_stream(js, _kept(name, names.run_stream_subjects(name), max_age_seconds, max_bytes))


async def ensure_live_stream(
    js: JetStreamContext,
    name: names.Stream,
    processes: Iterable[str],
    *,
    max_age_seconds: float = WEEK,
    max_bytes: int | None = None,
) -> None:
    """Make KAI's own stream of a workflow exist, with the subjects of these processes.

    KAI keeps its streams by interest; here a message stays when nobody listens and after it was acked, for
    replay and audit (design, section 3).

    :param max_age_seconds: how long messages are kept
    :param max_bytes: the stream's size, beyond which the oldest messages go; no limit by default
    :raises JetStreamError: JetStream is off or full, or NATS cannot change what is there
    :raises NatsUnavailableError: no answer
    """
    subjects = [subject for process in processes for subject in names.live_subjects(name, process)]
    await _ensure_stream(js, _kept(name, subjects, max_age_seconds, max_bytes))


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


def _kept(name: str, subjects: Iterable[str], max_age: float, max_bytes: int | None) -> api.StreamConfig:
    return api.StreamConfig(
        name=name,
        subjects=list(subjects),
        retention=api.RetentionPolicy.LIMITS,
        storage=api.StorageType.FILE,
        discard=api.DiscardPolicy.OLD,
        max_age=max_age,
        max_bytes=UNLIMITED if max_bytes is None else max_bytes,
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
    """What was found, with what we ask for; replicas, placement and the like are the administrator's."""
    same_subjects = set(found.subjects or ()) == set(wanted.subjects or ())
    return replace(
        found,
        subjects=found.subjects if same_subjects else wanted.subjects,
        retention=wanted.retention,
        storage=wanted.storage,
        discard=wanted.discard,
        max_age=wanted.max_age,
        max_bytes=wanted.max_bytes,
        allow_direct=wanted.allow_direct,
        duplicate_window=min(found.duplicate_window, wanted.max_age or 0),  # NATS refuses one beyond max_age
    )


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
