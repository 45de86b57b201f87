"""What a process is told by its app.yaml (KAI reference, section 5) and the environment."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from kai_airflow.plan.names import Bucket, Stream, Subject
from kai_airflow.process.errors import ProcessError

if TYPE_CHECKING:
    from collections.abc import Mapping

FOLDER = "KAI_APP_CONFIG_PATH"
PREFIX = "KAI_"
SCOPES = ("global", "product", "workflow", "process")

# The SDKs refuse to start without these. So does this helper, though it needs fewer: an app.yaml that one process
# started with serves any other.
MANDATORY = (
    "metadata.product_id",
    "metadata.version_tag",
    "metadata.workflow_name",
    "metadata.workflow_type",
    "metadata.process_name",
    "metadata.process_type",
    "nats.url",
    "nats.stream",
    "nats.output",
    *(f"centralized_configuration.{scope}.bucket" for scope in SCOPES),
    "minio.endpoint",
    "minio.client_user",
    "minio.client_password",
    "minio.ssl",
    "minio.bucket",
    "auth.endpoint",
    "auth.client",
    "auth.client_secret",
    "auth.realm",
    "predictions.endpoint",
    "predictions.username",
    "predictions.password",
    "predictions.index",
    "measurements.endpoint",
    "measurements.insecure",
    "measurements.timeout",
    "measurements.metrics_interval",
)


@dataclass(frozen=True)
class Settings:
    """Who a process is, and where its messages come from and go to."""

    process: str
    type: str
    nats_url: str = field(repr=False)
    stream: Stream
    output: Subject
    inputs: tuple[Subject, ...]
    object_store: Bucket | None
    buckets: Mapping[str, Bucket]
    config: Mapping[str, str]


def read(environ: Mapping[str, str]) -> Settings:
    """The settings in app.yaml, with the environment's ``KAI_NATS.URL`` and the like over it.

    :raises ProcessError: no file, not YAML, or a key that is missing or of the wrong kind
    """
    file = _file(environ)
    document = _Document(file, _load(file), environ)
    document.require(MANDATORY)
    return Settings(
        process=document.text("metadata.process_name"),
        type=document.text("metadata.process_type"),
        nats_url=document.text("nats.url"),
        stream=Stream(document.text("nats.stream")),
        output=Subject(document.text("nats.output")),
        inputs=tuple(Subject(subject) for subject in document.texts("nats.inputs")),
        object_store=Bucket(document.text("nats.object_store")) or None,
        buckets={scope: Bucket(document.text(f"centralized_configuration.{scope}.bucket")) for scope in SCOPES},
        config=document.mapping("centralized_configuration.process.config"),
    )


@dataclass(frozen=True)
class _Document:
    file: Path
    content: object
    environ: Mapping[str, str]

    def require(self, keys: tuple[str, ...]) -> None:
        missing = [key for key in keys if self._find(key) is None]
        if missing:
            raise ProcessError(f"{self.file}: {', '.join(missing)} missing. Remedy: add to the file.")

    def text(self, key: str) -> str:
        found = self.environ.get(PREFIX + key.upper(), self._find(key))
        if isinstance(found, dict | list):
            raise self._wrong(key, "text")
        return "" if found is None else str(found)

    def texts(self, key: str) -> list[str]:
        found = self._find(key) or []
        if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
            raise self._wrong(key, "a list of texts")
        return found

    def mapping(self, key: str) -> dict[str, str]:
        found = self._find(key) or {}
        if not isinstance(found, dict) or any(isinstance(item, dict | list) for item in found.values()):
            raise self._wrong(key, "a map of texts")
        return {str(name): str(item) for name, item in found.items()}

    def _find(self, key: str) -> Any:
        found = self.content
        for part in key.split("."):
            found = found.get(part) if isinstance(found, dict) else None
        return found

    def _wrong(self, key: str, kind: str) -> ProcessError:
        return ProcessError(f"{self.file}: {key} is not {kind}. Remedy: mend it in the file.")


def _file(environ: Mapping[str, str]) -> Path:
    if not environ.get(FOLDER):
        raise ProcessError(f"{FOLDER} is not set. Remedy: set it to the folder that holds app.yaml.")
    return Path(environ[FOLDER]) / "app.yaml"


def _load(file: Path) -> object:
    try:
        content: object = yaml.safe_load(file.read_bytes())
    except OSError as error:
        raise ProcessError(f"{file}: {error.strerror}. Remedy: {FOLDER} names the folder of app.yaml.") from error
    except yaml.MarkedYAMLError as error:
        # The error's own text quotes the line, which may hold a password.
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ProcessError(f"{file}{line}: not YAML: {error.problem}") from None
    except yaml.YAMLError:
        raise ProcessError(f"{file}: not YAML") from None
    return content
