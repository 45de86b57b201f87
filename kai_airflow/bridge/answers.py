"""What Airflow's API answers: JSON objects, or errors with what to do."""

from __future__ import annotations

import json
from typing import Any

import httpx

from kai_airflow.errors import KaiAirflowError
from kai_airflow.krt import MASK

NOT_AIRFLOW = "is that Airflow's API? Remedy: set KAI_AIRFLOW_URL to Airflow's [api] base_url."
CONFLICT, NOT_FOUND, UNAUTHORIZED, FORBIDDEN = 409, 404, 401, 403
_PASSING = frozenset({408, 425, 429, UNAUTHORIZED, FORBIDDEN})  # and all from 500 on


class AirflowError(KaiAirflowError):
    """Airflow refuses a request, or doesn't answer; ``status`` is the HTTP status, 0 for no answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status

    @property
    def is_passing(self) -> bool:
        """Whether it may be gone in a while: an outage, an overload, or a permission that somebody can give."""
        return not self.status or self.status in _PASSING or self.status >= httpx.codes.INTERNAL_SERVER_ERROR


class Answer(dict[str, Any]):
    """What Airflow said. A proxy in front of it, or another server, may say anything else."""

    def __missing__(self, key: str) -> Any:
        raise AirflowError(0, f"Airflow: an answer without {key!r}: {NOT_AIRFLOW}")


def body(method: str, path: str, answer: httpx.Response, secret: str = "") -> dict[str, Any]:
    """What was said; ``secret`` isn't repeated: who is asked in the wrong way says what he was asked."""
    if not answer.is_success:
        text = answer.text.replace(secret, MASK).replace(json.dumps(secret)[1:-1], MASK) if secret else answer.text
        raise AirflowError(
            answer.status_code, f"Airflow: {method} {path}: {answer.status_code} {text[:1000]}{_remedy(answer)}"
        )
    try:
        return Answer(answer.json())
    except (ValueError, TypeError) as error:
        raise AirflowError(0, f"Airflow: {method} {path}: no JSON object: {NOT_AIRFLOW}") from error


def is_old(answer: httpx.Response) -> bool:
    """Whether another token would do: this one has expired, or another key than Airflow's present one signed it."""
    return answer.status_code == UNAUTHORIZED or (answer.status_code == FORBIDDEN and "JWT" in answer.text)


def _remedy(answer: httpx.Response) -> str:
    if answer.status_code == UNAUTHORIZED or answer.request.url.path.endswith("/auth/token"):
        return " Remedy: set KAI_AIRFLOW_USER and KAI_AIRFLOW_PASSWORD."
    if answer.status_code == FORBIDDEN:
        return " Remedy: let the user of KAI_AIRFLOW_USER read DAGs, task instances and XComs, and make runs."
    return ""
