"""Which regular expressions can hang a process: Python's ``re`` tries every way in which a text may match.

A suite is data from disk and its regular expressions run in the server, where nothing can stop one. Two kinds of
ambiguity are looked for in the expression's position automaton (Glushkov): a loop that can read one text in two ways
makes time exponential in the text's length (``(a+)+``, ``(a|ab?)*``, ``(.*,)*``); loops in a row that can all read
the same text make it a power of it (``.*a.*b.*c``). What is optional, or repeated up to so many times, makes no loop,
but multiplies: ``(?:a?a?){8}`` has 4^8 ways of reading a text (``_ways``). The theory: Weber and Seidl, On the degree
of ambiguity of finite automata (1991). What stays possible is time that grows with the cube of a text's length.

Not followed are look-around and references back: a reference counts as any text. Character classes are compared on
the characters that the expression names, their neighbours, and one of each kind.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

MAX_LENGTH = 1000
MAX_POSITIONS = 300
MAX_LOOPS = 2
"""Loops in a row that may read the same text: time grows with this power of its length, and one more for the search."""

_parser: Any = getattr(re, "_parser")  # noqa: B009  (re's own parse tree: there is no public one)
_KINDS = "aZ5_ \n\té\u0663\u2003-.\x00"
_COPIES = MAX_LOOPS + 2
"""So many copies stand for a bounded repeat: enough for loops in a row to be too many."""
_MANY = 10
"""More repeats than this take as long as any number."""
MAX_WAYS = 4096
"""In which what is optional may read one text: some milliseconds."""


def trouble(pattern: str) -> str | None:
    """Why a regular expression that compiles may take for ever; None where it may not."""
    if len(pattern) > MAX_LENGTH:
        return f"{len(pattern)} characters; at most {MAX_LENGTH}"
    tree = _parser.parse(pattern)
    flags = int(tree.state.flags)
    ways = max(_ways(tree, character, flags)[0] for character in _alphabet(pattern, flags))
    if ways > MAX_WAYS:
        return f"what is optional in it can read one text in {min(ways, 1e9):,.0f} ways; at most {MAX_WAYS:,}"
    try:
        automaton = _Automaton(pattern)
    except _TooLargeError:
        return f"more than {MAX_POSITIONS} places for a character"
    if automaton.loops_twice():
        return "a repeat inside a repeat can read one text in several ways, so that time is exponential in its length"
    loops = automaton.loops_in_a_row()
    if loops > MAX_LOOPS:
        return f"{loops} repeats in a row can read the same text; at most {MAX_LOOPS}"
    return None


def _ways(items: Iterable[Any], character: str, flags: int) -> tuple[float, bool]:
    """In how many ways a text of one character over and over can be shared out among the parts of an expression that
    are optional, repeated up to so many times or alternatives; and whether any part reads that character.

    Loops count once: what makes those ambiguous is told by the automaton.
    """
    ways, reads = 1.0, False
    for code, argument in items:
        name = str(code)
        if name in ("SUBPATTERN", "ATOMIC_GROUP"):
            inner, there = _ways(argument[-1] if name == "SUBPATTERN" else argument, character, flags)
        elif name == "BRANCH":
            found = [_ways(branch, character, flags) for branch in argument[1]]
            there = any(one for _, one in found)
            inner = max(sum(many for many, one in found if one), 1.0)
        elif name in ("MAX_REPEAT", "MIN_REPEAT"):
            least, most, body = argument
            inner, there = _repeated((least, most), _ways(body, character, flags))
        else:
            classes = name in ("LITERAL", "NOT_LITERAL", "ANY", "IN")
            inner, there = 1.0, classes and character in _matching(name, argument, character, flags)
        ways, reads = min(ways * inner, 1e100), reads or there
    return ways, reads


def _repeated(times: tuple[int, Any], body: tuple[float, bool]) -> tuple[float, bool]:
    ways, reads = body
    least, most = times
    if not reads or most is _parser.MAXREPEAT or int(most) > _MANY:
        return 1.0, reads
    return sum(min(ways, 1e9) ** copies for copies in range(least, int(most) + 1)), True


class _TooLargeError(Exception):
    pass


@dataclass
class _Part:
    """A part of an expression: where it may begin and end, and in how many ways it may be empty.

    A place is in a list as often as there are ways to it: re's own parser makes ``a(?:|)`` of ``a|a``.
    """

    first: list[int] = field(default_factory=list)
    last: list[int] = field(default_factory=list)
    empty: int = 1


class _Automaton:
    """``sets``: the characters that each position reads; ``next``: the positions that may follow, with how often an
    edge is there: two ways from one to the other are two readings of a text.
    """

    def __init__(self, pattern: str) -> None:
        tree = _parser.parse(pattern)
        self._flags = int(tree.state.flags)
        self._alphabet = _alphabet(pattern, self._flags)
        self.sets: list[frozenset[str]] = []
        self.next: list[dict[int, int]] = []
        self._sequence(tree)

    def loops_twice(self) -> bool:
        """Is there a loop with two ways of reading one text?"""
        component = _components([list(following) for following in self.next])
        inside = [[q for q in following if component[q] == component[p]] for p, following in enumerate(self.next)]
        if any(self.next[p][q] > 1 for p, following in enumerate(inside) for q in following):
            return True
        return any(_two_ways(members, inside, self.sets) for members in _members(component) if len(members) > 1)

    def loops_in_a_row(self) -> int:
        """The most loops, one after the other, of which each can go on reading what the next one reads."""
        loops = [p for p, following in enumerate(self.next) if p in following]
        after = {p: [q for q in loops if q != p and self._hands_over(p, q)] for p in loops}
        longest: dict[int, int] = {}

        def length(p: int, seen: frozenset[int]) -> int:
            if p not in longest:
                longest[p] = 1 + max((length(q, seen | {p}) for q in after[p] if q not in seen), default=0)
            return longest[p]

        return max((length(p, frozenset({p})) for p in loops), default=0)

    def _hands_over(self, p: int, q: int) -> bool:
        """May a text that loop p reads be read on the way to loop q, and by it, as well?"""
        both = self.sets[p] & self.sets[q]
        seen, waiting = {p}, [p]
        while both and waiting:
            for following in self.next[waiting.pop()]:
                if following == q:
                    return True
                if following not in seen and self.sets[following] & both:
                    seen.add(following)
                    waiting.append(following)
        return False

    def _read(self, characters: frozenset[str]) -> _Part:
        self.sets.append(characters)
        self.next.append({})
        place = len(self.sets) - 1
        if place >= MAX_POSITIONS:
            raise _TooLargeError
        return _Part([place], [place], 0)

    def _sequence(self, items: Iterable[Any]) -> _Part:
        whole = _Part()
        for code, argument in items:
            whole = self._then(whole, self._item(str(code), argument))
        return whole

    def _then(self, one: _Part, other: _Part) -> _Part:
        self._join(one.last, other.first)
        first = one.first + other.first * min(one.empty, 2)
        last = one.last * min(other.empty, 2) + other.last
        return _Part(first, last, min(one.empty * other.empty, 2))

    def _join(self, ends: Sequence[int], starts: Sequence[int]) -> None:
        for end in ends:
            for start in starts:
                self.next[end][start] = self.next[end].get(start, 0) + 1

    def _item(self, code: str, argument: Any) -> _Part:
        if code == "SUBPATTERN":
            return self._sequence(argument[-1])
        if code == "ATOMIC_GROUP":
            return self._sequence(argument)
        if code == "BRANCH":
            return self._branch([self._sequence(branch) for branch in argument[1]])
        if code in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
            return self._repeat(*argument)
        if code in ("GROUPREF", "GROUPREF_EXISTS"):
            return self._any_text()
        if code in ("LITERAL", "NOT_LITERAL", "ANY", "IN", "RANGE", "CATEGORY"):
            return self._read(_matching(code, argument, self._alphabet, self._flags))
        return _Part()  # an anchor or look-around: it reads nothing

    def _branch(self, branches: Sequence[_Part]) -> _Part:
        first = [place for branch in branches for place in branch.first]
        last = [place for branch in branches for place in branch.last]
        return _Part(first, last, min(sum(branch.empty for branch in branches), 2))

    def _repeat(self, least: int, most: Any, body: Any) -> _Part:
        unbounded = most is _parser.MAXREPEAT or int(most) > _MANY
        copies = min(max(least, 1), _COPIES) if unbounded else min(int(most), _COPIES)
        whole = _Part()
        for copy in range(copies):
            part = self._sequence(body)
            if unbounded and copy == copies - 1:
                self._join(part.last, part.first)
            if part.empty and (least > _MANY or (unbounded and least > 1)):  # which of them are the empty ones?
                self._join(part.last, part.first)
            part.empty += copy >= least or least == 0
            whole = self._then(whole, part)
        return whole

    def _any_text(self) -> _Part:
        part = self._read(frozenset(self._alphabet))
        self._join(part.last, part.first)
        return _Part(part.first, part.last, 1)


def _alphabet(pattern: str, flags: int) -> str:
    """Characters on which the classes of an expression can be told apart."""
    named = set(pattern) | set(_KINDS)
    for found in re.finditer(r"\\x([0-9a-fA-F]{2})|\\u([0-9a-fA-F]{4})|\\U([0-9a-fA-F]{8})", pattern):
        named.add(chr(min(int(found[1] or found[2] or found[3], 16), 0x10FFFF)))
    near = {chr(code) for c in named for code in (ord(c) - 1, ord(c) + 1) if 0 <= code < 0x110000}
    if flags & re.IGNORECASE:
        near |= {other for c in named for other in (c.lower(), c.upper()) if len(other) == 1}
    return "".join(sorted(named | near))


def _matching(code: str, argument: Any, alphabet: str, flags: int) -> frozenset[str]:
    """The characters of the alphabet that one place of an expression reads."""
    if code == "ANY":
        return frozenset(alphabet if flags & re.DOTALL else alphabet.replace("\n", ""))
    items = argument if code == "IN" else [(code, argument)]
    found: set[str] = set()
    negated = False
    for kind, value in items:
        name = str(kind)
        if name == "NEGATE":
            negated = True
        elif name == "NOT_LITERAL":
            found |= set(alphabet) - _cases(chr(value), flags)
        else:
            found |= {c for c in alphabet if _is(c, name, value, flags)}
    return frozenset(set(alphabet) - found if negated else found)


def _is(character: str, kind: str, value: Any, flags: int) -> bool:
    if kind == "CATEGORY":
        category = str(value).removeprefix("CATEGORY_").replace("UNI_", "")
        shape = {"DIGIT": r"\d", "NOT_DIGIT": r"\D", "SPACE": r"\s", "NOT_SPACE": r"\S", "WORD": r"\w"}
        return re.match(shape.get(category, r"\W"), character, flags & re.ASCII) is not None
    low, high = (value, value) if kind == "LITERAL" else value
    return any(low <= ord(c) <= high for c in _cases(character, flags))


def _cases(character: str, flags: int) -> set[str]:
    if not flags & re.IGNORECASE:
        return {character}
    return {c for c in (character, character.lower(), character.upper()) if len(c) == 1}


def _two_ways(members: Sequence[int], inside: Sequence[Sequence[int]], sets: Sequence[frozenset[str]]) -> bool:
    """Can two walks in a loop part, read the same, and meet? A pair of places in one component with an equal pair."""
    pairs = {(p, q): n for n, (p, q) in enumerate((p, q) for p in members for q in members if sets[p] & sets[q])}
    edges: list[list[int]] = [[] for _ in pairs]
    for (p, q), number in pairs.items():
        edges[number] = [pairs[r, s] for r in inside[p] for s in inside[q] if (r, s) in pairs]
    component = _components(edges)
    equal = {component[number] for (p, q), number in pairs.items() if p == q}
    return any(p != q and component[number] in equal for (p, q), number in pairs.items())


def _components(edges: Sequence[Sequence[int]]) -> list[int]:
    """The strongly connected component of each node (Kosaraju)."""
    order: list[int] = []
    seen = [False] * len(edges)
    for start in range(len(edges)):
        stack = [(start, iter(edges[start]))] if not seen[start] else []
        seen[start] = True
        while stack:
            node, following = stack[-1]
            step = next((n for n in following if not seen[n]), None)
            if step is None:
                order.append(node)
                stack.pop()
            else:
                seen[step] = True
                stack.append((step, iter(edges[step])))
    back: list[list[int]] = [[] for _ in edges]
    for node, following_nodes in enumerate(edges):
        for other in following_nodes:
            back[other].append(node)
    component = [-1] * len(edges)
    for start in reversed(order):
        waiting = [start]
        while waiting:
            node = waiting.pop()
            if component[node] < 0:
                component[node] = start
                waiting += back[node]
    return component


def _members(component: Sequence[int]) -> list[list[int]]:
    found: dict[int, list[int]] = {}
    for node, name in enumerate(component):
        found.setdefault(name, []).append(node)
    return list(found.values())
