"""KRT files as the DAGs of a module: a generated one's, and a person's own."""

from __future__ import annotations

import time
from types import ModuleType
from typing import TYPE_CHECKING

import pytest
from airflow.sdk import DAG

from kai_airflow.dag import load
from kai_airflow.dag.claims import FOLDER, DuplicateDagIdError
from kai_airflow.errors import KaiAirflowError
from kai_airflow.krt import KrtError

if TYPE_CHECKING:
    from pathlib import Path

RESOURCES = "resourceLimits: {CPU: {request: 1}, memory: {request: 1M}}"
KRT = f"""\
version: v1.0.0
description: a shop
x-airflow: {{product: shop}}
workflows:
  - &sell
    name: sell
    type: data
    processes:
      - {{name: start, type: trigger, image: i, {RESOURCES}}}
      - {{name: end, type: exit, image: i, {RESOURCES}, subscriptions: [start]}}
  - {{<<: *sell, name: buy}}
"""


class Generated:
    """A folder of generated files."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "generated"
        self.claims = folder / FOLDER

    def put(self, path: str, text: str = KRT) -> None:
        """A document, new or other than before."""
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def load(self, path: str) -> set[str]:
        """What its module does."""
        return set(load(str(self.root / f"{path}.py"), path))


@pytest.fixture
def generated(tmp_path: Path) -> Generated:
    return Generated(tmp_path)


def test_a_module_has_a_dag_for_each_workflow(generated: Generated) -> None:
    generated.put("a/krt.yaml")
    assert generated.load("a/krt.yaml") == {"shop.sell", "shop.buy"}
    assert generated.load("a/krt.yaml") == {"shop.sell", "shop.buy"}


def test_for_a_task_there_is_its_own_dag_alone(generated: Generated, monkeypatch: pytest.MonkeyPatch) -> None:
    generated.put("a/krt.yaml")
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", "shop.buy")
    assert generated.load("a/krt.yaml") == {"shop.buy"}
    assert not generated.claims.exists()


def test_an_invalid_krt_names_file_line_and_remedy(generated: Generated) -> None:
    generated.put("a/krt.yaml", KRT.replace("subscriptions: [start]", "subscriptions: [strat]"))
    with pytest.raises(KrtError, match=r"a/krt.yaml.*(?s:.*)Did you mean start\?"):
        generated.load("a/krt.yaml")


def test_a_newcomer_with_a_dag_id_that_is_taken_is_refused_and_takes_nothing(generated: Generated) -> None:
    generated.put("a/krt.yaml")
    generated.load("a/krt.yaml")
    generated.put("b/krt.yaml")
    for _ in range(2):
        with pytest.raises(DuplicateDagIdError) as refused:
            generated.load("b/krt.yaml")
        assert str(refused.value).startswith("b/krt.yaml: its DAG id 'shop.sell' is that of a/krt.yaml, too.")
        assert generated.load("a/krt.yaml") == {"shop.sell", "shop.buy"}


def test_editing_the_file_that_had_it_first_hands_it_to_nobody(generated: Generated) -> None:
    generated.put("a/krt.yaml")
    generated.load("a/krt.yaml")
    generated.put("b/krt.yaml")
    for text in (KRT + "# edited\n", KRT.replace("v1.0.0", "1"), KRT):
        generated.put("a/krt.yaml", text)
        with pytest.raises(DuplicateDagIdError):
            generated.load("b/krt.yaml")
    assert generated.load("a/krt.yaml") == {"shop.sell", "shop.buy"}


@pytest.mark.parametrize("gone", ["removed", "renamed", "another version"])
def test_a_dag_id_that_is_given_up_is_free(generated: Generated, gone: str) -> None:
    generated.put("a/krt.yaml")
    generated.load("a/krt.yaml")
    generated.put("b/krt.yaml")
    with pytest.raises(DuplicateDagIdError):
        generated.load("b/krt.yaml")
    if gone == "removed":
        (generated.root / "a/krt.yaml").unlink()
    elif gone == "renamed":
        generated.put("a/krt.yaml", KRT.replace("product: shop", "product: other"))
    else:
        generated.put("a/krt.yaml", KRT.replace("product: shop", "product: shop, version_in_dag_id: true"))
    assert generated.load("b/krt.yaml") == {"shop.sell", "shop.buy"}
    if gone != "removed":
        assert "shop.sell" not in generated.load("a/krt.yaml")


def test_where_it_cannot_be_told_who_was_first_nobody_has_it_until_one_goes(generated: Generated) -> None:
    """Both were there before either was parsed, as after a start on an empty disk."""
    generated.put("a/krt.yaml")
    generated.put("b/krt.yaml")
    _wait_for_the_clock_of(generated.root)
    generated.load("a/krt.yaml")
    for one, other in (("b", "a"), ("a", "b"), ("b", "a")):
        with pytest.raises(DuplicateDagIdError, match=f"{one}/krt.yaml.*{other}/krt.yaml"):
            generated.load(f"{one}/krt.yaml")
    (generated.root / "a/krt.yaml").unlink()
    assert generated.load("b/krt.yaml") == {"shop.sell", "shop.buy"}


def test_two_versions_stand_side_by_side(generated: Generated) -> None:
    versioned = KRT.replace("product: shop", "product: shop, version_in_dag_id: true")
    generated.put("a/krt.yaml", versioned)
    generated.put("b/krt.yaml", versioned.replace("v1.0.0", "v1.1.0"))
    assert generated.load("a/krt.yaml") == {"shop.sell.v1.0.0", "shop.buy.v1.0.0"}
    assert generated.load("b/krt.yaml") == {"shop.sell.v1.1.0", "shop.buy.v1.1.0"}


def test_where_nothing_can_be_written_a_krt_is_loaded_all_the_same(generated: Generated) -> None:
    """As by a command of Airflow's on a file system that is read-only: the dag-processor has judged before."""
    generated.put("a/krt.yaml")
    generated.claims.write_text("in the way of the folder")
    assert generated.load("a/krt.yaml") == {"shop.sell", "shop.buy"}


def _wait_for_the_clock_of(folder: Path) -> None:
    """Files made within one tick of the file system's clock bear one time."""
    before = folder.stat().st_ctime_ns
    deadline = time.monotonic() + 5
    while folder.stat().st_ctime_ns == before:
        assert time.monotonic() < deadline
        folder.touch()


def module(folder: Path, code: str) -> ModuleType:
    """A person's own module, run."""
    made = ModuleType("own")
    made.__file__ = str(folder / "own.py")
    exec(compile(code, made.__file__, "exec"), vars(made))  # noqa: S102
    return made


def dags(made: ModuleType) -> set[str]:
    """The DAGs that Airflow finds in a module."""
    return {value.dag_id for value in vars(made).values() if isinstance(value, DAG)}


OWN = "from kai_airflow import load_krt\n"


@pytest.mark.parametrize("call", ["'shop/krt.yaml'", "'shop'", "", "'shop/krt.yaml', 'shop'"])
def test_three_lines_of_python_make_the_dags_of_a_krt(tmp_path: Path, call: str) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop/krt.yaml").write_text(KRT)
    made = module(tmp_path, f"{OWN}load_krt({call})\n")
    assert dags(made) == {"shop.sell", "shop.buy"}


def test_it_takes_absolute_paths_and_gives_the_dags(tmp_path: Path) -> None:
    (tmp_path / "shop.krt.yaml").write_text(KRT)
    made = module(tmp_path / "elsewhere", f"{OWN}dags = load_krt({str(tmp_path / 'shop.krt.yaml')!r})\n")
    assert set(made.dags) == {"shop.sell", "shop.buy"}
    assert dags(made) == {"shop.sell", "shop.buy"}


def test_a_product_is_named_by_its_folder_there_too(tmp_path: Path) -> None:
    (tmp_path / "market").mkdir()
    (tmp_path / "market/krt.yaml").write_text(KRT.replace("x-airflow: {product: shop}\n", ""))
    assert dags(module(tmp_path, f"{OWN}load_krt('market/krt.yaml')\n")) == {"market.sell", "market.buy"}


@pytest.mark.parametrize("call", ["'krt.yaml'", ""])
def test_a_product_is_named_by_the_folder_of_the_module_where_the_krt_lies_there(tmp_path: Path, call: str) -> None:
    (tmp_path / "market").mkdir()
    (tmp_path / "market/krt.yaml").write_text(KRT.replace("x-airflow: {product: shop}\n", ""))
    assert dags(module(tmp_path / "market", f"{OWN}load_krt({call})\n")) == {"market.sell", "market.buy"}


def test_two_files_with_one_dag_id_are_an_error_that_names_both(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.krt.yaml").write_text(KRT)
    with pytest.raises(DuplicateDagIdError, match=r"b\.krt\.yaml: .*'shop\.sell' is that of a\.krt\.yaml"):
        module(tmp_path, f"{OWN}load_krt()\n")


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        ("'absent.krt.yaml'", KrtError, "absent.krt.yaml: 1 error\n"),
        ("'empty'", KaiAirflowError, "holds no krt.yaml"),
    ],
)
def test_what_is_not_there_is_an_error_that_says_so(
    tmp_path: Path, call: str, error: type[KaiAirflowError], said: str
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(error, match=said):
        module(tmp_path, f"{OWN}load_krt({call})\n")
