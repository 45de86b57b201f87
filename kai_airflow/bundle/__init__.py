"""The DAG bundle that shows Airflow the KRT files of a folder.

Airflow's own file discovery sees Python modules only, so each ``a/krt.yaml`` becomes a short module
``a/krt.yaml.py`` beside a copy of the document, both in the bundle's own folder and never in the user's. A setting of
``[dag_processor] dag_bundle_config_list`` puts it beside Airflow's LocalDagBundle::

    {"name": "krt", "classpath": "kai_airflow.bundle.KrtDagBundle", "kwargs": {"refresh_interval": 5}}

Who may read a KRT file may read its copy, and nobody else (:mod:`kai_airflow.bundle.access`): where tasks run as
another user (``run_as_user``), let that user read the KRT files, as for Python DAG files.
"""

from __future__ import annotations

import importlib
import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.configuration import conf
from airflow.dag_processing.bundles.base import BaseDagBundle

from kai_airflow.bundle.mirror import Mirror

if TYPE_CHECKING:
    import os

log = logging.getLogger(__name__)

# BaseDagBundle.lock() lets a second thread of the same bundle in. One lock of the process, not of the bundle:
# a bundle must stay something that can be copied.
_THREADS = threading.Lock()


class KrtDagBundle(BaseDagBundle):
    """The ``**/krt.yaml`` and ``**/*.krt.yaml`` below ``path`` (default: Airflow's dags folder) as DAGs.

    ``path`` may begin with ``~``; a relative one starts at the current folder, as LocalDagBundle's does.
    The rest goes to BaseDagBundle: ``name``, ``refresh_interval`` (seconds).
    """

    supports_versioning = False

    def __init__(self, *, path: str | os.PathLike[str] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        folder = conf.get_mandatory_value("core", "dags_folder") if path is None else path
        self._mirror = Mirror(
            source=Path(folder).expanduser().absolute(),
            # A folder of its own below the bundle's: what is in it and not wanted is removed.
            target=self.base_dir.absolute() / "generated",
            ignore_syntax=conf.get("core", "dag_ignore_file_syntax", fallback="glob"),
        )

    @property
    def path(self) -> Path:
        """Where the generated files are."""
        return self._mirror.target

    @property
    def source(self) -> Path:
        """Where the KRT files are."""
        return self._mirror.source

    def get_current_version(self) -> None:
        """None: KRT files are read as they are now."""

    def initialize(self) -> None:
        """Bring the generated files up to date; called once by the dag-processor and at every task's start."""
        # The dag-processor forks a process for each file: what they all import is imported before.
        importlib.import_module("kai_airflow.dag")
        self.refresh()
        super().initialize()

    def refresh(self) -> None:
        """Bring the generated files up to date; without changes nothing is locked and nothing written.

        Raises BundleError where ``path`` lies in the folder of generated files.
        """
        try:
            if self._mirror.stale():
                with _THREADS, self.lock():
                    self._mirror.update()
        except OSError as error:
            # A task that runs as another user may read the generated files, not write them: it takes them as they are.
            log.warning("%s: the generated files in %s can't be brought up to date: %s", self.name, self.path, error)
