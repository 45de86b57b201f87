"""The scheme ``nats`` of Airflow's ``MessageQueueTrigger``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from airflow.exceptions import AirflowOptionalProviderFeatureException

try:
    from airflow.providers.common.messaging.providers.base_provider import BaseMessageQueueProvider
except ImportError as error:
    raise AirflowOptionalProviderFeatureException("MessageQueueTrigger needs kai-airflow[messaging]") from error

from kai_airflow.errors import KaiAirflowError
from kai_airflow.nats.trigger import NatsTrigger

if TYPE_CHECKING:
    from airflow.triggers.base import BaseEventTrigger

_SCHEME = "nats"
_OPTIONS = {"durable", "ack_wait"}


class NatsMessageQueueProvider(BaseMessageQueueProvider):
    """``MessageQueueTrigger(scheme="nats", ...)`` with the arguments of ``NatsTrigger``.

    Or with one string, which Airflow calls deprecated: ``nats://CONNECTION/STREAM[/SUBJECT]?durable=NAME``, where
    CONNECTION is the id of an Airflow connection.
    """

    scheme = _SCHEME

    def queue_matches(self, queue: str) -> bool:
        """Whether the string is one of ours."""
        return queue.startswith(f"{_SCHEME}://")

    def trigger_class(self) -> type[BaseEventTrigger]:
        """What waits for the messages."""
        return NatsTrigger

    def trigger_kwargs(self, queue: str, **kwargs: Any) -> dict[str, Any]:
        """The trigger's arguments that stand in the string; those that were given beside it aren't repeated.

        :raises KaiAirflowError: no stream, no durable, or something that there isn't
        """
        parts = urlsplit(queue)
        stream, _, subject = unquote(parts.path.lstrip("/")).partition("/")
        options = dict(parse_qsl(parts.query))
        if "@" in parts.netloc:
            raise _wrong("a login", "put it into an Airflow connection, and the connection's id here")
        if unknown := options.keys() - _OPTIONS:
            raise _wrong(f"an option {min(unknown)!r}", f"give {' or '.join(sorted(_OPTIONS))}")
        found: dict[str, Any] = {"nats_conn_id": parts.netloc, "stream": stream, "subject": subject, **options}
        if "ack_wait" in found:
            found["ack_wait"] = _seconds(found["ack_wait"])
        for needed in ("stream", "durable"):
            if not (found | kwargs).get(needed):
                raise _wrong(f"no {needed}", "write nats://CONNECTION/STREAM?durable=NAME")
        return {key: value for key, value in found.items() if value and key not in kwargs}


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise _wrong("an ack_wait that is no number", "give seconds") from error


def _wrong(what: str, remedy: str) -> KaiAirflowError:
    return KaiAirflowError(f"a queue of NATS with {what}. Remedy: {remedy}.")
