"""Every relation by itself: what it is seen in, what it says, and what it must not be taken for."""

from __future__ import annotations

import math
import unicodedata
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.causes.columns import evidence, named

WORDS = ["Ärger", "Zug", "Haus am See", "Küche ", "Boot", "Straße"]
AMOUNTS = [12.34, 56.78, 90.12, 3.5, 77.01, 8.88]
MORNING = datetime(2026, 3, 1, 8, tzinfo=UTC)
STAMPS = [MORNING + timedelta(days=n * n, seconds=n * 37) for n in range(1, 7)]


def shifted(**by: float) -> list[datetime]:
    return [stamp + timedelta(**by) for stamp in STAMPS]


@pytest.mark.parametrize(
    ("offline", "online", "form"),
    [
        (WORDS, [w.lower() for w in WORDS], "online is lower case"),
        (WORDS[:5], [w.upper() for w in WORDS[:5]], "online is upper case"),
        (["Straße", "Gasse", "Maße"], ["STRASSE", "GASSE", "MASSE"], "case"),
        ([w.lower() for w in WORDS], WORDS, "offline is lower case"),
        (["a ", " b", "c\t"], ["a", "b", "c"], "online is white space trimmed"),
        (["a  b", "b   c", "c d  e"], ["a b", "b c", "c d e"], "online is white space collapsed"),
        (["a b", "b c", "c d"], ["a\u00a0b", "b\u00a0c", "c\u00a0d"], "offline is white space collapsed"),
        (["Ä", "Ö", "é"], [unicodedata.normalize("NFD", c) for c in "ÄÖé"], "offline is Unicode form NFC"),
        (["ﬁnd", "ﬂy", "ﬁx"], ["find", "fly", "fix"], "online is Unicode form NFKC"),
        (["abcdef", "bcdefg", "cdefgh", "ab"], ["abcd", "bcde", "cdef", "ab"], "online is cut to 4 characters"),
        (["Äbcd", "Öbcd", "Übcd"], ["Äb", "Öb", "Üb"], "online is cut to 2 characters"),
        (["A b", "C d ", "E  f"], [" a b", "c d", "e f"], "case and white space"),
        (["Ä b", "Ö d", "É f"], [unicodedata.normalize("NFD", t) for t in (" ä b", "ö d ", "É  F")],
         "case and white space and Unicode form"),
    ],
)  # fmt: skip
def test_string_normalization_says_which(offline: list[str], online: list[str], form: str) -> None:
    assert set(named("STRING", offline, online)) == {"string_normalization"}
    assert evidence("STRING", offline, online)["form"] == form


@pytest.mark.parametrize(
    ("offline", "online"),
    [
        (["a", "b", "c", "A", "B", "C"], ["A", "B", "C", "A", "B", "C"]),  # both cases are categories of their own
        (["xa", "xb", "xc"], ["x", "x", "x"]),  # a constant, not what is left of many
        (["Paris", "Rome", "Oslo"], ["paris", "rom", "OSLOW"]),  # one of three
        (["Paris", "Rome"], ["paris", "rome"]),  # two rows are too few
        (["", "", ""], ["a", "b", "c"]),
    ],
)
def test_texts_that_merely_differ_are_unexplained(offline: list[str], online: list[str]) -> None:
    assert set(named("STRING", offline, online)) == {"unexplained"}


@pytest.mark.parametrize(
    ("dtype", "offline", "online", "cause", "says"),
    [
        ("STRING", ["007", "08", "1"], ["7", "8", "1.0"], "type_cast", {"cast": "a number"}),
        ("INT64", [2**53 + 1, 2**53 + 3, 2**54 + 3], [2**53, 2**53 + 4, 2**54 + 4], "type_cast", {"cast": "float64"}),
        ("INT64", [2**32 + 5, 2**33 + 7, 2**35 + 9], [5, 7, 9], "type_cast", {"cast": "int32"}),
        ("INT32", [2**24 + 1, 2**24 + 3, 2**25 + 3], [2**24, 2**24 + 4, 2**25 + 4], "type_cast", {"cast": "float32"}),
        ("DOUBLE", AMOUNTS, [float(int(a)) for a in AMOUNTS], "type_cast", {"cast": "truncated to a whole number"}),
        ("DOUBLE", AMOUNTS, [-a for a in AMOUNTS], "unit_scale", {"k": -1.0}),
        ("DOUBLE", AMOUNTS, [a / 3600 for a in AMOUNTS], "unit_scale", {"k": 1 / 3600}),
        ("DOUBLE", AMOUNTS, [a * 1.0936 for a in AMOUNTS], "unit_scale", {"k": pytest.approx(1.0936)}),
        ("DOUBLE", AMOUNTS, [a - 273.15 for a in AMOUNTS], "constant_offset", {"c": pytest.approx(-273.15)}),
        ("UNIX_TIMESTAMP", STAMPS, shifted(hours=9), "timezone_shift", {"minutes": 540}),
        ("UNIX_TIMESTAMP", STAMPS, shifted(hours=-5, minutes=-30), "timezone_shift", {"minutes": -330}),
        ("UNIX_TIMESTAMP", STAMPS, shifted(days=3), "constant_offset", {"c": 3 * 86400.0}),
        ("UNIX_TIMESTAMP", STAMPS, shifted(seconds=90), "constant_offset", {"c": 90.0}),
        ("UNIX_TIMESTAMP", STAMPS, [datetime.fromtimestamp(s.timestamp() // 1000, UTC) for s in STAMPS],
         "unit_scale", {"k": 0.001}),
        ("DOUBLE", [None, math.nan, None, 1.0], [-1.0, -1.0, -1.0, 1.0], "null_default", {"fill": "-1.0"}),
        ("INT64", [-1, -1, -1, 5, 6], [None, None, None, 5, 6], "unexplained", {}),  # -1 is most of what there is
        ("DOUBLE_LIST", [None, None, None, [1.0]], [[], [], [], [1.0]], "null_default", {"fill": "[]"}),
    ],
)  # fmt: skip
def test_numbers_and_fills(dtype: str, offline: list[Any], online: list[Any], cause: str, says: dict[str, Any]) -> None:
    assert set(named(dtype, offline, online)) == {cause}
    found = evidence(dtype, offline, online)
    assert {key: found[key] for key in says} == says


def test_daylight_saving_gives_two_shifts_of_one_cause() -> None:
    stamps = [MORNING + timedelta(days=n, seconds=n * 61) for n in range(300)]
    online = [s + timedelta(hours=1 if n < 150 else 2) for n, s in enumerate(stamps)]
    assert named("UNIX_TIMESTAMP", stamps, online) == {"timezone_shift": 300}


def cycle(categories: list[Any], times: int) -> tuple[list[Any], list[Any]]:
    offline = categories * times
    return offline, offline[1:] + offline[:1]


@pytest.mark.parametrize(
    ("dtype", "offline", "online", "cause"),
    [
        ("STRING", *cycle(["a", "b", "c", "d"], 20), "category_recode"),
        ("INT64", *cycle([0, 1, 2, 3, 4], 20), "category_recode"),  # an encoder that was refitted
        ("DOUBLE", *cycle([0.0, 1.0, 2.0, 3.0], 20), "category_recode"),
        ("BYTES", *cycle([b"a", b"b", b"c"], 20), "category_recode"),
        ("STRING", ["a", "b"] * 20, ["1", "2"] * 20, "category_recode"),
        ("STRING", ["a", "b"] * 20, ["b", "a"] * 20, "category_recode"),  # every row: a renaming
        ("STRING", ["a", "b"] * 200, [*["b", "a"] * 2, *["a", "b"] * 198], "unexplained"),  # four: any error says this
        ("BOOL", [True, False] * 20, [False, True] * 20, "category_recode"),
        ("BOOL", [True] * 40, [False] * 40, "unexplained"),  # a constant that is another constant
        ("BOOL", [True, False] * 200, [*[False, True] * 10, *[True, False] * 190], "unexplained"),
        ("STRING", ["a", "b", "c"] * 20, ["a", "b", "X"] * 20, "category_recode"),  # one category renamed everywhere
        ("STRING", ["a", "b", "c"] * 20, ["a", "b", "a"] * 20, "unexplained"),  # two that became one
        ("STRING", ["a", "b", "c"] * 20, ["X"] * 60, "unexplained"),
        ("STRING", [str(n) for n in range(60)], [f"x{n}" for n in range(60)], "unexplained"),  # names, no categories
        ("INT64", [n % 40 for n in range(400)], [(n % 40) ** 2 + 41 for n in range(400)], "unexplained"),  # a formula
    ],
)
def test_category_recode(dtype: str, offline: list[Any], online: list[Any], cause: str) -> None:
    assert set(named(dtype, offline, online)) == {cause}


def test_the_mapping_is_kept() -> None:
    offline, online = ["a", "b", "c"] * 20, ["1", "2", "3"] * 19 + ["2", "2", "3"]
    found = evidence("STRING", ["a", "b", "c"] * 20, ["1", "2", "3"] * 20)
    assert found == {"mapping": {"a": "1", "b": "2", "c": "3"}, "categories": 3, "share": 1.0, "cells": 60}
    assert named("STRING", offline, online) == {"category_recode": 59, "unexplained": 1}


OTHER = [3.25, 7.5, 1.125, 9.0, 4.75, 2.0625]


@pytest.mark.parametrize(
    ("dtype", "offline", "online", "others", "says"),
    [
        ("DOUBLE", AMOUNTS, OTHER, {"o": ("DOUBLE", OTHER, OTHER)}, {"column": "o", "and_back": 0.0}),
        ("DOUBLE", AMOUNTS, OTHER, {"o": ("DOUBLE", OTHER, AMOUNTS)}, {"column": "o", "and_back": 1.0}),
        ("DOUBLE", AMOUNTS, OTHER, {"o": ("FLOAT", OTHER, OTHER)}, {"column": "o"}),
        ("INT64", [10, 20, 30, 40, 50, 60], [3, 7, 1, 9, 4, 2], {"o": ("DOUBLE", OTHER, OTHER)}, {"column": "o"}),
        ("INT64", [10, 20, 30, 40, 50, 60], [2**60 + n for n in range(6)],
         {"o": ("INT64", [2**60 + n for n in range(6)], [0] * 6)}, {"column": "o"}),
        ("STRING", WORDS, AMOUNTS_TEXT := [str(a) for a in AMOUNTS],
         {"n": ("DOUBLE", AMOUNTS, AMOUNTS), "o": ("STRING", AMOUNTS_TEXT, WORDS)}, {"column": "o"}),
        ("UNIX_TIMESTAMP", STAMPS, shifted(hours=1), {"o": ("UNIX_TIMESTAMP", shifted(hours=1), STAMPS)},
         {"column": "o", "and_back": 1.0}),
        ("INT64_LIST", [[n] for n in range(6)], [[n, n] for n in range(6)],
         {"o": ("INT64_LIST", [[n, n] for n in range(6)], [[n] for n in range(6)])}, {"column": "o"}),
        # cents beside euros: a factor as long as the other column did not come back
        ("DOUBLE", AMOUNTS, [a * 100 for a in AMOUNTS],
         {"o": ("DOUBLE", [a * 100 for a in AMOUNTS], AMOUNTS)}, {"column": "o", "and_back": 1.0}),
        ("DOUBLE", AMOUNTS, [a * 100 for a in AMOUNTS],
         {"o": ("DOUBLE", [a * 100 for a in AMOUNTS], [a * 100 for a in AMOUNTS])}, {"k": 100.0}),
    ],
)  # fmt: skip
def test_column_swap(dtype: str, offline: list[Any], online: list[Any], others: Any, says: dict[str, Any]) -> None:
    found = evidence(dtype, offline, online, others)
    assert {key: found[key] for key in says} == says


def test_a_column_that_has_the_same_constant_is_not_swapped() -> None:
    others = {"o": ("DOUBLE", [1.0] * 6, [1.0] * 6)}
    assert named("DOUBLE", AMOUNTS, [1.0] * 6, others) == {"unexplained": 6}


def test_a_column_that_is_the_double_of_another_in_most_rows_goes_before_the_factor() -> None:
    offline = [1.5 + n for n in range(40)]
    doubles = [value * 2 if n % 20 else value * 3 for n, value in enumerate(offline)]
    others = {"o": ("DOUBLE", doubles, doubles)}
    assert named("DOUBLE", offline, doubles, others) == {"column_swap": 40}
    exact = [value * 2 for value in offline]
    assert named("DOUBLE", offline, exact, {"o": ("DOUBLE", exact, exact)}) == {"unit_scale": 40}


def test_values_that_are_all_gone_and_values_without_their_last_decimals() -> None:
    offline = [1.2345 + 3 * n + n / 997 for n in range(20)]
    assert evidence("DOUBLE", offline, [None] * 20) == {
        "filled_side": "online", "fill": None, "share": 1.0, "cells": 20
    }  # fmt: skip
    assert named("DOUBLE", offline, [None] * 4 + offline[4:]) == {"unexplained": 4}  # a few nulls are no rule
    found = evidence("DOUBLE", offline, [round(value, 2) for value in offline])
    assert found["cast"] == "rounded to 2 decimals"
    assert evidence("DOUBLE", offline, [round(value, 1) for value in offline])["cast"] == "rounded to 1 decimal"
    assert named("DOUBLE", offline, [value + 0.004 for value in offline]) == {"constant_offset": 20}
