"""``python -m kai_airflow.rehearsal FOLDER``."""

from __future__ import annotations

import gc
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TextIO


def main(folder: Path) -> None:
    """Run the job of the folder; doesn't return."""
    # Importing Airflow makes objects by the million and hardly any garbage: looking for some takes half a second.
    gc.disable()
    from kai_airflow.rehearsal.running import rehearse

    job = json.loads((folder / "job.json").read_bytes())
    with (folder / "events").open("w") as events:
        rehearse(folder / "dags", job["path"], job["dag_id"], job["conf"], lambda said: _tell(events, said))
    # Not sys.exit(): Airflow would take two seconds to close its in-process API, which ends with this process.
    sys.stdout.flush()
    os._exit(0)


def _tell(events: TextIO, said: Mapping[str, Any]) -> None:
    print(json.dumps(said), file=events, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
