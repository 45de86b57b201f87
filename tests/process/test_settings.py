"""What a process is told by app.yaml and the environment."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from kai_airflow.process.errors import ProcessError
from kai_airflow.process.settings import MANDATORY, read

if TYPE_CHECKING:
    from pathlib import Path

APP: dict[str, Any] = {
    "metadata": {
        "product_id": "shop",
        "version_tag": "v1.0.0",
        "workflow_name": "train",
        "workflow_type": "training",
        "process_name": "splitter",
        "process_type": "task",
    },
    "nats": {"url": "nats://u:s3cret@host:4222", "stream": "s", "output": "s.splitter", "inputs": ["s.a", "s.b.go"]},
    "centralized_configuration": {
        "global": {"bucket": "g"},
        "product": {"bucket": "p"},
        "workflow": {"bucket": "w"},
        "process": {"bucket": "x", "config": {"rate": 0.5, "on": True, "name": "text"}},
    },
    "minio": {"endpoint": "m", "client_user": "u", "client_password": "s3cret", "ssl": False, "bucket": "b"},
    "auth": {"endpoint": "a", "client": "c", "client_secret": "s3cret", "realm": "r"},
    "predictions": {"endpoint": "r", "username": "u", "password": "s3cret", "index": "i"},
    "measurements": {"endpoint": "o", "insecure": True, "timeout": 5, "metrics_interval": 10},
}


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return written(tmp_path, APP)


def written(folder: Path, app: dict[str, Any]) -> dict[str, str]:
    (folder / "app.yaml").write_text(yaml.safe_dump(app))
    return {"KAI_APP_CONFIG_PATH": str(folder)}


def changed(key: str, value: object) -> dict[str, Any]:
    """APP with another value at a dotted key; None removes it."""
    app = deepcopy(APP)
    *sections, last = key.split(".")
    place = app
    for section in sections:
        place = place[section]
    if value is None:
        place.pop(last, None)
    else:
        place[last] = value
    return app


def test_a_process_learns_who_it_is_and_where_its_messages_are(environ: dict[str, str]) -> None:
    told = read(environ)
    assert (told.process, told.type, told.nats_url) == ("splitter", "task", "nats://u:s3cret@host:4222")
    assert (told.stream, told.output, told.inputs) == ("s", "s.splitter", ("s.a", "s.b.go"))
    assert told.buckets == {"global": "g", "product": "p", "workflow": "w", "process": "x"}
    assert told.config == {"rate": "0.5", "on": "True", "name": "text"}
    assert told.object_store is None


def test_inputs_object_store_and_configuration_may_be_absent(tmp_path: Path) -> None:
    app = changed("nats.inputs", None)
    del app["centralized_configuration"]["process"]["config"]
    told = read(written(tmp_path, app))
    assert (told.inputs, told.config, told.object_store) == ((), {}, None)


def test_a_declared_object_store_is_told(tmp_path: Path) -> None:
    assert read(written(tmp_path, changed("nats.object_store", "models"))).object_store == "models"


def test_the_environment_wins_with_a_dot_in_the_name(environ: dict[str, str]) -> None:
    told = read(environ | {"KAI_NATS.URL": "nats://other:1", "KAI_NATS_URL": "ignored", "KAI_NATS.STREAM": "t"})
    assert (told.nats_url, told.stream) == ("nats://other:1", "t")


@pytest.mark.parametrize("key", MANDATORY)
def test_each_mandatory_key_that_is_missing_is_named(key: str, tmp_path: Path) -> None:
    with pytest.raises(ProcessError, match=rf"app\.yaml: {key} missing"):
        read(written(tmp_path, changed(key, None)))


def test_the_environment_does_not_stand_in_for_a_key_that_the_file_lacks(tmp_path: Path) -> None:
    with pytest.raises(ProcessError, match=r"nats\.url missing"):
        read(written(tmp_path, changed("nats.url", None)) | {"KAI_NATS.URL": "nats://other:1"})


@pytest.mark.parametrize("app", [{}, {"nats": 5}, {"nats": ["url"]}])
def test_all_missing_keys_are_told_at_once(app: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ProcessError, match=r"metadata\.product_id, .*nats\.url, .*measurements\.metrics_interval"):
        read(written(tmp_path, app))


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("nats.inputs", "s.a", "nats.inputs is not a list of texts"),
        ("nats.inputs", [1], "nats.inputs is not a list of texts"),
        ("nats.url", ["a"], "nats.url is not text"),
        ("centralized_configuration.process.config", ["a"], "config is not a map of texts"),
        ("centralized_configuration.process.config", {"a": {}}, "config is not a map of texts"),
    ],
)
def test_a_value_of_the_wrong_kind_is_named(key: str, value: object, said: str, tmp_path: Path) -> None:
    with pytest.raises(ProcessError, match=said):
        read(written(tmp_path, changed(key, value)))


def test_without_the_variable_the_error_names_it() -> None:
    with pytest.raises(ProcessError, match="KAI_APP_CONFIG_PATH is not set"):
        read({})


def test_a_folder_without_app_yaml_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProcessError, match=r"app\.yaml: No such file.*KAI_APP_CONFIG_PATH"):
        read({"KAI_APP_CONFIG_PATH": str(tmp_path)})


@pytest.mark.parametrize("text", [b"a: [", b"\tpassword: s3cret", b"\xff\xfe\x00", b"a: !!python/object:os.x s3cret"])
def test_what_is_not_yaml_is_told_without_showing_the_line(text: bytes, tmp_path: Path) -> None:
    (tmp_path / "app.yaml").write_bytes(text)
    with pytest.raises(ProcessError, match=r"app\.yaml.*(not YAML|missing)") as caught:
        read({"KAI_APP_CONFIG_PATH": str(tmp_path)})
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_settings_show_no_password(environ: dict[str, str]) -> None:
    assert "s3cret" not in repr(read(environ))
