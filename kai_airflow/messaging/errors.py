"""What can go wrong between kai-airflow and NATS.

MessagingError
├── NatsUnavailableError    no server there, it refuses this client, or it went away
│   └── NatsAddressError        what is known of the server can't be used
├── JetStreamError          the server is there and JetStream refuses: off, full, not permitted, in conflict
│   ├── NoStreamError           a stream that isn't there
│   ├── StreamGoneError         a stream that was deleted and made anew
│   └── NoConsumerError         a consumer that isn't there any more
├── SilentError             the server doesn't say any more that it has nothing for us
├── MissedError             a request that a process could never get
├── BadMessageError         bytes that are not one of KAI's messages
├── MessageTooLargeError    a message beyond the limit even when gzipped
├── PayloadError            a value that a payload cannot carry unchanged
├── OriginError             a run's conf that names messages in a way that nobody can read
└── BrokenTryError          a try of a process that has to be made anew
    ├── ExpiredError            the messages of a run are no longer there
    ├── FedTwiceError           somebody else feeds the same try
    ├── RestlessError           a process that never stops publishing
    └── ServerRestartedError    nats-server isn't the one that the try began with
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import nats.errors
import nats.js.errors

from kai_airflow.errors import KaiAirflowError

if TYPE_CHECKING:
    from collections.abc import Iterator


class MessagingError(KaiAirflowError):
    """NATS, its streams, or a message."""


class NatsUnavailableError(MessagingError):
    """No server there, it refuses this client, or it went away. Worth another try later."""


class NatsAddressError(NatsUnavailableError):
    """What is known of the server can't be used: no address, two logins, or a file that holds something else."""


class JetStreamError(MessagingError):
    """JetStream refuses what was asked of it; another try changes nothing until somebody has acted."""


class NoStreamError(JetStreamError):
    """A stream that isn't there."""

    def __init__(self, stream: str) -> None:
        super().__init__(f"NATS: no stream {stream}. Remedy: see that `kai-airflow bridge` runs; it makes the streams.")


class StreamGoneError(JetStreamError):
    """A stream that was deleted and made anew: its sequences count from 1 again."""

    def __init__(self, stream: str) -> None:
        super().__init__(f"NATS: stream {stream} was deleted and made anew.")


class KaiStreamError(JetStreamError):
    """A live stream that KAI made, and may be working with."""

    def __init__(self, stream: str) -> None:
        super().__init__(
            f"NATS: stream {stream} is KAI's: it is kept by interest. Here as well, its messages would be worked on "
            "twice. Remedy: give the KRT another version, or stop this version in KAI, which removes the stream "
            "(docs/from-kai.md)."
        )


class NoConsumerError(JetStreamError):
    """A consumer that isn't there any more: it was removed, or its stream was."""

    def __init__(self, stream: str, consumer: str) -> None:
        super().__init__(f"NATS: stream {stream} has no consumer {consumer} any more.")


class SilentError(MessagingError):
    """A server that was asked for messages, and doesn't even say any more that there are none."""

    def __init__(self, stream: str, seconds: float) -> None:
        super().__init__(f"NATS: nothing was heard of stream {stream} for {seconds:g} s, though the connection stands.")


class MissedError(MessagingError):
    """A request that was published before its consumer was made, which delivers what is new alone."""

    def __init__(self, stream: str, consumer: str, sequence: int) -> None:
        super().__init__(
            f"NATS: consumer {consumer} was made after message {sequence} of stream {stream}, so its process never "
            "gets it. Remedy: clear this run from its trigger on; the request is sent again."
        )


class BadMessageError(MessagingError):
    """Bytes that are not one of KAI's messages."""


class MessageTooLargeError(MessagingError):
    """A message beyond the limit even when gzipped."""


class PayloadError(MessagingError):
    """A value that a payload cannot carry unchanged."""


class OriginError(MessagingError):
    """A run's conf that names messages in a way that nobody can read."""

    def __init__(self, why: str) -> None:
        super().__init__(f"conf: not what the bridge writes: {why}. Remedy: leave out 'sequences', or replay messages.")


class BrokenTryError(MessagingError):
    """A try that can't go on: what it did so far doesn't count."""


class ExpiredError(BrokenTryError):
    """What upstream published is no longer in the run stream."""

    def __init__(self, stream: str, sequence: int) -> None:
        super().__init__(
            f"stream {stream} no longer holds message {sequence} of this run: it expired, or the stream was made anew. "
            "Remedy: start a new run, or clear this one from its trigger on."
        )


class FedTwiceError(BrokenTryError):
    """Somebody else feeds the same try."""

    def __init__(self, subject: str) -> None:
        super().__init__(f"{subject}: fed by somebody else at the same time. Remedy: none needed, the task is retried.")


class RestlessError(BrokenTryError):
    """A process that never stops publishing, though it has acked everything."""

    def __init__(self, process: str, seconds: float) -> None:
        super().__init__(
            f"{process!r} has acked everything and still publishes after {seconds:g} s, so it can't be told when it is "
            "done. Remedy: have it publish only while it handles a message."
        )


class ServerRestartedError(BrokenTryError):
    """nats-server restarted or was lost: the acks of its last moments may be forgotten."""

    def __init__(self, process: str) -> None:
        super().__init__(
            f"nats-server was restarted or lost while {process!r} worked, so what it acked last isn't certain. "
            "Remedy: none needed where the task has retries; clear it otherwise."
        )


OFF = "start nats-server with JetStream (nats-server -js) and allow it for this account"
FULL = "free space or raise the server's jetstream limits (max_file_store, max_memory_store)"
QUOTA = "raise the account's JetStream limits, or remove streams that nobody needs"
STREAM_FULL = "raise the stream's limit ([kai_airflow] stream_max_bytes), or wait until its oldest messages expire"
TAKEN = "another stream takes these subjects in: remove it, or rename this product or workflow"
FIXED = "NATS cannot change this in place: copy the stream's messages if they matter, then remove the stream"
SILENT = "see that the server is not overloaded, and that this user may publish to $JS.API.>"
GONE = "see that nats-server runs and can be reached"
NO_STREAM = "create the stream, or mend its name"
UNKNOWN = "see the nats-server log"

# Error codes of the JetStream API (nats-server, server/errors.json) and what mends them.
REMEDIES = {
    10002: QUOTA,  # resource limits exceeded for account
    10023: FULL,  # insufficient resources
    10026: QUOTA,  # maximum consumers limit reached
    10027: QUOTA,  # maximum number of streams reached
    10028: FULL,  # memory resources exceeded
    10035: OFF,  # JetStream not enabled for account (as some versions tell it)
    10039: OFF,  # JetStream not enabled for account
    10047: FULL,  # insufficient storage resources
    10052: FIXED,  # this part of a stream's configuration cannot be updated
    10058: FIXED,  # stream name already in use with a different configuration
    10059: NO_STREAM,  # stream not found
    10065: TAKEN,  # subjects overlap with an existing stream
    10076: OFF,  # JetStream not enabled
    10077: STREAM_FULL,  # maximum messages or bytes reached, discard policy new
}


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Turn the NATS client's errors into this project's.

    :param doing: what was being done, as it continues "NATS: cannot": ``"create stream RUNS_p_w"``
    :raises JetStreamError: JetStream answered and refused
    :raises NatsUnavailableError: nobody answered, or the connection is gone
    """
    try:
        yield
    except nats.js.errors.APIError as error:
        raise JetStreamError(f"NATS: cannot {doing}: {_said(error)}. Remedy: {_remedy(error)}.") from error
    except nats.js.errors.Error as error:
        raise JetStreamError(f"NATS: cannot {doing}: {error}. Remedy: {UNKNOWN}.") from error
    except nats.errors.TimeoutError as error:
        raise NatsUnavailableError(f"NATS: cannot {doing}: no answer in time. Remedy: {SILENT}.") from error
    except (nats.errors.Error, OSError) as error:
        raise NatsUnavailableError(f"NATS: cannot {doing}: {error}. Remedy: {GONE}.") from error


def _said(error: nats.js.errors.APIError) -> str:
    return error.description or "JetStream does not answer"


def _remedy(error: nats.js.errors.APIError) -> str:
    # Where JetStream is off nobody listens on its API: the client makes that a 503 without a code.
    without_code = OFF if isinstance(error, nats.js.errors.ServiceUnavailableError) else UNKNOWN
    return REMEDIES.get(error.err_code or 0, without_code)
