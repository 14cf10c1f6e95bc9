"""Encoders, measures by hand, fitting, saving, and that the same command gives the same files."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from skewguard.errors import BadInputError
from tests.training.builders import FEATURES, START, training_table
from training.dataset import SplitRule, make_dataset
from training.encoders import AgeInDays, FillEmpty, ListSummary
from training.evaluate import measure
from training.job import Job, train_and_save
from training.train import MODEL_KINDS, fit

ROOT = Path(__file__).parents[2]
JOB = Job(
    repo=Path("repo"),
    service="service",
    entity_rows=Path("rows.parquet"),
    label="y",
    out=Path("out"),
    split=SplitRule(after=START + timedelta(weeks=7)),
)
FACTS = {"contract_digest": "c0ffee", "service": "service"}


def test_ages_are_days_before_the_as_of_time() -> None:
    day = 86_400.0
    frame = pd.DataFrame({"a": [day, np.nan], "b": [3 * day, 0.0], "now": [3 * day, day]})
    encoder = AgeInDays().fit(frame)
    np.testing.assert_array_equal(encoder.transform(frame), [[2, 0], [np.nan, 1]])
    assert encoder.get_feature_names_out().tolist() == ["a__age_days", "b__age_days"]


def test_lists_as_numbers() -> None:
    frame = pd.DataFrame({"l": pd.Series([None, [], [3.0, None, 1.0], [None]], dtype=object)})
    nan = np.nan
    expected = [[nan] * 5, [0, nan, nan, nan, nan], [3, 3, 2, 1, 3], [1, nan, nan, nan, nan]]
    encoder = ListSummary().fit(frame)
    np.testing.assert_array_equal(encoder.transform(frame), expected)
    assert len(encoder.get_feature_names_out()) == 5
    np.testing.assert_array_equal(ListSummary(numeric=False).fit(frame).transform(frame), [[nan], [0], [3], [1]])


def test_empty_columns_are_zeros_whatever_comes_later() -> None:
    nan = np.nan
    fitted = FillEmpty().fit(np.array([[nan, 1.0, nan], [nan, nan, 2.0]]))
    np.testing.assert_array_equal(fitted.transform(np.array([[7.0, nan, 3.0]])), [[0.0, nan, 3.0]])


@pytest.mark.parametrize(
    ("labels", "probabilities", "expected"),
    [
        ([1, 1], [0.9, 0.4], (None, None, (0.01 + 0.36) / 2, 0.0, 0, 0, 1, 1)),
        ([0], [0.5], (None, None, 0.25, 0.0, 0, 1, 0, 0)),
        ([0, 1], [0.1, 0.9], (1.0, 1.0, 0.01, 0.25, 1, 0, 0, 1)),
        ([0, 1, 0, 1], [0.5, 0.5, 0.5, 0.5], (0.5, 0.5, 0.25, 0.25, 0, 2, 0, 2)),
    ],
)
def test_measures_by_hand(labels: Sequence[int], probabilities: Sequence[float], expected: tuple[Any, ...]) -> None:
    got = measure(np.array(labels, dtype=np.int64), np.array(probabilities))
    found = (got.auc, got.average_precision, got.brier, got.brier_baseline, got.true_negatives, got.false_positives,
             got.false_negatives, got.true_positives)  # fmt: skip
    assert found == pytest.approx(expected)
    assert (got.rows, got.positives) == (len(labels), sum(labels))


@pytest.mark.parametrize("model", MODEL_KINDS)
def test_a_model_learns_and_takes_what_it_never_saw(model: str) -> None:
    dataset = make_dataset(training_table(), FEATURES, "y")
    pipeline = fit(dataset, model)
    assert measure(dataset.labels(), pipeline.predict_proba(dataset.frame())[:, 1]).auc > 0.85  # type: ignore[operator]
    odd: dict[str, Any] = {
        "kind": "never seen",
        "whole": None,
        "flag": None,
        "seen_at": None,
        "numbers": None,
        "words": [],
    }
    table = training_table(1)
    for name, value in odd.items():
        index = table.column_names.index(name)
        table = table.set_column(index, name, pa.array([value], table.schema.field(name).type))
    (probability,) = pipeline.predict_proba(make_dataset(table, FEATURES, "y").frame())[:, 1]
    assert 0 <= probability <= 1


@pytest.mark.parametrize("model", MODEL_KINDS)
@pytest.mark.parametrize("column", ["whole", "kind", "seen_at", "numbers"])
def test_a_feature_that_is_always_null_is_no_reason_to_fail(model: str, column: str) -> None:
    table = training_table(200)
    index = table.column_names.index(column)
    table = table.set_column(index, column, pa.nulls(200, table.schema.field(column).type))
    dataset = make_dataset(table, FEATURES, "y")
    assert np.isfinite(fit(dataset, model).predict_proba(dataset.frame())).all()


@pytest.mark.parametrize("model", MODEL_KINDS)
def test_a_constant_feature_is_no_reason_to_fail(model: str) -> None:
    table = training_table(200)
    table = table.set_column(table.column_names.index("whole"), "whole", pa.array([3] * 200))
    dataset = make_dataset(table, FEATURES, "y")
    assert np.isfinite(fit(dataset, model).predict_proba(dataset.frame())).all()


@pytest.mark.parametrize(
    ("features", "label", "model", "message"),
    [
        ((), [0, 1], "boosting", "at least one feature"),
        (("real",), [1, 1], "boosting", "only 1 in the training rows"),
        (("real",), [0, 1], "forest", "one of boosting, logistic"),
    ],
)
def test_fits_that_make_no_sense(features: tuple[str, ...], label: list[int], model: str, message: str) -> None:
    table = training_table(2).set_column(2, "y", pa.array(label))
    with pytest.raises(BadInputError, match=message):
        fit(make_dataset(table, features, "y"), model)


def trained(out: Path, table: pa.Table | None = None, **changes: Any) -> dict[str, Any]:
    dataset = make_dataset(training_table() if table is None else table, FEATURES, "y")
    return train_and_save(replace(JOB, out=out, **changes), dataset, '{"digest": "c0ffee"}\n', FACTS)


@pytest.mark.parametrize("model", MODEL_KINDS)
def test_the_output_folder(tmp_path: Path, model: str) -> None:
    metrics = trained(tmp_path / "new" / "out", model=model)
    out = tmp_path / "new" / "out"
    assert sorted(p.name for p in out.iterdir()) == ["contract.json", "metrics.json", "model.joblib"]
    assert [p.name for p in out.parent.iterdir()] == ["out"]
    assert json.loads((out / "metrics.json").read_text()) == metrics
    assert (out / "contract.json").read_text() == '{"digest": "c0ffee"}\n'
    assert metrics["model_sha256"] == hashlib.sha256((out / "model.joblib").read_bytes()).hexdigest()
    assert (metrics["test_from"], metrics["test"]["rows"], metrics["train"]["rows"]) == (
        "2026-02-23T00:00:00Z",
        180,
        420,
    )
    frame = make_dataset(training_table(), FEATURES, "y").frame()
    assert joblib.load(out / "model.joblib").predict_proba(frame).shape == (600, 2)


def test_a_former_run_is_replaced_and_anything_else_is_not(tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = trained(out)
    assert trained(out, seed=1, model="logistic")["model_sha256"] != first["model_sha256"]
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    (out / "thesis.txt").write_text("mine")
    with pytest.raises(BadInputError, match=r"holds 'thesis\.txt'"):
        trained(out)
    assert (out / "thesis.txt").read_text() == "mine"
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(BadInputError, match="which is a file"):
        trained(file)


def test_what_fails_leaves_the_former_run_whole(tmp_path: Path) -> None:
    out = tmp_path / "out"
    trained(out)
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    ones = training_table().set_column(2, "y", pa.array([1] * 600))
    with pytest.raises(BadInputError, match="only 1"):
        trained(out, ones)
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


SCRIPT = """
import sys
from pathlib import Path
from tests.training.test_fit import trained
for model in ("boosting", "logistic"):
    trained(Path(sys.argv[1]) / model, model=model)
"""


def test_the_same_command_gives_the_same_files_in_any_process(tmp_path: Path) -> None:
    found = []
    for threads, seed in (("1", "1"), ("2", "77")):
        folder = tmp_path / threads
        environment = {**os.environ, "OMP_NUM_THREADS": threads, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", SCRIPT, str(folder)]
        subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
        found.append({p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*")})
    assert len(found[0]) == 6
    assert found[0] == found[1]
