"""What Airflow loads: light, once, and never in the way of Airflow's own UI."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kai_airflow.plugin import KaiPlugin

if TYPE_CHECKING:
    import pytest

FILE = Path(__file__).parents[2] / "plugins" / "kai.py"


def run(program: str) -> Any:
    """What a program in an interpreter of its own prints last, as JSON."""
    ran = subprocess.run([sys.executable, "-c", f"import json, sys\n{program}"], capture_output=True, check=True)
    return json.loads(ran.stdout.splitlines()[-1])


def test_airflow_takes_it_for_a_plugin() -> None:
    program = """
from airflow.plugins_manager import is_valid_plugin
from kai_airflow.plugin import KaiPlugin
(app,) = KaiPlugin().fastapi_apps
print(json.dumps([is_valid_plugin(KaiPlugin), app["name"], app["url_prefix"]]))
"""
    assert run(program) == [True, "KAI", "/kai"]


def test_what_every_part_of_airflow_loads_is_light() -> None:
    loaded = run("import kai_airflow.plugin; print(json.dumps(sorted(sys.modules)))")
    assert not {name for name in loaded if name.startswith(("kai_airflow.ui", "kubernetes", "nats"))}


def test_the_page_imports_no_client_of_kubernetes_until_it_is_shown() -> None:
    loaded = run("import kai_airflow.ui.app; print(json.dumps(sorted(sys.modules)))")
    assert not {name for name in loaded if name.startswith("kubernetes")}


def test_a_page_that_cannot_be_made_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kai_airflow.ui.app", None)
    assert KaiPlugin().fastapi_apps == []


def test_a_plugins_folder_registers_it_only_where_no_package_does(monkeypatch: pytest.MonkeyPatch) -> None:
    def there(*names: str) -> EntryPoints:
        return EntryPoints(EntryPoint(name, "kai_airflow.plugin:KaiPlugin", "airflow.plugins") for name in names)

    monkeypatch.setattr("importlib.metadata.entry_points", lambda **asked: there("kai").select(**asked))
    assert "KaiPlugin" not in runpy.run_path(str(FILE))
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **asked: there().select(**asked))
    assert runpy.run_path(str(FILE))["KaiPlugin"] is KaiPlugin
