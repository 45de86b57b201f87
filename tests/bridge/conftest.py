"""The local Kubernetes API, as the tests of the operators have it."""

from tests.operators.conftest import api, kubernetes

__all__ = ["api", "kubernetes"]
