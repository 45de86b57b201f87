"""What the tasks of a run have published, read where their manifests say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kai_airflow.messaging.codec import decode, unpack
from kai_airflow.messaging.connection import connect
from kai_airflow.messaging.errors import translated
from kai_airflow.messaging.tries import Manifest

if TYPE_CHECKING:
    from collections.abc import Mapping


async def published(nats_url: str, manifest: Mapping[str, Any]) -> list[Any]:
    """The payloads of the messages that a task published. Raises MessagingError where they can't be read."""
    left = Manifest.from_json(manifest)
    async with connect(nats_url, name="kai-airflow") as connection:
        with translated(f"read from stream {left.stream}"):
            messages = [await connection.js.get_msg(left.stream, sequence) for sequence in left.sequences]
    return [unpack(decode(message.data or b"").payload) for message in messages]
