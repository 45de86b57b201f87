"""Refusals: exceptions that become Kubernetes Status objects."""

from collections.abc import Iterable
from typing import Any

from kai_airflow.local.errors import StackError

Object = dict[str, Any]
"""A Kubernetes object, or a part of one, as JSON has it. What the store holds is never changed in place."""


class ApiError(StackError):
    """A request that is refused: HTTP `code`, Kubernetes' `reason`, a message, and Status `details`."""

    def __init__(self, code: int, reason: str, message: str, details: Object | None = None) -> None:
        super().__init__(message)
        self.code, self.reason, self.message, self.details = code, reason, message, details or {}

    def status(self) -> Object:
        """The Status object that the client gets."""
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "details": self.details,
            "code": self.code,
        }


def bad_request(message: str) -> ApiError:
    """400: the request can't be understood."""
    return ApiError(400, "BadRequest", message)


def not_implemented(what: str) -> ApiError:
    """501: a real cluster can do it, this one can't."""
    return ApiError(501, "NotImplemented", f"the local Kubernetes API doesn't implement {what}")


def not_found(plural: str, name: str) -> ApiError:
    """404 for an object."""
    return ApiError(404, "NotFound", f'{plural} "{name}" not found', {"name": name, "kind": plural})


def already_exists(plural: str, name: str) -> ApiError:
    """409 for a name that is taken."""
    return ApiError(409, "AlreadyExists", f'{plural} "{name}" already exists', {"name": name, "kind": plural})


def conflict(plural: str, name: str, why: str) -> ApiError:
    """409 for a write that rests on an older state of the object."""
    message = f'Operation cannot be fulfilled on {plural} "{name}": {why}'
    return ApiError(409, "Conflict", message, {"name": name, "kind": plural})


def invalid(kind: str, name: str, causes: Iterable[tuple[str, str]]) -> ApiError:
    """422 with a cause for each (field, message)."""
    found = [{"reason": "FieldValueInvalid", "field": field, "message": text} for field, text in causes]
    texts = ", ".join(f"{cause['field']}: {cause['message']}" for cause in found)
    details = {"name": name, "kind": kind, "causes": found}
    return ApiError(422, "Invalid", f'{kind} "{name}" is invalid: {texts}', details)


def expired(version: int, oldest: int) -> ApiError:
    """410: the history no longer reaches back to `version`."""
    return ApiError(410, "Expired", f"too old resource version: {version} ({oldest})")
