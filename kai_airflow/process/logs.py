"""A process's log: one JSON object a line on stdout, with the keys that KAI's own processes write."""

from __future__ import annotations

import json
import logging
import sys
from contextvars import ContextVar

REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")

_as_json = json.JSONEncoder(ensure_ascii=False).encode


class JsonLines(logging.Formatter):
    """``{"level", "ts", "logger", "msg", "request_id"}``, the last only while a request is in hand, or where the
    author names one: ``log.info("sent", extra={"request_id": "r-1"})``.
    """

    def format(self, record: logging.LogRecord) -> str:
        """One record as one line, its traceback inside."""
        line: dict[str, object] = {
            "level": record.levelname,
            "ts": round(record.created, 3),
            "logger": record.name,
            "msg": record.getMessage(),
        }
        if request_id := getattr(record, "request_id", REQUEST_ID.get()):
            line["request_id"] = request_id
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return _as_json(line)


def configure() -> None:
    """Write every logger's records from INFO on to stdout.

    What no line shows isn't asked for (Python's logging, "Optimization"): a process writes a line for each request.
    """
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
