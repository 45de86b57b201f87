"""A small Kubernetes API for one machine, which runs containers as processes.

It keeps objects in memory, as a kube-apiserver does (versions, watches, selectors, conflicts, owner references,
server-side apply), and is their kubelet, their controllers and their ingress controller: Pods, Secrets, Events,
Services, Deployments, HorizontalPodAutoscalers, Leases, Ingresses. An image map (images.yaml) names the command that
stands for an image; images that aren't in it run through podman or docker, where there is one. What isn't implemented
is refused with 404, 415 or 501 and a Kubernetes Status, never answered with a made-up success.

How a process differs from a container:

- It sees this machine: its files, its network (every podIP is 127.0.0.1), its users.
- All share the ports of this machine. A process that declares containerPort P listens on the port that the variable
  KAI_AIRFLOW_PORT_P names; probes and Ingresses ask there. A container of an engine listens on P itself.
- A mounted volume is a folder of the pod; environment values and command words that name a mountPath follow. In a
  container of an engine it stands at its mountPath.
- Resource requests and limits, nodeSelector, affinity, tolerations, security contexts, service accounts and
  imagePullSecrets are kept in the object and not enforced. Liveness and startup probes are refused.
- Files of a mounted Secret don't change after the pod's start, and nothing is written to or read from
  terminationMessagePath.

How the controllers differ from a cluster's:

- A Deployment owns its pods itself: there are no ReplicaSets, no revisions, no adoption of pods that it didn't make.
- A container that ends is started again after 1 s, doubled up to 30 s. Until a pod is ready for the first time it is
  probed every 0.1 s.
- An autoscaler holds its Deployment between its bounds; nothing measures.
- One proxy, on one port of 127.0.0.1, serves the Ingresses of every class, without TLS and without gRPC. Services have
  no address of their own: an Ingress is what leads to one.

What runs it all is server.py. From the outside in:

    http, bodies, query, watch    requests and streams: URLs, parameters, a change as a client's view sees it
    api, scale, managers, fields  the verbs; server-side apply, and who manages which field
    patch, controllers, rollout   merge patches; what Deployments, autoscalers and Ingresses lead to; a rollout's steps
    garbage                       owner references and old Events
    metadata, resources           what an object may say, by kind:
    pods, readiness, workloads, networking, leases
    store, selectors, errors      objects, versions and history; which objects; refusals as Status objects
    node, life, container         pods -> containers: what happens
    status, events, patience      how a pod tells of it, and waits for what it needs
    probes, allotted              whether a container is ready; the ports that it gets
    launch, images, engine        what a container is started with: by the image map, or by podman or docker
    mounts, environment
    process, shim, logs           its processes, and what they print
    proxy, routes                 requests to Ingresses, and which Service answers
"""
