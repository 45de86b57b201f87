"""What outlives the server: Ingresses. That a product is published is written nowhere else; all the rest is made again
by whom it belongs to."""

import json
import os
from pathlib import Path

from kai_airflow.local.errors import StackError
from kai_airflow.local.kubernetes.resources import INGRESSES
from kai_airflow.local.kubernetes.store import Key, Store


def restore(store: Store, file: Path) -> None:
    """Put the objects of an earlier server into the store. Raises StackError where the file isn't one of ours."""
    try:
        found = json.loads(file.read_bytes())
        keys = [Key(INGRESSES.plural, one["metadata"]["namespace"], one["metadata"]["name"]) for one in found]
    except FileNotFoundError:
        return
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StackError(f"can't read {file} ({error!r}). Remedy: remove it, and publish again.") from error
    for key, one in zip(keys, found, strict=True):
        store.put(key, one)


async def follow(store: Store, file: Path) -> None:
    """Write the objects down at each change, until the store closes."""
    async for change in store.changes(store.version):
        if change.key.kind == INGRESSES.plural:
            _write(file, json.dumps(store.select(INGRESSES.plural)))


def _write(file: Path, text: str) -> None:
    """Whole, or not at all."""
    draft = file.with_name(f"{file.name}.new")
    with open(draft, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as opened:
        opened.write(text)
    draft.replace(file)
