"""What the Kubernetes client knows of pods, as the data of ``kai_airflow/krt/pod_fields.json``.

``python -m tests.krt.pod_fields`` writes that file anew, for a newer client.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from kubernetes import client

FILE = Path(__file__).parents[2] / "kai_airflow/krt/pod_fields.json"
ROOT = "V1PodSpec"
NEVER = {ROOT: {"ephemeralContainers"}}
"""Keys that no pod can be made with."""
_MODEL = re.compile(r"[A-Z]\w+")


def known() -> dict[str, dict[str, str]]:
    """Each structure below a pod's spec: its keys with their types, ``!`` behind those that it must have."""
    found: dict[str, dict[str, str]] = {}
    pending = [ROOT]
    while pending:
        name = pending.pop()
        if name not in found:
            found[name] = _keys(name)
            pending += [model for kind in found[name].values() for model in _MODEL.findall(kind)]
    return dict(sorted(found.items()))


def _keys(name: str) -> dict[str, str]:
    model = getattr(client, name)
    required = _required(model)
    return {
        key: model.openapi_types[attribute] + ("!" if attribute in required else "")
        for attribute, key in sorted(model.attribute_map.items(), key=lambda pair: pair[1])
        if key not in NEVER.get(name, ())
    }


def _required(model: Any) -> set[str]:
    """The attributes that the model won't have without a value."""
    lax, strict = client.Configuration(), client.Configuration()
    lax.client_side_validation = False
    empty = model(local_vars_configuration=lax)
    empty.local_vars_configuration = strict
    return {attribute for attribute in model.attribute_map if _refuses_none(empty, attribute)}


def _refuses_none(of: Any, attribute: str) -> bool:
    try:
        setattr(of, attribute, None)
    except ValueError:
        return True
    return False


if __name__ == "__main__":
    FILE.write_text(json.dumps(known(), indent=1) + "\n")
