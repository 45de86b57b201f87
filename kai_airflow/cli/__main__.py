"""``python -m kai_airflow.cli``: the command, where its script isn't on PATH."""

from __future__ import annotations

import sys

from kai_airflow.cli import main

sys.exit(main())
