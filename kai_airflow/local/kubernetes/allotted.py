"""Ports of this machine for containers: all share one network, so each gets its own for what it listens on."""

from kai_airflow.local import ports

VARIABLE = "KAI_AIRFLOW_PORT_{}"
"""The variable that tells a program on which port to listen for the containerPort that it declares."""


class Allotment:
    """Who has which ports; none is given twice, even before its program listens there."""

    def __init__(self) -> None:
        self._held: set[int] = set()

    def take(self, count: int) -> list[int]:
        """Free ports of 127.0.0.1."""
        found: list[int] = []
        while len(found) < count:
            (port,) = ports.free(1)
            if port not in self._held:
                self._held.add(port)
                found.append(port)
        return found

    def give_back(self, taken: list[int]) -> None:
        """They may be given to others."""
        self._held.difference_update(taken)


def variables(known: dict[int, int]) -> dict[str, str]:
    """The variables for containerPort -> port."""
    return {VARIABLE.format(declared): str(port) for declared, port in known.items()}
