"""``x-airflow.pod``: a pod as Kubernetes writes it, of which a KRT gives what it has no words for itself.

The keys of a pod's spec and of its containers are Kubernetes' own (PodSpec and Container of its API 1.36); what lies
deeper is for Kubernetes to judge.
"""

from __future__ import annotations

from typing import Any

from kai_airflow.krt.schema import Kind, Table, boolean, each, integer, json_list, json_map, table_of, text, texts

_CONTAINER = table_of(
    "a container of x-airflow.pod",
    {
        "args": each(text),
        "command": each(text),
        "env": json_list,
        "envFrom": json_list,
        "image": text,
        "imagePullPolicy": text,
        "lifecycle": json_map,
        "livenessProbe": json_map,
        "name": text,
        "ports": json_list,
        "readinessProbe": json_map,
        "resizePolicy": json_list,
        "resources": json_map,
        "restartPolicy": text,
        "restartPolicyRules": json_list,
        "securityContext": json_map,
        "startupProbe": json_map,
        "stdin": boolean,
        "stdinOnce": boolean,
        "terminationMessagePath": text,
        "terminationMessagePolicy": text,
        "tty": boolean,
        "volumeDevices": json_list,
        "volumeMounts": json_list,
        "workingDir": text,
    },
)
_SPEC = table_of(
    "the spec of x-airflow.pod",
    {
        "activeDeadlineSeconds": integer,
        "affinity": json_map,
        "automountServiceAccountToken": boolean,
        "containers": each(_CONTAINER),
        "dnsConfig": json_map,
        "dnsPolicy": text,
        "enableServiceLinks": boolean,
        "ephemeralContainers": json_list,
        "hostAliases": json_list,
        "hostIPC": boolean,
        "hostNetwork": boolean,
        "hostPID": boolean,
        "hostUsers": boolean,
        "hostname": text,
        "hostnameOverride": text,
        "imagePullSecrets": json_list,
        "initContainers": each(_CONTAINER),
        "nodeName": text,
        "nodeSelector": texts,
        "os": json_map,
        "overhead": texts,
        "preemptionPolicy": text,
        "priority": integer,
        "priorityClassName": text,
        "readinessGates": json_list,
        "resourceClaims": json_list,
        "resources": json_map,
        "restartPolicy": text,
        "runtimeClassName": text,
        "schedulerName": text,
        "schedulingGates": json_list,
        "schedulingGroup": json_map,
        "securityContext": json_map,
        "serviceAccount": text,
        "serviceAccountName": text,
        "setHostnameAsFQDN": boolean,
        "shareProcessNamespace": boolean,
        "subdomain": text,
        "terminationGracePeriodSeconds": integer,
        "tolerations": json_list,
        "topologySpreadConstraints": json_list,
        "volumes": json_list,
    },
)
_METADATA = table_of("the metadata of x-airflow.pod", {"annotations": texts, "labels": texts})

pod_template: Kind[Table[Any]] = table_of("x-airflow.pod", {"metadata": _METADATA, "spec": _SPEC})
"""``{metadata: {labels, annotations}, spec: ...}``."""
