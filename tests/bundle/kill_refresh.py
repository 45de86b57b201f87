"""Kills refreshes at random moments: ``kill_refresh.py DAGS ROUNDS SEED``.

Prints the number of refreshes that were killed before they ended. Fails where one left a module without its document
or a file that isn't whole, or where the refresh after it doesn't mend everything. A program of its own because it
forks, which only a program with one thread should.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

from kai_airflow.bundle import KrtDagBundle, module

FILES = 30
LINES = 400


def main(dags: Path, rounds: int, seed: int) -> int:
    """The number of refreshes killed."""
    chance = random.Random(seed)
    bundle = KrtDagBundle(name="krt", path=dags)
    change(dags, 0, chance)
    longest = timed(bundle)
    killed = 0
    for number in range(1, rounds + 1):
        change(dags, number, chance)
        killed += kill(bundle, chance.uniform(0, longest * 1.2))
        assert_whole(bundle.path)
        bundle.refresh()
        assert_mended(dags, bundle.path)
    return killed


def change(dags: Path, number: int, chance: random.Random) -> None:
    """Change most files, without changing their size; remove or bring back the others."""
    for index in range(FILES):
        file = dags / f"f{index}" / "krt.yaml"
        if chance.random() < 0.8:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(document(number))
        elif file.exists():
            file.unlink()


def document(number: int) -> str:
    """A document of which one can see whether it is whole."""
    return "text: |\n" + f"  number {number:06}\n" * LINES


def timed(bundle: KrtDagBundle) -> float:
    """How long a refresh of all the files takes, in seconds."""
    start = time.monotonic()
    bundle.refresh()
    return time.monotonic() - start


def kill(bundle: KrtDagBundle, after: float) -> bool:
    """Whether a refresh was killed before it ended."""
    child = os.fork()
    if child == 0:
        bundle.refresh()
        os._exit(0)
    time.sleep(after)  # the moment is the point: no event to wait for
    os.kill(child, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def assert_whole(generated: Path) -> None:
    for code in generated.glob("*/*.py"):
        lines = code.with_suffix("").read_text().splitlines()[1:]
        assert len(lines) == LINES, code
        assert len(set(lines)) == 1, code
        assert len(set(code.read_text().splitlines()[-LINES - 1 : -1])) == 1, code


def assert_mended(dags: Path, generated: Path) -> None:
    expected: dict[str, bytes] = {}
    for file in dags.glob("*/krt.yaml"):
        name = str(file.relative_to(dags))
        expected |= {name: file.read_bytes(), f"{name}.py": module.loading(name, file.read_bytes())}
    found = {str(p.relative_to(generated)): p.read_bytes() for p in generated.rglob("*") if p.is_file()}
    del found[".airflowignore"]
    assert found == expected


if __name__ == "__main__":
    print(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))  # noqa: T201
