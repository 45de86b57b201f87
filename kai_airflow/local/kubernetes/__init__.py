"""A small Kubernetes API for one machine, which runs containers as processes.

It keeps Pods, Secrets and Events in memory, as a kube-apiserver does (versions, watches, selectors, conflicts, owner
references), and is their kubelet: an image map (images.yaml) names the command that stands for an image. What isn't
implemented is refused with 404, 415 or 501 and a Kubernetes Status, never answered with a made-up success.

How a process differs from a container:

- It sees this machine: its files, its network (every podIP is 127.0.0.1), its users.
- A mounted volume is a folder of the pod; environment values and command words that name a mountPath follow.
- Resource requests and limits, nodeSelector, affinity, tolerations, ports, security contexts, service accounts and
  image pull policies are kept in the object and not enforced.
- Files of a mounted Secret don't change after the start, and nothing is written to or read from terminationMessagePath.

What runs it all is server.py. From the outside in:

    http, query, watch           requests and streams: URLs, parameters, a change as a client's view sees it
    api, patch, garbage          the verbs; merge patches; owner references and old Events
    metadata, resources, pods    what an object may say
    store, selectors, errors     objects, versions and history; which objects; refusals as Status objects
    node, life, status, events   pods -> containers: what happens, and how a pod tells of it
    images, mounts, environment  what a container is started with
    process, shim, logs          its processes, and what they print
"""
