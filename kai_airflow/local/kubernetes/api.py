"""The verbs of the API over the store, one method each. HTTP is another module's; so is what pods do."""

import asyncio
import contextlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from kai_airflow.local.kubernetes import managers, metadata
from kai_airflow.local.kubernetes.errors import ApiError, Object, already_exists, bad_request, conflict, not_found
from kai_airflow.local.kubernetes.managers import Applier
from kai_airflow.local.kubernetes.query import DeleteOptions
from kai_airflow.local.kubernetes.resources import PODS, Resource
from kai_airflow.local.kubernetes.selectors import View
from kai_airflow.local.kubernetes.store import Key, Store

SELF = "kai-local"
"""The manager of what the server itself writes."""


class Api:
    """Every method answers with an object as it is kept, and raises ApiError as a kube-apiserver would answer.

    A `manager` is who writes, for managedFields.
    """

    def __init__(self, store: Store) -> None:
        self.store = store

    def create(self, resource: Resource, namespace: str, body: Object, manager: str = SELF) -> Object:
        """A new object; a generateName makes its name."""
        draft = self._named(resource, _fitted(resource, namespace, body))
        new = resource.prepare(draft, None)
        key = Key(resource.plural, namespace, new["metadata"]["name"])
        if self.store.get(key) is not None:
            raise already_exists(resource.plural, key.name)
        born = {**new, "metadata": metadata.born(new["metadata"], resource.generation)}
        return self.store.put(key, managers.updated(None, born, manager))

    def read(self, resource: Resource, namespace: str, name: str) -> Object:
        """The object."""
        found = self.store.get(Key(resource.plural, namespace, name))
        if found is None:
            raise not_found(resource.plural, name)
        return found

    def exists(self, resource: Resource, namespace: str, name: str) -> bool:
        """Whether there is such an object."""
        return self.store.get(Key(resource.plural, namespace, name)) is not None

    def list(self, resource: Resource, view: View) -> Object:
        """The objects of the view, as a list object."""
        items = [obj for obj in self.store.select(view.kind, view.namespace) if view.shows(obj)]
        return {
            "kind": f"{resource.kind}List",
            "apiVersion": resource.api_version,
            "metadata": {"resourceVersion": str(self.store.version)},
            "items": items,
        }

    def replace(self, resource: Resource, namespace: str, name: str, body: Object, manager: str = SELF) -> Object:
        """The object with what its client may change changed."""
        old = self.read(resource, namespace, name)
        draft = _fitted(resource, namespace, body)
        _check_same(resource, draft["metadata"], old["metadata"])
        new = _renewed(resource.prepare(draft, old), old)
        return self.store.put(Key(resource.plural, namespace, name), managers.updated(old, new, manager))

    def patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        patch: Object,
        patcher: Callable[[Any, Any], Any],
        manager: str = SELF,
    ) -> Object:
        """The object with a patch applied."""
        old = self.read(resource, namespace, name)
        return self.replace(resource, namespace, name, patcher(old, patch), manager)

    def apply(self, resource: Resource, namespace: str, name: str, body: Object, applier: Applier) -> Object:
        """Server-side apply: the object with what the applier says; made where there is none."""
        said = _applicable(resource, namespace, name, body)
        key = Key(resource.plural, namespace, name)
        old = self.store.get(key)
        if old is None:
            return self._apply_new(resource, key, said, applier)
        _check_same(resource, said["metadata"], old["metadata"])
        draft = managers.applied(old, said, applier)
        new = _renewed(resource.prepare(draft, old), old)
        return self.store.put(key, _with_managers(new, draft))

    def _apply_new(self, resource: Resource, key: Key, said: Object, applier: Applier) -> Object:
        if said["metadata"].get("uid") or said["metadata"].get("resourceVersion"):
            raise not_found(resource.plural, key.name)
        draft = managers.applied({"metadata": {}}, said, applier)
        new = resource.prepare(draft, None)
        born = {**new, "metadata": metadata.born(new["metadata"], resource.generation)}
        return self.store.put(key, _with_managers(born, draft))

    def delete(self, resource: Resource, namespace: str, name: str, options: DeleteOptions) -> Object:
        """Delete an object. A pod is marked, and vanishes when its processes are gone; the rest goes at once."""
        old = self.read(resource, namespace, name)
        options.check(resource, old["metadata"])
        key = Key(resource.plural, namespace, name)
        return self._mark(key, old, options) if resource is PODS else self.store.remove(key)

    async def delete_collection(self, resource: Resource, view: View, options: DeleteOptions) -> Object:
        """Delete every object of the view; the list of what was deleted."""
        found = self.list(resource, view)
        for obj in found["items"]:
            with contextlib.suppress(ApiError):  # gone meanwhile, or not as the precondition wants it
                self.delete(resource, obj["metadata"]["namespace"], obj["metadata"]["name"], options)
            await asyncio.sleep(0)  # who follows the store must not fall behind its history
        return found

    def _mark(self, key: Key, pod: Object, options: DeleteOptions) -> Object:
        """Set or bring forward a pod's deletionTimestamp; its generation grows, as in Kubernetes."""
        old, grace = pod["metadata"], options.grace_period_seconds
        grace = pod["spec"]["terminationGracePeriodSeconds"] if grace is None else grace
        if grace >= old.get("deletionGracePeriodSeconds", grace + 1):
            return pod
        deletion = {
            "deletionTimestamp": metadata.rfc3339(datetime.now(UTC) + timedelta(seconds=grace)),
            "deletionGracePeriodSeconds": grace,
            "generation": old["generation"] + 1,
        }
        return self.store.put(key, {**pod, "metadata": {**old, **deletion}})

    def _named(self, resource: Resource, draft: Object) -> Object:
        """The draft with a free name, where it gives a generateName only."""
        own = draft["metadata"]
        prefix = own.get("generateName")
        if own.get("name") or not isinstance(prefix, str) or not prefix:
            return draft
        name = metadata.generated(prefix)
        while self.store.get(Key(resource.plural, own["namespace"], name)) is not None:
            name = metadata.generated(prefix)
        return {**draft, "metadata": {**own, "name": name}}


def _fitted(resource: Resource, namespace: str, body: Object) -> Object:
    """The body as an object of this kind and namespace, nulls left out. Raises ApiError 400 where it says otherwise."""
    fixed = {"apiVersion": resource.api_version, "kind": resource.kind}
    for name, value in fixed.items():
        if body.get(name) not in (None, value):
            raise bad_request(f"the {name} of the object ({body[name]}) doesn't match the URL's ({value})")
    body = _without_nulls(body)
    own = body.get("metadata", {})
    if not isinstance(own, dict):
        raise bad_request("metadata must be an object")
    if own.get("namespace", namespace) != namespace:
        raise bad_request("the namespace of the object doesn't match the namespace of the URL")
    return {**fixed, **body, "metadata": {**own, "namespace": namespace}}


def _applicable(resource: Resource, namespace: str, name: str, body: Object) -> Object:
    """What an applier says, as an object of this kind, namespace and name. Raises ApiError 400."""
    for field in ("apiVersion", "kind"):
        if not body.get(field):
            raise bad_request(f"an apply patch must say the {field} of the object")
    said = _fitted(resource, namespace, body)
    if said["metadata"].get("managedFields"):
        raise bad_request("metadata.managedFields must be nil in an apply patch")
    said = {**said, "metadata": {"name": name, **said["metadata"]}}
    if said["metadata"]["name"] != name:
        raise bad_request("the name of the object doesn't match the name of the URL")
    return {field: part for field, part in said.items() if field != "status"}


def _renewed(new: Object, old: Object) -> Object:
    """A changed object with the server's part of its metadata; a changed spec is another generation."""
    kept = metadata.renewed(new["metadata"], old["metadata"])
    if "generation" in kept and new["spec"] != old["spec"]:
        kept = {**kept, "generation": kept["generation"] + 1}
    return {**new, "metadata": kept}


def _with_managers(new: Object, draft: Object) -> Object:
    return {**new, "metadata": {**new["metadata"], "managedFields": draft["metadata"]["managedFields"]}}


def _without_nulls(value: Any) -> Any:
    """A null in a map says the same as nothing, as in Kubernetes."""
    if isinstance(value, dict):
        return {name: _without_nulls(part) for name, part in value.items() if part is not None}
    return [_without_nulls(part) for part in value] if isinstance(value, list) else value


def _check_same(resource: Resource, new: Object, old: Object) -> None:
    """Raise ApiError where a write isn't about this very state of the object."""
    if new.get("name") != old["name"]:
        raise bad_request("the name of the object doesn't match the name of the URL")
    if new.get("uid", old["uid"]) != old["uid"]:
        raise conflict(resource.plural, old["name"], "the object has another uid: it was deleted and created anew")
    if new.get("resourceVersion") not in (None, "", old["resourceVersion"]):
        why = "the object has been modified; please apply your changes to the latest version and try again"
        raise conflict(resource.plural, old["name"], why)
