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

    errors      refusals, as Status objects           http        aiohttp handlers
    store       objects, versions, history            query       what a request's query says
    selectors   label and field selectors             watch       a change as a client's view sees it
    metadata, resources, pods   what an object may be api         the verbs; garbage: owner references, old Events
    patch       merge patches
    runtime     pods -> containers                    status      a pod's status, from its containers' states
    process     a container's processes, through shim images      the image map
    mounts, environment   what a container gets       logs        what it prints
"""
