"""The table of the package: every known case has a test, and every test that it names exists."""

from __future__ import annotations

import ast
from pathlib import Path

import tests.known_skews

ROOT = Path(__file__).parents[2]
KNOWN = {
    "A": (1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14),
    "B": (1, 2, 3, 5, 6, 7),
    "C": range(1, 9),
    "D": (1, 2, 3, 4, 6, 7, 8),
    "E": (*range(1, 10), 11, 12),
    "F": range(2, 10),
}
CASES = {f"{letter}{number}" for letter, numbers in KNOWN.items() for number in numbers} | {"G", "fine"}


def table() -> list[tuple[str, str]]:
    """(case, node id) as the docstring has them."""
    lines = (line.split() for line in (tests.known_skews.__doc__ or "").splitlines())
    return [(words[0], words[1]) for words in lines if len(words) == 2 and "::" in words[1]]


def test_every_known_case_is_told() -> None:
    assert {case for case, _ in table()} == CASES


def test_every_test_named_there_exists() -> None:
    written: dict[str, set[str]] = {}
    for _, node in table():
        path, name = node.split("::")
        if path not in written:
            tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
            written[path] = {item.name for item in tree.body if isinstance(item, ast.FunctionDef)}
        assert name in written[path], node
