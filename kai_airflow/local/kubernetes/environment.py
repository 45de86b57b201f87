"""A container's environment: what it asks for, and nothing of the server's but what every process needs."""

import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from kai_airflow.local.kubernetes.errors import Object
from kai_airflow.local.kubernetes.mounts import SecretOf
from kai_airflow.local.kubernetes.pods import Container, Env, SecretKeyRef
from kai_airflow.local.kubernetes.status import NotReadyError

_REFERENCE = re.compile(r"\$(?:(\$)|\(([^)]*)\))")


def base(home: Path) -> dict[str, str]:
    """What every container gets. The server's own interpreter is first on PATH."""
    here = os.environ
    search = [str(Path(sys.executable).parent), here.get("PATH", os.defpath)]
    zone = {"TZ": here["TZ"]} if "TZ" in here else {}
    return {"PATH": os.pathsep.join(search), "HOME": str(home), "LANG": here.get("LANG", "C.UTF-8"), **zone}


def variables(container: Container, pod: Object, secret_of: SecretOf, given: Mapping[str, str]) -> dict[str, str]:
    """The variables that the container asks for; later ones win, and the `given` ones over all.

    Raises NotReadyError (CreateContainerConfigError) while a Secret or a key is missing.
    """
    found = {**dict(_whole_secrets(container, secret_of)), **given}
    for env in container.env:
        value = _value(env, found, pod, secret_of)
        if value is not None:
            found[env.name] = value
    return {**found, **given}


def expand(text: str, known: Mapping[str, str]) -> str:
    """`$(NAME)` becomes the variable's value, `$$` a `$`; a name that isn't known stays, as in Kubernetes."""
    return _REFERENCE.sub(lambda match: match[1] or known.get(match[2], match[0]), text)


def _whole_secrets(container: Container, secret_of: SecretOf) -> Iterator[tuple[str, str]]:
    for source in container.env_from:
        data = secret_of(source.secret_ref.name)
        if data is None and not source.secret_ref.optional:
            raise _missing(f'secret "{source.secret_ref.name}" not found')
        for key, value in (data or {}).items():
            yield source.prefix + key, os.fsdecode(value)


def _value(env: Env, known: Mapping[str, str], pod: Object, secret_of: SecretOf) -> str | None:
    source = env.value_from
    if source is None:
        return expand(env.value, known)
    if source.secret_key_ref is not None:
        return _from_secret(source.secret_key_ref, secret_of)
    return source.field_ref.read(pod) if source.field_ref is not None else None


def _from_secret(ref: SecretKeyRef, secret_of: SecretOf) -> str | None:
    data = secret_of(ref.name)
    if data is not None and ref.key in data:
        return os.fsdecode(data[ref.key])
    if ref.optional:
        return None
    what = f'secret "{ref.name}" not found' if data is None else f'secret "{ref.name}" has no key {ref.key}'
    raise _missing(what)


def _missing(message: str) -> NotReadyError:
    return NotReadyError("CreateContainerConfigError", message)
