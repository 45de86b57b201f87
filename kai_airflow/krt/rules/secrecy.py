"""Secrets in the text of a KRT, where everybody who may read the file or the DAG's code can read them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kai_airflow.krt.rules.pod import variables
from kai_airflow.krt.rules.workflow import all_of, processes_of
from kai_airflow.krt.sensitive import is_sensitive, shown
from kai_airflow.krt.wording import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kai_airflow.krt.draft import ProcessDraft, ProductDraft, Texts
    from kai_airflow.krt.place import Field
    from kai_airflow.krt.report import Issue

_REMEDY = "Keep it in a Kubernetes Secret whose name stands under 'secrets': its keys become environment variables."
_NO_SECRET = re.compile(r"\d{1,7}(\.\d{1,7})?|true|false|yes|no|on|off", re.IGNORECASE)
_OR_REFER = "Write 'valueFrom: {secretKeyRef: ...}' instead, or use 'secrets'."


def config_holds_no_secrets(draft: ProductDraft) -> Iterator[Issue]:
    """No key of a ``config`` looks like that of a secret, and no value holds the password of a URL."""
    for config in _configs(draft):
        for key, field in config.value.fields.items() if config.value else ():
            if field.value and _is_secret(key, field.value):
                message = f"{quoted(key)} looks like a secret, and its value stands in this file for all to read"
                yield field.place.issue("secret-in-config", message, _REMEDY)


def environment_holds_no_secrets(draft: ProcessDraft) -> Iterator[Issue]:
    """No variable of the pod template that looks like a secret has its value there."""
    for name, value in variables(draft):
        if value.value and _is_secret(name, value.value):
            what = f"the environment variable {quoted(name)}"
            message = f"{what} looks like a secret, and its value stands here for all to read"
            yield value.place.issue("secret-in-config", message, _OR_REFER)


def _is_secret(key: str, value: str) -> bool:
    """``max_tokens: 512`` and ``use_auth: true`` are none: nobody gets in with a few digits or a flag."""
    if _NO_SECRET.fullmatch(value):
        return False
    return is_sensitive(key) or shown(value) != value


def _configs(draft: ProductDraft) -> Iterator[Field[Texts]]:
    yield draft.config
    for workflow in all_of(draft):
        yield workflow.config
        yield from (process.config for process in processes_of(workflow))
