"""What one run is to carry: messages of a trigger, and what people are shown of them. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kai_airflow.krt import MASK, is_sensitive, shown
from kai_airflow.messaging import codec
from kai_airflow.messaging.errors import BadMessageError, OriginError
from kai_airflow.messaging.origin import Origin
from kai_airflow.messaging.reading import identity

if TYPE_CHECKING:
    from collections.abc import Sequence

PREVIEW = 500  # characters that a run's conf shows of a payload
LOOKED_INTO = 64 << 10  # bytes; a larger payload isn't unpacked for its preview
IDS = 100  # request ids that a run's conf lists
LONGEST_NOTE = 1000  # characters that Airflow's database takes; a run with more is refused


@dataclass(frozen=True)
class RunRequest:
    """Messages that start one run. ``request_ids`` are the first of them, ``preview`` is of the first payload."""

    origin: Origin
    request_ids: tuple[str, ...]
    preview: str

    @property
    def conf(self) -> dict[str, Any]:
        """The run's conf. The messages themselves stay in their stream."""
        return {**self.origin.to_conf(), "request_ids": list(self.request_ids), "preview": self.preview}

    @property
    def note(self) -> str:
        """What people read beside the run, on one line."""
        count, origin = len(self.origin.sequences), self.origin
        what = f"request {self.request_ids[0]}" if count == 1 else f"{count} requests"
        where = f"message {origin.sequences[0]}" if count == 1 else f"messages {origin.to_conf()['sequences']}"
        return _cut(f"{what} of {origin.trigger}: {where} of {origin.stream}", LONGEST_NOTE)

    def to_json(self) -> bytes:
        """As it is written down."""
        return json.dumps(self.conf).encode()

    @classmethod
    def from_json(cls, data: bytes) -> RunRequest:
        """Read it back. Raises OriginError."""
        try:
            conf = json.loads(data)
            ids, shown_ = [str(one) for one in conf["request_ids"]], str(conf["preview"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise OriginError(f"{type(error).__name__}: {error}") from error
        return cls(Origin.from_conf(conf), tuple(ids), shown_)


def run_request(origin: Origin, messages: Sequence[codec.Message]) -> RunRequest:
    """What a run of these messages is to carry; ``origin`` names them, in the same order."""
    # Printable: a database may refuse a run for a NUL, and everything behind it would wait.
    ids = tuple(_printable(identity(message.request_id)) for message in messages[:IDS])
    return RunRequest(origin, ids, preview(messages[0].payload))


def preview(payload: codec.Payload) -> str:
    """The beginning of a payload as JSON, without what looks like a secret (P5)."""
    if len(payload.value) > LOOKED_INTO:
        url = _cut(_printable(payload.type_url[:PREVIEW]), PREVIEW // 2)
        return f"({url}, {len(payload.value)} bytes)"
    try:
        text = json.dumps(_masked(codec.unpack(payload)), ensure_ascii=False)
    except BadMessageError:
        text = json.dumps(codec.opaque(payload))
    return text if len(text) <= PREVIEW else f"{text[:PREVIEW]}..."


def _masked(value: codec.Json) -> codec.Json:
    match value:
        case dict():
            return {key: MASK if is_sensitive(key) else _masked(item) for key, item in value.items()}
        case list():
            return [_masked(item) for item in value]
        case str():
            return shown(value)
    return value


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def _printable(text: str) -> str:
    return text if text.isprintable() else ascii(text)[1:-1]
