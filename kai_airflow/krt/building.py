"""A draft in which nothing is wrong, as the frozen model: defaults filled in, places left behind."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, TypeVar, cast

from kai_airflow.krt.model import (
    Networking,
    ObjectStore,
    Process,
    ProcessType,
    Product,
    Protocol,
    Quantity,
    Resources,
    Scope,
    Subscription,
    Workflow,
    WorkflowType,
)
from kai_airflow.krt.rules.workflow import all_of as workflows_of
from kai_airflow.krt.rules.workflow import mode_of, processes_of

if TYPE_CHECKING:
    from kai_airflow.krt.draft import (
        LimitsDraft,
        NetworkingDraft,
        ObjectStoreDraft,
        ProcessDraft,
        ProcessExtension,
        ProductDraft,
        ResourcesDraft,
        WorkflowDraft,
    )
    from kai_airflow.krt.place import Field
    from kai_airflow.krt.schema import Texts

T = TypeVar("T")


def build(name: str, draft: ProductDraft) -> Product:
    """The product; the draft has passed every rule."""
    return Product(
        name=name,
        version=_required(draft.version),
        description=_required(draft.description),
        config=_texts(draft.config),
        workflows=tuple(_workflow(workflow) for workflow in workflows_of(draft)),
    )


def _workflow(draft: WorkflowDraft) -> Workflow:
    extension = draft.extension.value
    return Workflow(
        name=_required(draft.name),
        type=cast("WorkflowType", draft.type.value),
        config=_texts(draft.config),
        processes=tuple(_process(process) for process in processes_of(draft)),
        schedule=extension.schedule.value if extension else None,
        mode=mode_of(draft),
    )


def _process(draft: ProcessDraft) -> Process:
    extension = draft.extension.value
    store, networking = draft.object_store.value, draft.networking.value
    return Process(
        name=_required(draft.name),
        type=cast("ProcessType", draft.type.value),
        image=_required(draft.image),
        replicas=max(1, draft.replicas.value or 1),
        gpu=bool(draft.gpu.value),
        config=_texts(draft.config),
        object_store=_object_store(store) if store else None,
        secrets=_each(draft.secrets),
        subscriptions=tuple(Subscription.parse(text) for text in _each(draft.subscriptions)),
        networking=_networking(networking) if networking else None,
        resources=_resources(_required(draft.resources)),
        node_selectors=_texts(draft.node_selectors),
        **(_process_extension(extension) if extension else {}),
    )


def _process_extension(draft: ProcessExtension) -> dict[str, Any]:
    """What it says; what it leaves out is the model's default."""
    fields = {field.name: getattr(draft, field.name).value for field in dataclasses.fields(draft)}
    return {name: value for name, value in fields.items() if value is not None}


def _object_store(draft: ObjectStoreDraft) -> ObjectStore:
    return ObjectStore(name=_required(draft.name), scope=cast("Scope", draft.scope.value))


def _networking(draft: NetworkingDraft) -> Networking:
    return Networking(
        target_port=_required(draft.target_port),
        destination_port=_required(draft.destination_port),
        protocol=cast("Protocol", draft.protocol.value or "HTTP"),
    )


def _resources(draft: ResourcesDraft) -> Resources:
    return Resources(cpu=_quantity(_required(draft.cpu)), memory=_quantity(_required(draft.memory)))


def _quantity(draft: LimitsDraft) -> Quantity:
    request = _required(draft.request)
    return Quantity(request=request, limit=draft.limit.value or request)


def _required(field: Field[T]) -> T:
    return cast("T", field.value)  # the rules saw to it that a required field is there


def _texts(field: Field[Texts]) -> dict[str, str]:
    return field.value.values if field.value else {}


def _each(field: Field[tuple[Field[str], ...]]) -> tuple[str, ...]:
    return tuple(item.value for item in field.value or () if item.value is not None)
