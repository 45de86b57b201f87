"""For an Airflow that finds kai_airflow on its path but not among installed packages: the plugin by its folder.

Where the package is installed, Airflow finds the plugin by its entry point, and this says nothing.
"""

from importlib.metadata import entry_points

if not entry_points(group="airflow.plugins", name="kai"):
    from kai_airflow.plugin import KaiPlugin as KaiPlugin
