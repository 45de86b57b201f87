"""The image map: which command stands for an image.

images.yaml holds `image: [command, argument, ...]` for each image. It is read anew at each start of a container. A word
that begins with `./` names a file beside images.yaml; `python` as the first word is the interpreter of this server.

A container's own command replaces the map's command whole; args without a command follow the map's command.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import yaml

from kai_airflow.local.kubernetes.pods import Container
from kai_airflow.local.kubernetes.status import NotReadyError

_EXAMPLE = "[python, -m, my_package.my_module]"


class ImageMap:
    """The image map in a file, which needn't exist yet."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._state: tuple[int, int] | None = None
        self._commands: dict[str, list[str]] = {}

    def has(self, image: str) -> bool:
        """Whether the map has a command for the image. Raises NotReadyError where it can't be read."""
        return self._file.exists() and image in self._read()

    def command(self, container: Container) -> list[str]:
        """The words that the container runs. Raises NotReadyError (ErrImagePull) where the map has none."""
        mapped = self._read().get(container.image)
        if mapped is None:
            line = f"{container.image}: {_EXAMPLE}"
            raise _missing(f"image {container.image} isn't in {self._file}; add the line `{line}` with its command")
        words = [*container.command, *container.args] if container.command else [*mapped, *container.args]
        return [sys.executable, *words[1:]] if words[0] == "python" else words

    def _read(self) -> dict[str, list[str]]:
        try:
            stat = self._file.stat()
            if self._state != (stat.st_mtime_ns, stat.st_size):
                self._commands = dict(self._entries(self._file.read_bytes()))
                self._state = stat.st_mtime_ns, stat.st_size
        except FileNotFoundError as error:
            what = f"{self._file} doesn't exist; it maps images to commands, a line each: `IMAGE: {_EXAMPLE}`"
            raise _missing(what) from error
        except OSError as error:
            raise _missing(f"can't read {self._file}: {error}") from error
        return self._commands

    def _entries(self, text: bytes) -> Iterator[tuple[str, list[str]]]:
        for key, value in self._nodes(text):
            words = value.value if isinstance(value, yaml.SequenceNode) else []
            if not isinstance(key, yaml.ScalarNode) or not words:
                raise self._broken(key, f"each entry must be `IMAGE: {_EXAMPLE}`")
            for word in words:
                if not isinstance(word, yaml.ScalarNode) or word.value == "":
                    raise self._broken(word, f"each word of the command of {key.value} must be text")
            yield key.value, [self._beside(word.value) for word in words]

    def _nodes(self, text: bytes) -> list[tuple[yaml.Node, yaml.Node]]:
        try:
            root = yaml.compose(text, Loader=yaml.SafeLoader)
        except (yaml.YAMLError, RecursionError, ValueError) as error:
            mark = getattr(error, "problem_mark", None)
            place = f"{self._file}, line {mark.line + 1}" if mark else self._file
            raise _missing(f"{place}: not YAML: {getattr(error, 'problem', None) or error}") from error
        if root is None:
            return []
        if not isinstance(root, yaml.MappingNode):
            raise self._broken(root, f"the file must hold entries `IMAGE: {_EXAMPLE}`")
        return list(root.value)

    def _broken(self, node: yaml.Node, what: str) -> NotReadyError:
        return _missing(f"{self._file}, line {node.start_mark.line + 1}: {what}")

    def _beside(self, word: str) -> str:
        return str(self._file.absolute().parent / word) if word.startswith("./") else word


def _missing(message: str) -> NotReadyError:
    return NotReadyError("ErrImagePull", message)
