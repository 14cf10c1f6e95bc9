"""GX draws no progress bar, at none of the places where it asks for one outright; others keep theirs."""

import os
import subprocess
import sys

import pytest

BEGIN = """
import sys
import pandas as pd
from tqdm import tqdm
from skewguard.expectations import great_expectations_import
gx = great_expectations_import.load()
frame = pd.DataFrame({"x": [1.0, 2.0, 3.0, 4.0]})
"""
ASSET = (
    BEGIN
    + """
import great_expectations
context = great_expectations.get_context(mode="ephemeral")
asset = context.data_sources.add_pandas("p").add_dataframe_asset("a")
batch = asset.add_batch_definition_whole_dataframe("b").get_batch(batch_parameters={"dataframe": frame})
"""
)
RULE = (
    BEGIN
    + """
engine = gx.Engine()
engine.load_batch_data("t", frame)
def run(kind, **kwargs):
    configuration = gx.Configuration(type=kind, kwargs={"column": "x", **kwargs})
    wanted = {"result_format": "SUMMARY", "catch_exceptions": True}
    return gx.Validator(execution_engine=engine).graph_validate([configuration], wanted)[0]
"""
)
PLACES = {
    "Batch.head": ASSET + "assert 'x' in str(batch.head())",
    "Batch.columns (asked for by a batch itself)": ASSET + "assert batch.columns() == ['x']",
    "Kullback-Leibler": RULE + "assert run('expect_column_kl_divergence_to_be_less_than', partition_object=None, "
    "threshold=1).success",
    "a validator without a context": RULE + "assert run('expect_column_max_to_be_between', max_value=4).success",
}


def told(code: str) -> str:
    settings = {name: value for name, value in os.environ.items() if name != "TQDM_DISABLE"}
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, env=settings)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    return done.stderr


@pytest.mark.parametrize("place", PLACES)
def test_standard_error_stays_empty(place: str) -> None:
    assert told(PLACES[place]) == ""


def test_other_progress_bars_are_drawn() -> None:
    assert "100%" in told(BEGIN + "list(tqdm([1]))")


def test_gx_draws_them_where_it_is_left_alone() -> None:
    """Else the tests above prove nothing: a bar that GX draws no longer would pass them."""
    bare = PLACES["Batch.columns (asked for by a batch itself)"].replace(
        "gx = great_expectations_import.load()", "import great_expectations"
    )
    assert "Calculating Metrics" in told(bare)
