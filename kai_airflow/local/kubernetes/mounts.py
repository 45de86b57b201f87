"""Volumes: folders of the pod that stand where a container would have mounts.

A process has no mounts of its own. Each volume is a folder; a word of the command or a value of the environment that is
a mountPath, or a path inside one, is rewritten to name the folder instead. Paths inside longer texts stay as they are.
"""

import posixpath
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from kai_airflow.local.kubernetes.errors import Object
from kai_airflow.local.kubernetes.pods import Container, DownwardVolume, Item, PodSpec, SecretVolume, Volume
from kai_airflow.local.kubernetes.status import NotReadyError

SecretOf = Callable[[str], Mapping[str, bytes] | None]
"""The content of a Secret of the pod's namespace; None where there is none."""

Files = Mapping[str, tuple[bytes, int]]
"""Relative path -> content and mode."""


class Bind(NamedTuple):
    """A file or folder of this machine, and where a container of an engine has it."""

    source: Path
    target: str
    read_only: bool


def files(volume: Volume, pod: Object, secret_of: SecretOf) -> Files:
    """What a volume holds at the start. Raises NotReadyError (FailedMount) while a Secret or a key is missing."""
    if volume.secret is not None:
        return _secret_files(volume.name, volume.secret, secret_of)
    return _downward_files(volume.downward_api, pod) if volume.downward_api is not None else {}


def _downward_files(volume: DownwardVolume, pod: Object) -> Files:
    return {item.path: (item.field_ref.read(pod).encode(), 0o400) for item in volume.items}


def _secret_files(name: str, volume: SecretVolume, secret_of: SecretOf) -> Files:
    data = secret_of(volume.secret_name)
    if data is None and not volume.optional:
        raise NotReadyError("FailedMount", f'MountVolume.SetUp failed for volume "{name}": {_no_secret(volume)}')
    data = data or {}
    items = volume.items or [Item(key=key, path=key) for key in data]
    missing = [item.key for item in items if item.key not in data]
    if missing and not volume.optional:
        what = f'secret "{volume.secret_name}" has no key {missing[0]}'
        raise NotReadyError("FailedMount", f'MountVolume.SetUp failed for volume "{name}": {what}')
    modes = {item.key: volume.default_mode if item.mode is None else item.mode for item in items}
    return {item.path: (data[item.key], modes[item.key]) for item in items if item.key in data}


def _no_secret(volume: SecretVolume) -> str:
    return f'secret "{volume.secret_name}" not found'


def write(folder: Path, content: Files) -> None:
    """Make a volume's folder with its files. Raises OSError.

    It is open to all users, since a container of an engine may run as another; the pod's folder around it is not.
    """
    _make(folder)
    for relative, (data, mode) in content.items():
        file = folder / relative
        _make(file.parent)
        file.touch(mode=0o600)
        file.write_bytes(data)
        file.chmod(mode)


def make_sub_paths(container: Container, folder: Path) -> None:
    """Make what the container mounts of a volume, where nobody made it before. Raises OSError."""
    for mount in container.volume_mounts:
        target = folder / mount.name / mount.sub_path
        if not target.exists():
            _make(target)


def _make(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o777)


def binds(container: Container, spec: PodSpec, folder: Path) -> list[Bind]:
    """The container's mounts for an engine. What comes from Secrets and from the pod can't be written."""
    empty = {volume.name for volume in spec.volumes if volume.secret is None and volume.downward_api is None}
    return [
        Bind(folder / mount.name / mount.sub_path, mount.mount_path, mount.read_only or mount.name not in empty)
        for mount in container.volume_mounts
    ]


def rewriter(container: Container, folder: Path) -> Callable[[str], str]:
    """The function that turns a path at one of the container's mounts into the path that it has here."""
    targets = {
        posixpath.normpath(mount.mount_path): str(folder / mount.name / mount.sub_path)
        for mount in container.volume_mounts
    }
    mounts = sorted(targets, key=len, reverse=True)  # the innermost mount wins

    def rewrite(text: str) -> str:
        for mount in mounts:
            if text == mount or text.startswith(f"{mount}/"):
                return targets[mount] + text[len(mount) :]
        return text

    return rewrite
