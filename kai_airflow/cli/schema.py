"""``kai-airflow schema``: krt.yaml as a JSON Schema, for editors."""

from __future__ import annotations

import argparse
import json

SUMMARY = "print the JSON Schema of krt.yaml, for editors that check and complete while you write"
_EDITORS = """\
in an editor:
  kai-airflow schema > krt.schema.json, and then
  - as the first line of a krt.yaml:   # yaml-language-server: $schema=krt.schema.json
  - or for all of them, in VS Code's settings (with the YAML extension):
      "yaml.schemas": {"./krt.schema.json": ["krt.yaml", "*.krt.yaml"]}

What the schema refuses `kai-airflow validate` refuses, too, but for other spellings of numbers and booleans, such as
yes and 1_000; and that one sees more.
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """None."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EDITORS


def run(_args: argparse.Namespace) -> int:
    """Prints it."""
    from kai_airflow.krt import json_schema

    print(json.dumps(json_schema(), indent=2))
    return 0
