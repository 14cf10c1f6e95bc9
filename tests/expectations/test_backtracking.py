"""Regular expressions that can hang a process are told from those that cannot."""

from __future__ import annotations

import re
import time

import pytest

from skewguard.expectations.backtracking import MAX_LENGTH, trouble
from skewguard.expectations.rules import without_groups

ENDLESS = [
    r"(a+)+$", r"(a*)*b", r"(a|a)*b", r"(?:a|aa)+$", r"(\w+\s?)*$", r"(.*,)*x", r"^(\d+|\w+)*$", r"([a-zA-Z]+)*$",
    r"(x+x+)+y", r"^(([a-z])+.)+[A-Z]([a-z])+$", r"(?:a|b|ab)*c", r"(\S+\s*)+$", r"(a{1,50}){2,}b", r"((a{0,100})*)*",
    r"(a?){40}a{40}", r"(a{1,2}){40}b", r"(?:(?:a?){2,}){1,3}b", r"(a+){30}b", r"(?i)(?:ab|[A-B]B)*!",
    r"(?:\d|[0-9]x?)+y", r"(?s)(.+)+\Z", r"(?P<q>a+)(?:(?P=q)+)+x", r"(?:[^a]|b)*c", r"(?:éa|[à-ü]a)*x",
]  # fmt: skip
POWERS = [r".*a.*b.*", r".*a.*a.*a.*a", r"\s*\s*\s*\s*x", r"(?:.|\n)*x.*y.*z.*w", r"(a+){5}b", r"(a+){3}b"]
WAYS = [
    r"(?:\d?\d?\d?[.,]?){6}$", "a?" * 25 + "b", "a?" * 28 + "a" * 28, r"(?:a?a?a?a?){10}b", r"(?:a?a?){8}b",
    r"(?:(?:ax|[ab]x)(?:ax|[ab]x)){7}c", r"(?i)(?:a?A?){8}b",
]  # fmt: skip
FINE = [
    "", "(?s).*", r"^[A-Z]{2}\d+$", r"^([a-z]+-)*[a-z]+$", r"^(\d{1,3}\.){3}\d{1,3}$", r"^[\w.+-]+@[\w-]+\.[\w.-]+$",
    r"^https?://[^/]+/[^?]*\?[^#]*#.*$", r"(foo|bar)+",
    r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2})$",
    r"^[0-9a-f]{8}-[0-9a-f]{4}-[1-5][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$", r"^(ab|cd)*e", r"(?<=x)y(?!z)",
    r"^([^,]*,){3}[^,]*$", r"^.*a.*b$", r"^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$", r"(a)\1",
    r"^([+-]?\d+(\.\d+)?([eE][+-]?\d+)?)$", r'^("[^"]*"|[^,"]*)(,("[^"]*"|[^,"]*))*$', r"(?:(?:\s|,)+\w+)*;",
    r"^\+?[0-9 ()-]{7,20}$", r"^(?:25[0-5]|2[0-4]\d|1?\d?\d)(?:\.(?:25[0-5]|2[0-4]\d|1?\d?\d)){3}$", r"(?>a+)b",
    r"a++b", r"(\w+\s)*\w*", r"a.*b", r"^\s*\w+\s*$", r"^\D*\d+\D*$",
    r"^\d{4}-\d{1,2}-\d{1,2}( \d{1,2}:\d{2}(:\d{2})?)?$", r"\+?\d{1,3}[ -]?\(?\d{1,4}\)?[ -]?\d{1,4}[ -]?\d{1,4}",
]  # fmt: skip


@pytest.mark.parametrize("pattern", ENDLESS)
def test_exponential(pattern: str) -> None:
    re.compile(pattern)
    assert "exponential" in str(trouble(pattern))
    assert trouble(without_groups(pattern)) is not None  # as it is run


@pytest.mark.parametrize("pattern", POWERS)
def test_a_high_power(pattern: str) -> None:
    assert "in a row can read the same text; at most 2" in str(trouble(pattern))


@pytest.mark.parametrize("pattern", WAYS)
def test_too_many_ways_without_a_loop(pattern: str) -> None:
    re.compile(pattern)
    assert "ways; at most 4,096" in str(trouble(pattern))
    assert trouble(without_groups(pattern)) is not None


@pytest.mark.parametrize("pattern", FINE)
def test_patterns_of_everyday(pattern: str) -> None:
    re.compile(pattern)
    assert trouble(pattern) is None
    assert trouble(without_groups(pattern)) is None


@pytest.mark.parametrize(
    "pattern", ["a" * (MAX_LENGTH + 1), "((((a{4}){4}){4}){4}){4}", "(?:" * 90 + "a" + "{2})" * 90, "[a-z]" * 199]
)
def test_the_check_itself_is_over_soon(pattern: str) -> None:
    re.compile(pattern)
    started = time.process_time()
    found = trouble(pattern)
    assert time.process_time() - started < 20
    assert (found is None) is (pattern == "[a-z]" * 199)


def test_what_passes_is_over_soon_on_texts_made_to_be_slow() -> None:
    for pattern in FINE:
        compiled = re.compile(pattern)
        for text in ("a" * 400, "1" * 400, "a," * 200, "a-" * 200, " " * 400, "A+" * 200, '"' * 399, "1.1." * 100):
            compiled.search(text + "!")
