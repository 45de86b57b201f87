"""What a container is started with: the command of its image on this machine, its environment, its ports."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from kai_airflow.local.kubernetes import allotted, environment, mounts
from kai_airflow.local.kubernetes.allotted import Allotment
from kai_airflow.local.kubernetes.engine import Engine
from kai_airflow.local.kubernetes.errors import Object
from kai_airflow.local.kubernetes.images import ImageMap
from kai_airflow.local.kubernetes.mounts import SecretOf
from kai_airflow.local.kubernetes.pods import Container, PodSpec


@dataclass(frozen=True)
class Launch:
    """The words that run in a folder, and the `after` words that run when all their processes are gone.

    `ports` tells for each containerPort on which port of 127.0.0.1 its program listens.
    """

    words: Sequence[str]
    environment: Mapping[str, str]
    folder: str
    source: str
    ports: Mapping[int, int]
    release: Callable[[], None]
    """To be called when its processes are gone: its ports may be given to others."""
    after: Sequence[str] = ()


@dataclass(frozen=True)
class Place:
    """Where a container is started: its pod, the pod's folder, and the Secrets of its namespace."""

    pod: Object
    spec: PodSpec
    folder: Path
    secret_of: SecretOf

    @property
    def home(self) -> Path:
        """Where processes start, and their HOME."""
        return self.folder / "home"

    @property
    def volumes(self) -> Path:
        """The folders of the pod's volumes."""
        return self.folder / "volumes"


class Launcher:
    """Launches by the image map, and for images that aren't in it by an engine, where there is one."""

    def __init__(self, images: ImageMap, engine: Engine | None) -> None:
        self._images, self._engine, self._allotment = images, engine, Allotment()

    async def launch(self, container: Container, place: Place) -> Launch:
        """Raises NotReadyError while something that it needs isn't there."""
        mounts.make_sub_paths(container, place.volumes)
        if self._engine is not None and not self._images.has(container.image):
            return await self._image(self._engine, container, place)
        words = self._images.command(container)
        taken = self._allotment.take(len(container.tcp_ports))
        known = dict(zip(container.tcp_ports, taken, strict=True))
        release = partial(self._allotment.give_back, taken)
        try:
            return self._process(words, container, place, known, release)
        except BaseException:
            release()
            raise

    def _process(
        self, words: list[str], container: Container, place: Place, known: dict[int, int], release: Callable[[], None]
    ) -> Launch:
        variables = environment.variables(container, place.pod, place.secret_of, allotted.variables(known))
        rewrite = mounts.rewriter(container, place.volumes)
        return Launch(
            [rewrite(environment.expand(word, variables)) for word in words],
            environment.base(place.home) | {name: rewrite(value) for name, value in variables.items()},
            rewrite(container.working_dir) or str(place.home),
            f"The image map has a command for {container.image}",
            known,
            release,
        )

    async def _image(self, engine: Engine, container: Container, place: Place) -> Launch:
        variables = environment.variables(container, place.pod, place.secret_of, {})
        await engine.provide(container.image, container.image_pull_policy)
        engine.require_free(container.tcp_ports)
        run = engine.run(
            container, variables, place.pod["metadata"], mounts.binds(container, place.spec, place.volumes)
        )
        source = f"{engine.name} has the image {container.image}"
        ports = {port: port for port in container.tcp_ports}
        return Launch(run.words, run.environment, str(place.home), source, ports, lambda: None, run.after)
