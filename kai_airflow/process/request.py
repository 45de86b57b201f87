"""What comes in: a request that a process has in hand, with what it publishes for it, or a reply."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from kai_airflow.messaging.codec import Json, Payload, pack, unpack

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from kai_airflow.process.outbox import Outbox


@dataclass(frozen=True)
class Incoming:
    """A message that came in.

    ``sender`` is the process that published it, ``raw`` its payload as it travelled, ``error`` the text of a message
    of type ERROR, empty otherwise.
    """

    id: str
    sender: str
    raw: Payload
    error: str

    @cached_property
    def payload(self) -> Json:
        """The payload as JSON; see :func:`kai_airflow.messaging.codec.unpack`.

        :raises BadMessageError: the payload is not of the type that it says it is
        """
        return unpack(self.raw)


class Reply(Incoming):
    """What came back to a trigger for one of its requests."""


@dataclass(frozen=True)
class Request(Incoming):
    """A request that a task or exit has in hand."""

    outbox: Outbox = field(repr=False)

    def send(self, payload: Json | Payload, *, channel: str = "", request_id: str | None = None) -> Awaitable[None]:
        """Publish on this process's own subject, or on one of its channels.

        Await it in an ``async`` handler; in a plain one just call it. Then the message is on its way. Once NATS has
        stored all that was sent, the request is acked; where it refuses something, an ERROR message answers it.

        :param payload: JSON, or a payload as it travels
        :param request_id: another request's id than this one's
        :raises PayloadError: not JSON, or a number that would not travel unchanged
        :raises MessageTooLargeError: too large for NATS even when gzipped
        :raises ProcessError: no channel can have this name
        """
        return self.outbox.put(self._id(request_id), channel, packed(payload))

    def send_error(self, text: str, *, channel: str = "", request_id: str | None = None) -> Awaitable[None]:
        """Publish a message of type ERROR; otherwise as :meth:`send`."""
        return self.outbox.put(self._id(request_id), channel, Payload(), error=text)

    def _id(self, other: str | None) -> str:
        return self.id if other is None else other


def packed(payload: Json | Payload) -> Payload:
    """A payload as it travels. Raises PayloadError."""
    return payload if isinstance(payload, Payload) else pack(payload)
