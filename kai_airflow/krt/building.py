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
from kai_airflow.krt.rules.timing import keeper
from kai_airflow.krt.rules.workflow import all_of as workflows_of
from kai_airflow.krt.rules.workflow import mode_of, processes_of
from kai_airflow.krt.schema import Table

if TYPE_CHECKING:
    from collections.abc import Container

    from kai_airflow.krt.draft import (
        LimitsDraft,
        NetworkingDraft,
        ObjectStoreDraft,
        ProcessDraft,
        ProductDraft,
        ResourcesDraft,
        Texts,
        WorkflowDraft,
    )
    from kai_airflow.krt.place import Field

T = TypeVar("T")


def build(name: str, draft: ProductDraft) -> Product:
    """The product; the draft has passed every rule."""
    return Product(
        name=name,
        version=_required(draft.version),
        description=_required(draft.description),
        config=_texts(draft.config),
        workflows=tuple(_workflow(workflow) for workflow in workflows_of(draft)),
        **_said(draft.extension, but={"product"}),
    )


def _workflow(draft: WorkflowDraft) -> Workflow:
    kept = keeper(draft)
    return Workflow(
        name=_required(draft.name),
        type=cast("WorkflowType", draft.type.value),
        config=_texts(draft.config),
        processes=tuple(_process(process) for process in processes_of(draft)),
        mode=mode_of(draft),
        keeper=kept.trigger if kept else None,
        timing=kept.timing if kept else None,
        **_said(draft.extension, but={"mode"}),
    )


def _process(draft: ProcessDraft) -> Process:
    store, networking = draft.object_store.value, draft.networking.value
    return Process(
        name=_required(draft.name),
        type=cast("ProcessType", draft.type.value),
        image=_required(draft.image),
        replicas=max(1, draft.replicas.value or 1),
        gpu=bool(draft.gpu.value),
        config=_texts(draft.config),
        object_store=_object_store(store) if store else None,
        secrets=_plain(draft.secrets) or (),
        subscriptions=tuple(Subscription.parse(text) for text in _plain(draft.subscriptions) or ()),
        networking=_networking(networking) if networking else None,
        resources=_resources(_required(draft.resources)),
        node_selectors=_texts(draft.node_selectors),
        pod=_json(draft.extension.value.pod) or {} if draft.extension.value else {},
        **_said(draft.extension, but={"pod"}),
    )


def _said(extension: Field[Any], *, but: Container[str]) -> dict[str, Any]:
    """What the extension says, field by field; what it leaves out is the model's default."""
    if extension.value is None:
        return {}
    names = (field.name for field in dataclasses.fields(extension.value) if field.name not in but)
    said = {name: _plain(getattr(extension.value, name)) for name in names}
    return {name: value for name, value in said.items() if value is not None}


def _plain(field: Field[Any]) -> Any:
    """A value without places."""
    if isinstance(field.value, tuple):
        return tuple(_plain(item) for item in field.value)
    if isinstance(field.value, Table):
        return {key: _plain(item) for key, item in field.value.fields.items() if item.value is not None}
    return field.value


def _json(field: Field[Any]) -> Any:
    """A value as JSON has it."""
    if isinstance(field.value, tuple):
        return [_json(item) for item in field.value]
    if isinstance(field.value, Table):
        return {key: _json(item) for key, item in field.value.fields.items() if item.value is not None}
    return field.value


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
