"""run_json: a run survives its JSON whole, the text is canonical, and what is no run is refused in words."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skewguard.errors import BadInputError, ConfigurationError
from skewguard.findings import Cause, CheckResult, FeatureStats, Finding, Run, Verdict
from skewguard.run_json import SCHEMA_VERSION, dump_run, load_run, run_from_dict, run_to_dict
from tests.report import samples

TEXT = st.text(max_size=12)
COUNT = st.integers(0, 2**63 - 1)
FLOAT = st.floats()
WHEN = st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
SCALAR: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    FLOAT,
    TEXT,
    st.sampled_from(["NaN", "Infinity", "-Infinity"]),
    st.binary(max_size=8),
    WHEN,
    st.dates(),
    st.times(),
    st.timedeltas(),
    st.decimals(allow_nan=False),
)
TAGS = st.sampled_from(["base64", "text", "datetime", "date", "time", "timedelta", "decimal", "pairs"])
VALUE = st.recursive(
    SCALAR,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(TEXT | TAGS, inner, max_size=3)
        | st.dictionaries(st.integers() | TEXT, inner, max_size=3)
    ),
    max_leaves=6,
)
MAPPING = st.dictionaries(TEXT | TAGS, VALUE, max_size=3)
FINDING = st.builds(
    Finding,
    check=TEXT,
    cause=st.sampled_from(Cause),
    view=st.none() | TEXT,
    feature=st.none() | TEXT,
    count=COUNT,
    compared=COUNT,
    ci_low=FLOAT,
    ci_high=FLOAT,
    message=TEXT,
    evidence=MAPPING,
    samples=st.lists(MAPPING, max_size=2).map(tuple),
    repairable=st.booleans(),
    advice=TEXT,
    action=TEXT,
    first_seen=st.none() | WHEN,
)
COUNTS = st.lists(COUNT, max_size=3).map(tuple)
STATS = st.builds(
    FeatureStats,
    view=TEXT,
    feature=TEXT,
    dtype=TEXT,
    compared=COUNT,
    differing=COUNT,
    offline_nulls=COUNT,
    online_nulls=COUNT,
    labels=st.lists(TEXT, max_size=3).map(tuple),
    offline=COUNTS,
    online=COUNTS,
    causes=st.dictionaries(TEXT | TAGS, COUNT, max_size=2),
)
CHECK = st.builds(
    CheckResult,
    check=TEXT,
    status=TEXT,
    findings=st.lists(FINDING, max_size=1).map(tuple),
    population=COUNT,
    compared=COUNT,
    seconds=FLOAT,
    reason=TEXT,
    features=st.lists(STATS, max_size=2).map(tuple),
    details=MAPPING,
)
RUN = st.builds(
    Run,
    run_id=TEXT,
    service=TEXT,
    as_of=WHEN,
    started_at=WHEN,
    finished_at=WHEN,
    verdict=st.sampled_from(Verdict),
    reasons=st.lists(TEXT, max_size=2).map(tuple),
    checks=st.lists(CHECK, max_size=2).map(tuple),
    findings=st.lists(FINDING, max_size=2).map(tuple),
    provenance=MAPPING,
)


def same(left: Any, right: Any) -> bool:
    """Equality that holds NaN equal to NaN and tells types apart, bool from int and -0.0 from 0.0 too."""
    if type(left) is not type(right):
        return False
    if isinstance(left, float):
        return repr(left) == repr(right)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(same(a, b) for a, b in zip(left, right, strict=True))
    if hasattr(left, "__dataclass_fields__"):
        return all(same(getattr(left, name), getattr(right, name)) for name in left.__dataclass_fields__)
    return bool(left == right)


@settings(max_examples=150, deadline=None)
@given(RUN)
def test_any_run_survives_its_json(run: Run) -> None:
    text = dump_run(run)
    back = load_run(text)
    assert same(back, run)
    assert dump_run(back) == text
    assert load_run(text.encode()) is not None
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


@pytest.mark.parametrize("name", samples.everything())
def test_realistic_runs_survive(name: str) -> None:
    run = samples.everything()[name]
    assert same(load_run(dump_run(run)), run)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (math.nan, "NaN"),
        (math.inf, "Infinity"),
        (-math.inf, "-Infinity"),
        ("NaN", {"text": "NaN"}),
        ("nan", "nan"),
        (b"\x00\xff", {"base64": "AP8="}),
        (datetime(1998, 3, 1, 1, tzinfo=timezone(timedelta(hours=1))), {"datetime": "1998-03-01T00:00:00Z"}),
        (datetime(1998, 3, 1), {"datetime": "1998-03-01T00:00:00Z"}),  # noqa: DTZ001  (naive means UTC)
        (date(1998, 3, 1), {"date": "1998-03-01"}),
        (time(9, 30), {"time": "09:30:00"}),
        (timedelta(days=-1, seconds=5), {"timedelta": [-1, 5, 0]}),
        (Decimal("1.10"), {"decimal": "1.10"}),
        ({"base64": "x"}, {"pairs": [["base64", "x"]]}),
        ({1: "a"}, {"pairs": [[1, "a"]]}),
        ((1, 2), [1, 2]),
        ({3, 1}, [1, 3]),
        (np.int64(7), 7),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (np.array([1.5, np.nan]), [1.5, "NaN"]),
        (np.datetime64("1998-03-01T00:00:00.5", "ns"), {"datetime": "1998-03-01T00:00:00.500000Z"}),
        (np.datetime64("NaT"), None),
        (pd.Timestamp("1998-03-01", tz="UTC"), {"datetime": "1998-03-01T00:00:00Z"}),
        (pd.NaT, None),
        (pa.scalar(3), 3),
        (Cause.UNIT_SCALE, "unit_scale"),
        (2**63 + 1, 2**63 + 1),
    ],
    ids=repr,
)
def test_how_values_are_written(value: Any, written: Any) -> None:
    run = replace(samples.passing(), provenance={"v": value})
    assert same(run_to_dict(run)["provenance"]["v"], written)
    assert same(json.loads(dump_run(run))["provenance"]["v"], written)
    load_run(dump_run(run))


def test_text_is_canonical() -> None:
    run = samples.blocking()
    shuffled = replace(run, provenance=dict(reversed(list(run.provenance.items()))))
    assert dump_run(shuffled) == dump_run(run)
    assert dump_run(replace(run, as_of=run.as_of.astimezone(timezone(timedelta(hours=5))))) == dump_run(run)
    data = json.loads(dump_run(run))
    assert data["schema_version"] == SCHEMA_VERSION
    assert data["as_of"] == "1998-03-01T00:00:00Z"
    assert list(data) == sorted(data)
    assert "\n" not in dump_run(run)


def test_lone_surrogates_stay_writable() -> None:
    run = replace(samples.passing(), service="\ud800x")
    dump_run(run).encode("utf-8")
    assert load_run(dump_run(run)).service == "\ud800x"


def test_a_value_without_a_place_in_json_names_its_field() -> None:
    run = replace(samples.passing(), provenance={"a": [1, object()]})
    with pytest.raises(BadInputError, match=r"run\.provenance\.a\[1\]: got a value of type object"):
        dump_run(run)


def wrong(**changes: Any) -> dict[str, Any]:
    return {**run_to_dict(samples.blocking()), **changes}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "run: got \\[\\]"),
        ({}, "schema_version: got None; expected 1"),
        (wrong(schema_version=99), "schema_version: got 99"),
        (wrong(servise="x"), "run.servise: got an unknown field.*Nearest: 'service'"),
        ({k: v for k, v in wrong().items() if k != "as_of"}, "run.as_of: got nothing"),
        (wrong(as_of="yesterday"), "run.as_of: got 'yesterday'; expected an ISO 8601 timestamp"),
        (wrong(as_of=5), "run.as_of: got 5"),
        (wrong(verdict="pas"), "run.verdict: got 'pas'.*did you mean 'pass'"),
        (wrong(service=3), "run.service: got 3; expected a text"),
        (wrong(reasons="x"), "run.reasons: got 'x'; expected a list"),
        (wrong(provenance=[]), "run.provenance: got \\[\\]; expected an object"),
        (wrong(provenance={"a": {"base64": "?"}}), "run.provenance.a.base64"),
        (wrong(provenance={"a": {"timedelta": "?"}}), "run.provenance.a.timedelta"),
        (wrong(provenance={"a": {"decimal": "?"}}), "run.provenance.a.decimal"),
        (wrong(findings=[{**wrong()["findings"][0], "count": 1.5}]), r"findings\[0\].count: got 1.5; expected a whole"),
        (wrong(findings=[{**wrong()["findings"][0], "count": True}]), r"findings\[0\].count: got True"),
        (wrong(findings=[{**wrong()["findings"][0], "ci_low": "low"}]), r"findings\[0\].ci_low: got 'low'"),
        (wrong(findings=[{**wrong()["findings"][0], "cause": "unit_scal"}]), "did you mean 'unit_scale'"),
    ],
)
def test_what_is_no_run_is_refused(data: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        run_from_dict(data)


@pytest.mark.parametrize("text", ["", "{", "null", "[1]", '{"schema_version": NaN}', "\x00", b"\xff\xfe"])
def test_what_is_no_json_is_refused(text: str | bytes) -> None:
    with pytest.raises(ConfigurationError, match="run"):
        load_run(text)


def test_a_field_with_a_default_may_be_missing() -> None:
    data = run_to_dict(samples.blocking())
    del data["provenance"]
    assert run_from_dict(data).provenance == {}
