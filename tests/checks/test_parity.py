import math
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest

from skewguard.checks.parity import check_parity
from skewguard.compare.sides import Chunk, ViewSides
from skewguard.config import ServicePolicy
from skewguard.definitions import FieldDef
from skewguard.findings import Cause, CheckResult
from tests.checks.builders import ABSENT, CORRUPT, NOW, Listing, Online, Row, Rows, hours, sides, view

F = FieldDef("f", "DOUBLE")
VIEW = view(F)
TTL = view(F, ttl=timedelta(hours=6))


def causes(result: CheckResult) -> dict[tuple[str, str | None], int]:
    return {(f.cause.value, f.feature): f.count for f in result.findings}


def run(definition: Any, offline: list[Row], online: list[Online], **options: Any) -> dict[tuple[str, str | None], int]:
    return causes(check_parity([sides(definition, offline, online, **options)], ServicePolicy()))


def row(event: float, value: float | None, created: float | None = None, key: int = 1) -> Row:
    return Row(key, hours(event), (value,), hours(created if created is not None else event))


def online(event: float, value: Any, key: int = 1) -> Online:
    return Online(key, hours(event), (value,))


@pytest.mark.parametrize(
    ("definition", "offline", "stored", "watermark", "expected"),
    [
        # equal, whatever the route
        (VIEW, [row(1, 1.0)], [online(1, 1.0)], 0, {}),
        (VIEW, [], [], 0, {}),
        (VIEW, [row(1, None)], [online(1, None)], 0, {}),
        (VIEW, [row(1, math.nan)], [online(1, None)], 0, {}),
        (VIEW, [row(5, 1.0), row(1, 1.0)], [online(5, 1.0)], 0, {}),
        # past the watermark
        (VIEW, [row(5, 1.0), row(1, 2.0)], [online(5, 1.0)], 3, {("not_materialized", None): 1}),
        (VIEW, [row(1, 2.0)], [], 3, {("not_materialized", None): 1}),
        # late: at or before the watermark, created after it
        (VIEW, [row(5, 1.0), row(4, 2.0, created=1)], [online(5, 1.0)], 3, {("late_arrival", None): 1}),
        (VIEW, [row(4, 2.0, created=1)], [], 3, {("late_arrival", None): 1}),
        # rolled back
        (VIEW, [row(5, 1.0), row(4, 2.0)], [online(5, 1.0)], 3, {("out_of_order_write", None): 1}),
        # corrected under the same event timestamp, seen by the row that lost the tie
        (VIEW, [row(5, 1.0, 5), row(5, 2.0, 4)], [online(5, 1.0)], 3, {("blocked_correction", "f"): 1}),
        # ... nothing decides the tie: offline takes the larger value, online is the other one, or neither
        (VIEW, [row(5, 1.0, 4), row(5, 2.0, 4)], [online(5, 1.0)], 3, {("blocked_correction", "f"): 1}),
        (VIEW, [row(5, 1.0, 4), row(5, 2.0, 4)], [online(5, 2.0)], 3, {}),
        (VIEW, [row(5, 1.0, 4), row(5, 2.0, 4)], [online(5, 3.0)], 3, {("unexplained", "f"): 1}),
        # ... rewritten in place after the watermark
        (VIEW, [row(5, 2.0, created=1)], [online(5, 1.0)], 3, {("blocked_correction", "f"): 1}),
        # pushed online only
        (VIEW, [row(5, 1.0)], [online(1, 9.0)], 3, {("ahead_of_offline", None): 1}),
        # lost
        (VIEW, [row(5, 1.0)], [], 3, {("missing_online", None): 1}),
        (VIEW, [row(5, 1.0)], [online(5, ABSENT)], 3, {("field_never_written", "f"): 1}),
        (VIEW, [row(5, None)], [online(5, ABSENT)], 3, {}),
        (VIEW, [row(5, 1.0)], [online(5, CORRUPT)], 3, {("corrupt_value", "f"): 1}),
        (VIEW, [row(5, None)], [online(5, CORRUPT)], 3, {("corrupt_value", "f"): 1}),
        (VIEW, [], [online(5, 1.0)], 3, {("orphan_online", None): 1}),
        (VIEW, [row(5, 1.0)], [online(5, 7.0)], 3, {("unexplained", "f"): 1}),
        (VIEW, [row(5, 1.0)], [online(5, None)], 3, {("unexplained", "f"): 1}),
        # TTL: 6 hours old is inside, a microsecond more is not
        (TTL, [row(6, 1.0)], [online(6, 1.0)], 0, {}),
        (TTL, [row(6, 1.0)], [], 0, {("missing_online", None): 1}),
        (TTL, [row(7, 1.0)], [], 0, {}),
        (TTL, [row(7, 1.0)], [online(7, 1.0)], 0, {("expired_but_served", None): 1}),
        (TTL, [row(7, None)], [online(7, None)], 0, {}),
        (TTL, [row(9, 1.0)], [online(9, 1.0)], 5, {("expired_but_served", None): 1}),
        (TTL, [row(9, 1.0), row(1, 2.0)], [online(9, 1.0)], 0, {("out_of_order_write", None): 1}),
        # expired at the watermark, so rightly never written; a newer row came since
        (TTL, [row(12, 1.0), row(1, 2.0)], [], 3, {("not_materialized", None): 1}),
        # ... though an even older one still lies online
        (TTL, [row(30, 1.0), row(20, 2.0), row(1, 3.0)], [online(30, 1.0)], 2, {("not_materialized", None): 1}),
        # known was only a row that is past its TTL; the one due came late
        (TTL, [row(20, 1.0), row(4, 2.0, created=1)], [], 3, {("late_arrival", None): 1}),
        # equal values, but the online row is past its TTL and would be served as null
        (TTL, [row(9, 1.0), row(2, 1.0)], [online(9, 1.0)], 0, {("out_of_order_write", None): 1}),
        # pushed online at a moment that offline does not know, with a row of the future offline
        (VIEW, [row(5, 1.0), row(-1, 3.0)], [online(1, 9.0)], 3, {("ahead_of_offline", None): 1}),
        # both stores hold a row after the as-of time: nothing can be said about the as-of time
        (VIEW, [row(5, 1.0), row(-1, 9.0)], [online(-1, 9.0)], 3, {}),
        # a tie whose loser has no created timestamp
        (VIEW, [Row(1, hours(5), (1.0,), None), row(5, 2.0, 4)], [online(5, 1.0)], 3, {("blocked_correction", "f"): 1}),
    ],
)
def test_one_entity(
    definition: Any, offline: list[Row], stored: list[Online], watermark: float, expected: dict[Any, int]
) -> None:
    assert run(definition, offline, stored, watermark=hours(watermark)) == expected


NIGHTS = [(hours(30), hours(20)), (hours(20), hours(10)), (hours(10), hours(0))]


@pytest.mark.parametrize(
    ("offline", "stored", "windows", "expected"),
    [
        # corrected in place after the window that holds it; a later window is refused by Redis
        ([row(25, 2.0, created=15)], [online(25, 1.0)], NIGHTS, {("blocked_correction", "f"): 1}),
        ([row(25, 2.0, created=20)], [online(25, 1.0)], NIGHTS, {("unexplained", "f"): 1}),
        ([row(25, 2.0, created=15)], [online(25, 1.0)], [], {("unexplained", "f"): 1}),
        # ... which tells nothing where rows come after their window as a rule, and are rightly online
        ([row(25, 2.0, created=15), row(25, 7.0, created=15, key=2)], [online(25, 1.0), online(25, 7.0, key=2)],
         NIGHTS, {("unexplained", "f"): 1}),
        # ... unless it came more runs later than they
        ([row(25, 2.0, created=5), row(25, 7.0, created=15, key=2)], [online(25, 1.0), online(25, 7.0, key=2)],
         NIGHTS, {("blocked_correction", "f"): 1}),
        ([row(25, 2.0, created=5), row(25, math.nan, created=5, key=2)], [online(25, 1.0), online(25, None, key=2)],
         NIGHTS, {("unexplained", "f"): 1}),
        # ... and what a relation explains is no correction
        ([row(25, k + 0.5, created=15, key=k) for k in range(9)],
         [online(25, 100 * (k + 0.5), key=k) for k in range(9)], NIGHTS, {("unit_scale", "f"): 9}),
        # before the first window, or between two: no materialization ever saw the row
        ([row(40, 1.0)], [], NIGHTS, {("not_materialized", None): 1}),
        ([row(40, 1.0, created=5)], [], NIGHTS, {("not_materialized", None): 1}),
        ([row(27, 1.0), row(15, 2.0)], [online(27, 1.0)], NIGHTS[::2], {("not_materialized", None): 1}),
        ([row(15, 2.0)], [], NIGHTS[::2], {("not_materialized", None): 1}),
        # inside one it was lost, or late
        ([row(25, 1.0)], [], NIGHTS, {("missing_online", None): 1}),
        ([row(25, 1.0, created=15)], [], NIGHTS, {("late_arrival", None): 1}),
    ],
)  # fmt: skip
def test_materialized_windows(offline: list[Row], stored: list[Online], windows: Any, expected: dict[Any, int]) -> None:
    both = sides(VIEW, offline, stored, watermark=hours(0), windows=windows)
    assert causes(check_parity([both], ServicePolicy())) == expected


def test_the_ttl_edge_is_exact_to_the_microsecond() -> None:
    edge = NOW - timedelta(hours=6)
    for offset, expected in ((0, {}), (1, {("expired_but_served", None): 1})):
        event = edge - timedelta(microseconds=offset)
        assert run(TTL, [Row(1, event, (1.0,))], [Online(1, event, (1.0,))]) == expected


def test_a_late_row_and_a_lost_one_are_told_apart_within_one_view() -> None:
    offline = [row(5, 1.0, key=1), row(4, 2.0, created=1, key=1), row(5, 1.0, key=2), row(4, 2.0, key=2)]
    assert run(VIEW, offline, [online(5, 1.0, key=1), online(5, 1.0, key=2)], watermark=hours(3)) == {
        ("late_arrival", None): 1,
        ("out_of_order_write", None): 1,
    }


def test_a_backfill_stamped_after_the_watermark_does_not_hide_lost_keys() -> None:
    """Created timestamps are load times here: rows that are rightly online carry them too, so they tell nothing."""
    offline = [row(5, float(k), created=1, key=k) for k in range(8)]
    stored = [online(5, float(k), key=k) for k in range(2, 8)]
    assert run(VIEW, offline, stored, watermark=hours(3)) == {("missing_online", None): 2}


def test_a_corrupt_timestamp_is_corrupt_and_not_old() -> None:
    both = sides(VIEW, [row(5, 1.0)], [Online(1, hours(5), (CORRUPT,))], watermark=hours(3))
    whole = both.rows.whole
    index = whole.online.column_names.index("__event_ts")
    blank = whole.online.set_column(index, "__event_ts", pa.array([None], whole.online.schema.field(index).type))
    rows = replace(both.rows, whole=replace(whole, online=blank))
    result = check_parity([replace(both, rows=rows)], ServicePolicy())
    assert causes(result) == {("corrupt_value", None): 1}


def test_rows_after_the_as_of_time_are_not_compared() -> None:
    both = sides(VIEW, [row(5, 1.0), row(-1, 9.0), row(5, 1.0, key=2)], [online(-1, 9.0), online(5, 1.0, key=2)])
    result = check_parity([both], ServicePolicy())
    assert (result.population, result.compared, result.findings) == (2, 1, ())


@pytest.mark.parametrize("name", ["state", "cause", "row_id", "t_ts", "o_ts", "d_0", "t_live", "feature", "online"])
def test_names_of_a_repository_never_meet_ours(name: str) -> None:
    feature = FieldDef(name if name != "feature" else "t_live", "DOUBLE")
    plain = view(feature)
    definition = replace(plain, join_keys=(FieldDef(name, "INT64"),), features=(FieldDef("e_due", "DOUBLE"),))
    both = sides(view(FieldDef("e_due", "DOUBLE")), [row(5, 1.0), row(5, 2.0, key=2)], [online(5, 9.0)])
    assert isinstance(both.rows, Rows)
    assert isinstance(both.listing, Listing)

    class Renamed:
        def known(self, keys: pa.Table) -> pa.Table:
            return self._back(both.evidence.known(self._there(keys)))

        def exists(self, rows: pa.Table) -> pa.Table:
            return self._back(both.evidence.exists(self._there(rows)))

        def superseded(self, keys: pa.Table) -> pa.Table:
            return self._back(both.evidence.superseded(self._there(keys)))

        def _there(self, table: pa.Table) -> pa.Table:
            return table.rename_columns(["key" if c == name else c for c in table.column_names])

        def _back(self, table: pa.Table) -> pa.Table:
            return table.rename_columns([name if c == "key" else c for c in table.column_names])

    parts = ("truth", "online", "expected")
    chunk = Chunk(*(Renamed()._back(getattr(both.rows.whole, part)) for part in parts))
    listing = Listing(Renamed()._back(both.listing.orphans), Renamed()._back(both.listing.outside(chunk.truth).twins))
    renamed = replace(
        both, view=definition, features=definition.features, evidence=Renamed(), rows=Rows(chunk, definition),
        listing=listing,
    )  # fmt: skip
    result = check_parity([renamed], ServicePolicy())
    assert causes(result) == {("missing_online", None): 1, ("unexplained", "e_due"): 1}
    assert {f.samples[0]["entity"][name] for f in result.findings} == {1, 2}


def many(values: list[Any], seen: list[Any], dtype: str = "DOUBLE") -> dict[tuple[str, str | None], int]:
    definition = view(FieldDef("f", dtype))
    offline = [Row(k, hours(5), (v,), hours(5)) for k, v in enumerate(values)]
    return run(definition, offline, [Online(k, hours(5), (v,)) for k, v in enumerate(seen)], watermark=hours(3))


@pytest.mark.parametrize(
    ("values", "seen", "dtype", "expected"),
    [
        ([1.0, 2.0, 3.0, 4.5], [100.0, 200.0, 300.0, 450.0], "DOUBLE", {("unit_scale", "f"): 4}),
        ([1.0, 2.0, 3.0, 4.5], [0.01, 0.02, 0.03, 0.045], "FLOAT", {("unit_scale", "f"): 4}),
        ([1, 2, 3, 4], [60, 120, 180, 240], "INT64", {("unit_scale", "f"): 4}),
        ([1.0, 2.0, 3.5], [33.8, 35.6, 38.3], "DOUBLE", {("unexplained", "f"): 3}),  # Celsius to Fahrenheit: neither
        ([1.0, 2.0, 3.5], [6.0, 7.0, 8.5], "DOUBLE", {("constant_offset", "f"): 3}),
        ([0.1, 0.2, 0.7], [0.10000000149011612, 0.20000000298023224, 0.699999988079071], "DOUBLE",
         {("type_cast", "f"): 3}),
        ([1.4, 2.6, 3.5], [1.0, 2.0, 3.0], "DOUBLE", {("type_cast", "f"): 3}),
        ([None, None, None, 1.0], [0.0, 0.0, 0.0, 1.0], "DOUBLE", {("null_default", "f"): 3}),
        (["x", None, None, None], ["x", "?", "?", "?"], "STRING", {("null_default", "f"): 3}),
        # one cell tells a cast by its last bits, where nothing else differs
        ([2**53 + 1, 5], [2**53, 5], "INT64", {("type_cast", "f"): 1}),
        ([2**60 + 1, 2**60 + 77], [2**60, 2**60], "INT64", {("type_cast", "f"): 2}),
        ([2**60 + 1, 2**60 + 77], [2**60, 2**60 + 76], "INT64", {("unexplained", "f"): 2}),
        ([2**53 + 1, None], [2**53 - 1, None], "INT64", {("unexplained", "f"): 1}),
        ([0.1, 5.0], [0.10000000149011612, 5.0], "DOUBLE", {("type_cast", "f"): 1}),
        ([0.1, 5.0], [0.1000000015, 5.0], "DOUBLE", {("unexplained", "f"): 1}),
        # two rows fit any line: no relation is claimed
        ([1.0, 2.0], [100.0, 200.0], "DOUBLE", {("unexplained", "f"): 2}),
        ([5.0] * 4, [500.0] * 4, "DOUBLE", {("unexplained", "f"): 4}),
        # one odd row neither hides the factor nor becomes part of it
        ([float(n) for n in range(1, 21)], [*[n * 100.0 for n in range(1, 20)], 7.0], "DOUBLE",
         {("unit_scale", "f"): 19, ("unexplained", "f"): 1}),
        # seconds since 1970 that differ at random are no offset, nor is what rounding does to a large number
        ([1.7e9, 1.6e9, 1.5e9, 1.4e9], [1.7e9 + 100, 1.6e9 - 90, 1.5e9 + 10, 1.4e9 - 5], "DOUBLE",
         {("unexplained", "f"): 4}),
        # bits read as another type are no factor
        ([1.0, 2.0, 3.5], [5e-324, 1e-323, 1.5e-323], "DOUBLE", {("unexplained", "f"): 3}),
        # ... nor do a few that happen to fit create it
        ([1.0, 2.0, 3.0, 4.0, 5.0], [100.0, 200.0, 300.0, 9.0, 11.5], "DOUBLE", {("unexplained", "f"): 5}),
    ],
)  # fmt: skip
def test_relations(values: list[Any], seen: list[Any], dtype: str, expected: dict[Any, int]) -> None:
    assert many(values, seen, dtype) == expected


def test_a_timezone_shift_is_named_with_its_minutes() -> None:
    definition = view(FieldDef("f", "UNIX_TIMESTAMP"))
    stamps = [hours(100 + n) for n in range(4)]
    offline = [Row(k, hours(5), (v,), hours(5)) for k, v in enumerate(stamps)]
    stored = [Online(k, hours(5), (v + timedelta(hours=9),)) for k, v in enumerate(stamps)]
    result = check_parity([sides(definition, offline, stored, watermark=hours(3))], ServicePolicy())
    assert causes(result) == {("timezone_shift", "f"): 4}
    assert result.findings[0].evidence["minutes"] == 540


@pytest.mark.parametrize(
    ("dtype", "offline", "stored", "equal"),
    [
        ("INT64", 2**53 + 1, 2**53, False),
        ("FLOAT", 0.1, 0.10000000149011612, True),
        ("DOUBLE", 1.0, 1.0 + 1e-12, True),
        ("DOUBLE", 1.0, 1.0 + 1e-6, False),
        ("DOUBLE", math.inf, math.inf, True),
        ("DOUBLE", math.inf, -math.inf, False),
        ("DOUBLE", math.inf, 1e308, False),
        ("DOUBLE", None, math.nan, False),
        ("DOUBLE", math.nan, math.nan, True),
        ("DOUBLE", 0.0, -0.0, True),
        ("STRING", "é", "e\u0301", False),
        ("STRING", "", None, False),
        ("BOOL", True, False, False),
        ("BYTES", b"\x00", b"\x00", True),
        ("DOUBLE_LIST", [1.0, None], [1.0, math.nan], True),
        ("DOUBLE_LIST", [], None, False),
        ("DOUBLE_LIST", [1.0, 2.0], [2.0, 1.0], False),
        ("INT64_LIST", [1], [1, 1], False),
        ("INT64_LIST", [1, None], [1, 0], True),
        ("INT64_LIST", [1, None], [1, 2], False),
        ("STRING_LIST", [None], [""], True),
        ("BOOL_LIST", [None], [False], True),
        ("BYTES_LIST", [None], [b""], True),
        ("STRING_LIST", ["a", ""], ["a", ""], True),
        ("STRING_SET", ["a", "b"], ["b", "a"], True),
        ("FLOAT_LIST", [0.1], [0.1], True),
        ("UNIX_TIMESTAMP", hours(1) + timedelta(microseconds=987654), hours(1), True),
        ("UNIX_TIMESTAMP", hours(1), hours(1) + timedelta(seconds=1), False),
    ],
)
def test_equality_by_dtype(dtype: str, offline: Any, stored: Any, equal: bool) -> None:
    assert (many([offline], [stored], dtype) == {}) is equal


def test_tolerances_come_from_policy() -> None:
    definition = view(F)
    both = sides(definition, [row(1, 100.0)], [online(1, 101.0)])
    assert causes(check_parity([both], ServicePolicy())) != {}
    loose = ServicePolicy.model_validate({"tolerances": {"v:f": {"relative": 0.02}}})
    assert causes(check_parity([both], loose)) == {}
    of_the_dtype = ServicePolicy.model_validate({"tolerances": {"DOUBLE": {"relative": 0.02}}})
    assert causes(check_parity([both], of_the_dtype)) == {}
    its_own = {"DOUBLE": {"relative": 0.02}, "v:f": {"absolute": 0.5}, "INT64": {"relative": 0.9}}
    assert causes(check_parity([both], ServicePolicy.model_validate({"tolerances": its_own}))) != {}


def test_a_lists_tolerance_is_that_of_its_elements() -> None:
    definition = view(FieldDef("f", "FLOAT_LIST"))
    both = sides(definition, [Row(1, hours(5), ([1.0, 2.0],))], [Online(1, hours(5), ([1.0, 2.01],))])
    assert causes(check_parity([both], ServicePolicy())) != {}
    loose = ServicePolicy.model_validate({"tolerances": {"FLOAT": {"relative": 0.02}}})
    assert causes(check_parity([both], loose)) == {}


def test_counts_samples_and_statistics_can_be_recomputed_by_hand() -> None:
    offline = [row(5, float(k), key=k) for k in range(10)]
    stored = [online(5, float(k), key=k) for k in range(2, 10)]
    result = check_parity([sides(VIEW, offline, stored, watermark=hours(3))], ServicePolicy())
    (found,) = result.findings
    assert (found.cause, found.count, found.compared) == (Cause.MISSING_ONLINE, 2, 10)
    assert (result.population, result.compared, result.status) == (10, 10, "ok")
    assert found.ci_low < 0.2 < found.ci_high
    assert [sample["entity"] for sample in found.samples] == [{"key": 0}, {"key": 1}]
    assert found.samples[0]["online"] == "(key absent)"
    assert found.samples[1]["offline"] == "1.0"
    (stats,) = result.features
    assert (stats.compared, stats.differing, stats.online_nulls, stats.causes) == (10, 2, 2, {"missing_online": 2})
    assert sum(stats.offline) == 10
    assert sum(stats.online) == 8


def test_a_skipped_view_makes_the_check_inconclusive() -> None:
    result = check_parity([], ServicePolicy(), {"v": "never materialized"})
    assert (result.status, result.reason) == ("inconclusive", "v: never materialized")


def test_hostile_names_do_not_break_the_sql() -> None:
    feature = FieldDef("a\"b'c; DROP TABLE x", "STRING")
    definition = view(feature)
    offline = [Row(1, hours(5), ("x'y",), hours(5))]
    assert run(definition, offline, [Online(1, hours(5), ("z",))]) == {("unexplained", feature.name): 1}


def with_twins(both: ViewSides, *keys: int) -> ViewSides:
    columns = {"__stored": [f"STRING '{k}'" for k in keys], "__difference": ["INT64 stored as STRING"] * len(keys)}
    twins = pa.table({"key": pa.array(keys, pa.int64()), **columns})
    return replace(both, listing=replace(both.listing, twins=twins))


@pytest.mark.parametrize(
    ("offline", "stored", "watermark", "expected"),
    [
        ([row(5, 1.0)], [], 3, {("entity_key_mismatch", None): 1}),
        # the row is there, under its own key too
        ([row(5, 1.0)], [online(5, 1.0)], 3, {}),
        # nothing was due yet, or it came late: its neighbours keep their causes
        ([row(1, 1.0)], [], 3, {("not_materialized", None): 1}),
        ([row(4, 2.0, created=1)], [], 3, {("late_arrival", None): 1}),
        # another entity is simply gone
        ([row(5, 1.0), row(5, 2.0, key=2)], [], 3, {("entity_key_mismatch", None): 1, ("missing_online", None): 1}),
    ],
)
def test_a_twin_key_goes_before_a_missing_row_and_nothing_else(
    offline: list[Row], stored: list[Online], watermark: float, expected: dict[Any, int]
) -> None:
    both = with_twins(sides(VIEW, offline, stored, watermark=hours(watermark)), 1)
    assert causes(check_parity([both], ServicePolicy())) == expected


def test_the_twins_are_shown() -> None:
    offline = [row(5, float(k), key=k) for k in range(20)]
    both = with_twins(sides(VIEW, offline, [], watermark=hours(3)), *range(20))
    (found,) = check_parity([both], ServicePolicy()).findings
    assert found.evidence["differences"] == {"INT64 stored as STRING": 20}
    assert len(found.evidence["twins"]) == 10
    assert found.evidence["twins"][0] == {"entity": {"key": 0}, "stored_as": "STRING '0'"}
    assert found.message.endswith("(INT64 stored as STRING)")
    assert found.repairable


PAIR = view(FieldDef("a", "DOUBLE"), FieldDef("b", "DOUBLE"), FieldDef("c", "STRING"))


def test_a_swap_is_named_on_both_features_and_leaves_the_third_alone() -> None:
    offline = [Row(k, hours(5), (k + 0.5, 1000.0 - k * k, f"x{k}"), hours(5)) for k in range(12)]
    stored = [
        Online(r.key, r.event, (r.values[1], r.values[0], r.values[2]) if r.key < 8 else r.values) for r in offline
    ]
    result = check_parity([sides(PAIR, offline, stored, watermark=hours(3))], ServicePolicy())
    assert causes(result) == {("column_swap", "a"): 8, ("column_swap", "b"): 8}
    assert {f.feature: f.evidence["column"] for f in result.findings} == {"a": "b", "b": "a"}
    assert {f.feature: f.message.rsplit("(", 1)[1] for f in result.findings} == {
        "a": "swapped with b)",
        "b": "swapped with a)",
    }


def test_a_feature_that_holds_the_join_key_is_named_so() -> None:
    offline = [row(5, k / 7 + 100, key=k) for k in range(12)]
    result = check_parity(
        [sides(VIEW, offline, [online(5, float(r.key), key=r.key) for r in offline], watermark=hours(3))],
        ServicePolicy(),
    )
    assert causes(result) == {("column_swap", "f"): 12}
    assert result.findings[0].evidence["column"] == "key (join key)"


def test_a_second_factor_of_one_feature_is_kept_beside_the_first() -> None:
    values = [k + 0.25 for k in range(1, 41)]
    offline = [row(5, v, key=k) for k, v in enumerate(values)]
    stored = [online(5, v * (100 if k < 25 else 60), key=k) for k, v in enumerate(values)]
    (found,) = check_parity([sides(VIEW, offline, stored, watermark=hours(3))], ServicePolicy()).findings
    assert (found.cause, found.count, found.evidence["k"]) == (Cause.UNIT_SCALE, 40, 100.0)
    assert [also["k"] for also in found.evidence["also"]] == [60.0]


def test_a_renaming_is_worded_with_its_first_entries() -> None:
    definition = view(FieldDef("f", "STRING"))
    names = ["a", "b", "c", "d", "e"] * 8
    offline = [Row(k, hours(5), (v,), hours(5)) for k, v in enumerate(names)]
    stored = [Online(k, hours(5), (f"n{'abcde'.index(v)}",)) for k, v in enumerate(names)]
    (found,) = check_parity([sides(definition, offline, stored, watermark=hours(3))], ServicePolicy()).findings
    assert found.message.endswith("('a' as 'n0', 'b' as 'n1', 'c' as 'n2', and 2 more)")
    assert found.evidence["mapping"] == {"a": "n0", "b": "n1", "c": "n2", "d": "n3", "e": "n4"}


@pytest.mark.parametrize("shift", [-2.0, 9.0, 5.75])
def test_rows_under_shifted_event_timestamps_are_named_though_their_values_are_right(shift: float) -> None:
    """Local time written as UTC: the values agree, but the TTL and the order of writes go by wrong moments."""
    offline = [row(20 + k / 7, float(k), key=k) for k in range(12)]
    stored = [online(20 + k / 7 - shift, float(k), key=k) for k in range(12)]
    result = check_parity([sides(VIEW, offline, stored, watermark=hours(3))], ServicePolicy())
    assert causes(result) == {("timezone_shift", None): 12}
    (found,) = result.findings
    assert (found.evidence["minutes"], found.evidence["share"]) == (shift * 60, 1.0)
    assert f"({shift * 60:+.0f} minutes)" in found.message


@pytest.mark.parametrize(
    ("moved", "values"),
    [
        (lambda k: 20 - k, lambda k: float(k)),  # each by another time: rewritten at other moments
        (lambda k: 18.123, lambda k: float(k)),  # all stamped at once
        (lambda k: 18 + k / 7, lambda k: k + 0.5 + k % 3),  # other values: newer rows that offline has not
    ],
)
def test_other_event_timestamps_are_no_shift(moved: Any, values: Any) -> None:
    offline = [row(20 + k / 7, float(k), key=k) for k in range(12)]
    stored = [online(moved(k), values(k), key=k) for k in range(12)]
    found = run(VIEW, offline, stored, watermark=hours(3))
    assert ("timezone_shift", None) not in found


def test_a_snapshot_that_is_streamed_again_an_hour_later_is_no_shift() -> None:
    offline = [row(20, float(k), key=k) for k in range(12)]
    stored = [online(19, float(k), key=k) for k in range(12)]
    assert run(VIEW, offline, stored, watermark=hours(3)) == {}


def test_a_row_of_yesterday_is_no_shift() -> None:
    """Daily rows: what is online is a day older, and offline has a row then."""
    offline = [r for k in range(8) for r in (row(20, 1.0, key=k), row(44, 1.0, key=k))]
    stored = [online(44, 1.0, key=k) for k in range(8)]
    assert run(VIEW, offline, stored, watermark=hours(3)) == {}
