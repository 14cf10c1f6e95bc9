"""The comparison frame: its columns and types, and that every cell is what the parity check makes of it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest

from skewguard import dtypes
from skewguard.checks.parity import check_parity
from skewguard.compare.frame import Request, comparison_frame, frame_columns, frame_info
from skewguard.compare.sides import ViewSides
from skewguard.config import ServicePolicy
from skewguard.definitions import FieldDef
from skewguard.errors import BadInputError, ConfigurationError
from tests.checks.builders import ABSENT, CORRUPT, NOW, Online, Row, hours, sides, view

POLICY = ServicePolicy()
VIEW = view(FieldDef("f", "DOUBLE"), FieldDef("g", "STRING"), ttl=timedelta(hours=6))


def frame(both: ViewSides, policy: ServicePolicy = POLICY) -> pa.Table:
    name = both.view.name
    return comparison_frame(both, Request("s", 1.0, lambda feature: policy.tolerance_for(name, feature), '{"a":1}'))


def row(key: int, age: float, *values: Any) -> Row:
    return Row(key, hours(age), values)


def online(key: int, age: float, *values: Any) -> Online:
    return Online(key, hours(age), values)


OFFLINE = [row(1, 5, 1.0, "a"), row(2, 5, 2.0, "b"), row(3, 9, 3.0, "c"), row(4, 1, 4.0, "d"), row(5, 5, None, "e")]
ONLINE = [
    online(1, 5, 1.0, "a"), online(2, 5, 2.5, None), online(3, 9, 3.0, "c"), online(5, 5, CORRUPT, "e"),
    online(9, 2, 7.0, None),
]  # fmt: skip


def test_nothing_on_either_side_is_an_empty_frame_with_every_column() -> None:
    table = frame(sides(VIEW, [], []))
    assert table.num_rows == 0
    assert tuple(table.column_names) == frame_columns("v", ["key"], ["f", "g"])
    assert table.schema.field("v__f__offline").type == table.schema.field("v__f__online").type == pa.float64()


def test_every_column_and_its_type() -> None:
    table = frame(sides(VIEW, OFFLINE, ONLINE, watermark=hours(3)))
    assert tuple(sorted(table.column_names)) == tuple(sorted(frame_columns("v", ["key"], ["f", "g"])))
    coded = pa.dictionary(pa.int8(), pa.string())
    kinds = {field.name: field.type for field in table.schema}
    assert kinds.pop("key") == pa.int64()
    for name in ("__as_of", "__watermark", "__event_ts_offline", "__event_ts_online"):
        assert kinds.pop(name) == dtypes.TIMESTAMP
    for name in (
        "__row_state",
        "__row_cause",
        "__definitions",
        *(f"v__{f}__{c}" for f in "fg" for c in ("state", "cause")),
    ):
        assert kinds.pop(name) == coded
    assert {kinds.pop(name) for name in ("__inside_ttl", "v__f__equal", "v__g__equal")} == {pa.bool_()}
    assert kinds == {"v__f__offline": pa.float64(), "v__f__online": pa.float64(), "v__g__offline": pa.string(),
                     "v__g__online": pa.string()}  # fmt: skip


def test_rows_worked_by_hand() -> None:
    table = frame(sides(VIEW, OFFLINE, ONLINE, watermark=hours(3)))
    columns = {name: table.column(name).to_pylist() for name in table.column_names}
    assert columns["key"] == [1, 2, 3, 4, 5, 9]
    assert set(columns["__as_of"]) == {NOW}
    assert set(columns["__watermark"]) == {hours(3)}
    assert columns["__event_ts_offline"] == [hours(5), hours(5), hours(9), hours(1), hours(5), None]
    assert columns["__event_ts_online"] == [hours(5), hours(5), hours(9), None, hours(5), hours(2)]
    assert columns["__inside_ttl"] == [True, True, False, True, True, False]
    assert columns["__row_state"] == ["present"] * 3 + ["key_absent"] + ["present"] * 2
    assert columns["__row_cause"] == [None, None, "expired_but_served", "not_materialized", None, "orphan_online"]
    assert set(columns["__definitions"]) == {'{"a":1}'}
    assert columns["v__f__offline"] == [1.0, 2.0, None, 4.0, None, None]
    assert columns["v__f__online"] == [1.0, 2.5, 3.0, None, None, 7.0]
    assert columns["v__f__state"] == ["value", "value", "value", "absent", "corrupt", "value"]
    assert columns["v__f__equal"] == [True, False, False, False, False, False]
    assert columns["v__f__cause"] == [
        None, "unexplained", "expired_but_served", "not_materialized", "corrupt_value", "orphan_online",
    ]  # fmt: skip
    assert columns["v__g__equal"] == [True, False, False, False, True, True]  # nothing offline, nothing in the orphan
    assert columns["v__g__cause"] == [None, "unexplained", "expired_but_served", "not_materialized", None, None]


def test_what_it_is_of() -> None:
    policy = ServicePolicy(tolerances={"v:f": {"absolute": 0.75}})  # type: ignore[dict-item]
    table = frame(sides(VIEW, OFFLINE, ONLINE, watermark=hours(3)), policy)
    info = frame_info(table)
    assert (info.service, info.view, info.sample, info.orphans, info.after_the_as_of_time) == ("s", "v", 1.0, 1, 0)
    assert (info.as_of, info.watermark) == ("2026-09-01T12:00:00Z", "2026-09-01T09:00:00Z")
    assert info.join_keys == (("key", "INT64"),)
    assert [(f.name, f.dtype, f.absolute) for f in info.features] == [
        ("v__f", "DOUBLE", 0.75), ("v__g", "STRING", None),
    ]  # fmt: skip
    assert table.column("v__f__equal").to_pylist()[1] is True  # 2.0 and 2.5 are 0.5 apart
    assert json.loads(info.to_json())["view"] == "v"
    with pytest.raises(BadInputError, match="no comparison frame"):
        frame_info(pa.table({"a": [1]}))


def test_a_row_of_the_future_is_left_out_and_counted() -> None:
    definition = view(FieldDef("f", "DOUBLE"))
    offline = [row(1, 5, 1.0), Row(1, NOW + timedelta(hours=1), (9.0,)), row(2, 5, 2.0)]
    table = frame(sides(definition, offline, [online(1, -1, 9.0), online(2, 5, 2.0)], watermark=hours(3)))
    assert table.column("key").to_pylist() == [2]
    assert frame_info(table).after_the_as_of_time == 1


def test_a_join_key_that_is_named_like_a_column_of_the_frame_is_refused() -> None:
    definition = replace(view(FieldDef("f", "DOUBLE")), join_keys=(FieldDef("v__f__online", "INT64"),))
    both = sides(view(FieldDef("f", "DOUBLE")), [], [])
    with pytest.raises(ConfigurationError, match="join key 'v__f__online'"):
        frame(replace(both, view=definition))


def test_cells_and_parity_agree() -> None:
    """Every feature's unequal cells are as many as the parity check counts, by cause, beside the orphans."""
    definition = view(FieldDef("f", "DOUBLE"), FieldDef("g", "INT64"), ttl=timedelta(hours=20))
    offline = [row(k, 2 + k % 9, float(k % 5), k % 7) for k in range(60)]
    offline += [row(k, 30, 1.0, 1) for k in range(60, 64)]
    stored = [
        online(k, 2 + k % 9, (k % 5) * (100.0 if k < 20 else 1.0), ABSENT if k % 11 == 0 else k % 7) for k in range(50)
    ]
    stored += [online(k, 30, 1.0, None) for k in range(60, 64)] + [online(99, 3, 1.0, None)]
    both = sides(definition, offline, stored, watermark=hours(4))
    table = frame(both)
    stats = {f.feature: f for f in check_parity([both], POLICY).features}
    for name, orphans in (("f", 1), ("g", 0)):
        causes = [c for c in table.column(f"v__{name}__cause").to_pylist() if c is not None]
        counted = {cause: causes.count(cause) for cause in set(causes)}
        assert counted.pop("orphan_online", 0) == orphans
        assert counted == stats[name].causes
        assert table.column(f"v__{name}__equal").to_pylist().count(False) == stats[name].differing + orphans
