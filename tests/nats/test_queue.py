"""The scheme ``nats``, through Airflow's own MessageQueueTrigger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from airflow.exceptions import AirflowProviderDeprecationWarning

from kai_airflow.errors import KaiAirflowError
from kai_airflow.nats.queue import NatsMessageQueueProvider
from kai_airflow.nats.trigger import NatsTrigger

if TYPE_CHECKING:
    from airflow.providers.common.messaging.triggers.msg_queue import MessageQueueTrigger


@pytest.fixture
def message_queue_trigger(monkeypatch: pytest.MonkeyPatch) -> type[MessageQueueTrigger]:
    """Airflow's trigger, which knows this provider whether or not it is installed here."""
    from airflow.providers.common.messaging.triggers import msg_queue  # it asks for all providers when it is imported

    monkeypatch.setattr(msg_queue, "MESSAGE_QUEUE_PROVIDERS", [NatsMessageQueueProvider()])
    return msg_queue.MessageQueueTrigger


def test_the_scheme_takes_the_arguments_of_the_trigger(message_queue_trigger: type[MessageQueueTrigger]) -> None:
    arguments: dict[str, Any] = {"stream": "ORDERS", "durable": "airflow", "subject": "orders.new"}
    assert (
        message_queue_trigger(scheme="nats", **arguments).serialize()
        == NatsTrigger(**arguments, nats_conn_id="nats_default").serialize()
    )


@pytest.mark.parametrize(
    ("queue", "beside", "expected"),
    [
        (
            "nats://events/ORDERS/orders.*.new?durable=d&ack_wait=5",
            {},
            {"stream": "ORDERS", "subject": "orders.*.new", "durable": "d", "nats_conn_id": "events", "ack_wait": 5},
        ),
        ("nats:///ORDERS?durable=d", {}, {"stream": "ORDERS", "durable": "d"}),
        ("nats://events/ORDERS/orders.%3E", {"durable": "d"}, {"subject": "orders.>", "stream": "ORDERS"}),
        ("nats://events/ORDERS?durable=d", {"durable": "e"}, {"durable": "e", "stream": "ORDERS"}),
    ],
)
def test_a_queue_names_connection_stream_subject_and_durable(
    message_queue_trigger: type[MessageQueueTrigger],
    queue: str,
    beside: dict[str, str],
    expected: dict[str, Any],
) -> None:
    with pytest.warns(AirflowProviderDeprecationWarning):
        path, kwargs = message_queue_trigger(queue=queue, **beside).serialize()
    assert path == "kai_airflow.nats.trigger.NatsTrigger"
    assert expected.items() <= kwargs.items()


@pytest.mark.parametrize(
    ("queue", "said"),
    [
        ("nats://c/ORDERS", "no durable"),
        ("nats://c/?durable=d", "no stream"),
        ("nats://u:hidden@c/ORDERS?durable=d", r"a login\. Remedy: put it into an Airflow connection"),
        ("nats://c/ORDERS?durable=d&ack=5", r"an option 'ack'\. Remedy: give ack_wait or durable"),
        ("nats://c/ORDERS?durable=d&ack_wait=soon", "an ack_wait that is no number"),
    ],
)
def test_a_queue_that_names_none_is_an_error(queue: str, said: str) -> None:
    with pytest.raises(KaiAirflowError, match=said) as caught:
        NatsMessageQueueProvider().trigger_kwargs(queue)
    assert "Remedy" in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_other_queues_are_left_to_other_providers() -> None:
    provider = NatsMessageQueueProvider()
    assert provider.scheme_matches("nats")
    assert not provider.scheme_matches("kafka")
    assert provider.queue_matches("nats://c/S")
    assert not provider.queue_matches("kafka://c/S")
    assert not provider.queue_matches("https://sqs.example.com/nats")
