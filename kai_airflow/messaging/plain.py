"""What a container that speaks no NATS gets of its requests: JSON in its environment. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kai_airflow.messaging import codec
from kai_airflow.messaging.errors import BadMessageError

if TYPE_CHECKING:
    from kai_airflow.messaging.codec import Message

# Linux takes 128 KiB for one variable, its name included: execve(2), MAX_ARG_STRLEN. In UTF-8 bytes.
LONGEST = 120 << 10


@dataclass
class PlainRequests:
    """A try's requests as ``[{"request_id", "from_node", "payload"}, ...]``, as long as they fit."""

    _texts: list[str] | None = field(default_factory=list)
    _size: int = 2

    def add(self, message: Message) -> None:
        """Take in one more."""
        if self._texts is None:
            return
        try:
            payload = codec.unpack(message.payload)
        except BadMessageError:
            payload = codec.opaque(message.payload)
        found = {"request_id": message.request_id, "from_node": message.from_node, "payload": payload}
        text = json.dumps(found, ensure_ascii=True)  # also where a container's locale knows no UTF-8
        self._size += len(text) + 1
        if self._size > LONGEST:
            self._texts = None
        else:
            self._texts.append(text)

    @property
    def text(self) -> str | None:
        """The JSON; None where it is longer than an environment takes."""
        return None if self._texts is None else f"[{','.join(self._texts)}]"
