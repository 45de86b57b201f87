"""A KRT as it was written: section 1 of the KAI reference as typed fields with their places, no rule applied yet."""

from dataclasses import dataclass
from typing import Annotated

from kai_airflow.krt.place import Field
from kai_airflow.krt.schema import Key, Texts, boolean, each, integer, keys_of, number, record, text, texts

EXTENSION = "x-airflow"


@dataclass(frozen=True, slots=True)
class ObjectStoreDraft:
    """``objectStore``."""

    name: Annotated[Field[str], Key("name", text)]
    scope: Annotated[Field[str], Key("scope", text)]


@dataclass(frozen=True, slots=True)
class NetworkingDraft:
    """``networking``."""

    target_port: Annotated[Field[int], Key("targetPort", integer)]
    destination_port: Annotated[Field[int], Key("destinationPort", integer)]
    protocol: Annotated[Field[str], Key("protocol", text)]


@dataclass(frozen=True, slots=True)
class LimitsDraft:
    """``CPU`` or ``memory``."""

    request: Annotated[Field[str], Key("request", text)]
    limit: Annotated[Field[str], Key("limit", text)]


@dataclass(frozen=True, slots=True)
class ResourcesDraft:
    """``resourceLimits``."""

    cpu: Annotated[Field[LimitsDraft], Key("CPU", record(LimitsDraft))]
    memory: Annotated[Field[LimitsDraft], Key("memory", record(LimitsDraft))]


@dataclass(frozen=True, slots=True)
class ProcessExtension:
    """A process's ``x-airflow``."""

    retries: Annotated[Field[int], Key("retries", integer)]
    retry_delay: Annotated[Field[float], Key("retry_delay", number)]
    start_timeout: Annotated[Field[float], Key("start_timeout", number)]
    execution_timeout: Annotated[Field[float], Key("execution_timeout", number)]
    on_message_error: Annotated[Field[str], Key("on_message_error", text)]
    deferrable: Annotated[Field[bool], Key("deferrable", boolean)]


@dataclass(frozen=True, slots=True)
class ProcessDraft:
    """One of ``processes``."""

    name: Annotated[Field[str], Key("name", text)]
    type: Annotated[Field[str], Key("type", text)]
    image: Annotated[Field[str], Key("image", text)]
    replicas: Annotated[Field[int], Key("replicas", integer)]
    gpu: Annotated[Field[bool], Key("gpu", boolean)]
    config: Annotated[Field[Texts], Key("config", texts)]
    object_store: Annotated[Field[ObjectStoreDraft], Key("objectStore", record(ObjectStoreDraft))]
    secrets: Annotated[Field[tuple[Field[str], ...]], Key("secrets", each(text))]
    subscriptions: Annotated[Field[tuple[Field[str], ...]], Key("subscriptions", each(text))]
    networking: Annotated[Field[NetworkingDraft], Key("networking", record(NetworkingDraft))]
    resources: Annotated[Field[ResourcesDraft], Key("resourceLimits", record(ResourcesDraft))]
    node_selectors: Annotated[Field[Texts], Key("nodeSelectors", texts)]
    extension: Annotated[Field[ProcessExtension], Key(EXTENSION, record(ProcessExtension, extension=EXTENSION))]


@dataclass(frozen=True, slots=True)
class WorkflowExtension:
    """A workflow's ``x-airflow``."""

    schedule: Annotated[Field[str], Key("schedule", text)]
    mode: Annotated[Field[str], Key("mode", text)]


@dataclass(frozen=True, slots=True)
class WorkflowDraft:
    """One of ``workflows``."""

    name: Annotated[Field[str], Key("name", text)]
    type: Annotated[Field[str], Key("type", text)]
    config: Annotated[Field[Texts], Key("config", texts)]
    processes: Annotated[Field[tuple[Field[ProcessDraft], ...]], Key("processes", each(record(ProcessDraft)))]
    extension: Annotated[Field[WorkflowExtension], Key(EXTENSION, record(WorkflowExtension, extension=EXTENSION))]


@dataclass(frozen=True, slots=True)
class ProductExtension:
    """The document's ``x-airflow``."""

    product: Annotated[Field[str], Key("product", text)]


@dataclass(frozen=True, slots=True)
class ProductDraft:
    """The document."""

    version: Annotated[Field[str], Key("version", text)]
    description: Annotated[Field[str], Key("description", text)]
    config: Annotated[Field[Texts], Key("config", texts)]
    workflows: Annotated[Field[tuple[Field[WorkflowDraft], ...]], Key("workflows", each(record(WorkflowDraft)))]
    extension: Annotated[Field[ProductExtension], Key(EXTENSION, record(ProductExtension, extension=EXTENSION))]


KEYS = frozenset(
    key.name
    for draft in (
        ProductDraft,
        ProductExtension,
        WorkflowDraft,
        WorkflowExtension,
        ProcessDraft,
        ProcessExtension,
        ObjectStoreDraft,
        NetworkingDraft,
        ResourcesDraft,
        LimitsDraft,
    )
    for key in keys_of(draft).values()
)
"""Every key that means something in a KRT."""
