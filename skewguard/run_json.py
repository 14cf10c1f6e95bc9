"""A run as JSON and back, without loss: what ``run.json`` holds, the report is drawn from, and history keeps.

The text is canonical: sorted keys, no blanks, timestamps as ISO 8601 in UTC (``1998-03-01T00:00:00Z``), one text for
equal runs. JSON has no way to say some values that evidence and samples hold; they are written so:

==================  =====================================================
value               JSON
==================  =====================================================
NaN, +inf, -inf     ``"NaN"``, ``"Infinity"``, ``"-Infinity"``
bytes               ``{"base64": "..."}``
datetime            ``{"datetime": "1998-03-01T00:00:00Z"}``
date                ``{"date": "1998-03-01"}``
time                ``{"time": "09:30:00"}``
timedelta           ``{"timedelta": [days, seconds, microseconds]}``
Decimal             ``{"decimal": "1.10"}``
the text "NaN" ...  ``{"text": "NaN"}`` (so that it is told from the number)
other mappings      ``{"pairs": [[key, value], ...]}``: keys that are not text, or a key that is a word of this table
==================  =====================================================

Fields whose type is known (``as_of``, ``ci_low``) are written plainly. Inside evidence, samples, details and provenance
tuples and sets come back as lists, NumPy and Arrow scalars as Python's, and a naive datetime as the UTC that it means.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import functools
import json
import math
import re
import types
import typing
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import Any

from skewguard.errors import BadInputError, ConfigurationError, nearest
from skewguard.findings import Run

SCHEMA_VERSION = 1
"""Version of the layout; a file with a higher one is refused."""

_SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_SURROGATE = re.compile("[\ud800-\udfff]")


def run_to_dict(run: Run) -> dict[str, Any]:
    """The run as plain JSON values, with ``schema_version`` beside the fields of ``Run``.

    Raises:
        BadInputError: evidence, samples, details or provenance hold a value that has no place in JSON.
    """
    return {"schema_version": SCHEMA_VERSION, **typing.cast("dict[str, Any]", encode(run, Run, "run"))}


def run_from_dict(data: Mapping[str, Any]) -> Run:
    """The run that ``run_to_dict`` wrote; equal to the first one.

    Raises:
        ConfigurationError: the version is unknown, or a field is missing, unknown or of another type.
    """
    if not isinstance(data, Mapping):
        raise _wrong("run", data, "an object with the fields of a run")
    version = data.get("schema_version")
    if version != SCHEMA_VERSION:
        raise ConfigurationError(
            f"run.schema_version: got {version!r}; expected {SCHEMA_VERSION}. "
            "The file is not a run, or another version of skewguard wrote it."
        )
    fields = {name: value for name, value in data.items() if name != "schema_version"}
    return typing.cast("Run", decode(fields, Run, "run"))


def dump_run(run: Run) -> str:
    """The canonical JSON text of a run (one line, no line feed at its end). Raises as ``run_to_dict``."""
    return canonical_text(run_to_dict(run))


def load_run(text: str | bytes) -> Run:
    """The run in a JSON text.

    Raises:
        ConfigurationError: the text is not JSON, or not a run.
    """
    try:
        data = json.loads(text, parse_constant=_no_constant)
    except ValueError as error:
        raise ConfigurationError(f"run: not valid JSON ({error}); expected the text of a run.json.") from error
    return run_from_dict(data)


def canonical_text(value: Any) -> str:
    """JSON with sorted keys and no blanks. Lone surrogates are escaped, so that the text is always valid UTF-8."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return _SURROGATE.sub(lambda match: f"\\u{ord(match.group()):04x}", text)


def timestamp(value: datetime) -> str:
    """ISO 8601 in UTC, ending in ``Z``; a naive time is taken as UTC."""
    aware = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    return aware.isoformat().replace("+00:00", "Z")


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON; it is written as text")


# -- fields whose type is declared ------------------------------------------------------------------------------------


def encode(value: Any, hint: Any, path: str) -> Any:
    """``value`` of the declared type ``hint`` as JSON values; ``path`` names it in errors."""
    if _is_dataclass(hint):
        hints = _hints(hint)
        return {name: encode(getattr(value, name), kind, f"{path}.{name}") for name, kind in hints.items()}
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if _optional(hint):
        return None if value is None else encode(value, _required(args), path)
    if origin is tuple:
        return [encode(item, args[0], f"{path}[{index}]") for index, item in enumerate(value)]
    if origin is Mapping and args[1] is not Any:
        return {str(key): encode(item, args[1], f"{path}.{key}") for key, item in value.items()}
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint(value).value
    if hint is datetime:
        return timestamp(value)
    if hint is float:
        return _encode_float(float(value))
    if hint in (int, bool, str):
        return hint(value)
    return _encode_any(value, path)


def decode(value: Any, hint: Any, path: str) -> Any:
    """The inverse of ``encode``; raises ConfigurationError naming ``path``."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if _is_dataclass(hint):
        return _decode_dataclass(value, hint, path)
    if _optional(hint):
        return None if value is None else decode(value, _required(args), path)
    if origin is tuple:
        items = _expect(value, list, "a list", path)
        return tuple(decode(item, args[0], f"{path}[{index}]") for index, item in enumerate(items))
    if origin is Mapping and args[1] is not Any:
        items = _expect(value, dict, "an object", path)
        return {key: decode(item, args[1], f"{path}.{key}") for key, item in items.items()}
    if origin is Mapping:
        decoded = _decode_any(_expect(value, dict, "an object", path), path)
        return _expect(decoded, dict, "an object", path)
    return _decode_scalar(value, hint, path)


def _decode_scalar(value: Any, hint: Any, path: str) -> Any:
    if isinstance(hint, type) and issubclass(hint, Enum):
        known = [str(member.value) for member in hint]
        if value not in known:
            guess = nearest(str(value), known)
            raise _wrong(path, value, "one of " + ", ".join(known) + (f" (did you mean {guess!r}?)" if guess else ""))
        return hint(value)
    if hint is datetime:
        return _parse_timestamp(value, path)
    if hint is float:
        if isinstance(value, str) and value in _SPECIAL:
            return _SPECIAL[value]
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _wrong(path, value, 'a number, "NaN", "Infinity" or "-Infinity"')
        return float(value)
    if hint is int and isinstance(value, bool):
        raise _wrong(path, value, "a whole number")
    if hint in (int, bool, str):
        return _expect(value, hint, {int: "a whole number", bool: "true or false", str: "a text"}[hint], path)
    return _decode_any(value, path)


def _decode_dataclass(value: Any, hint: Any, path: str) -> Any:
    data = _expect(value, dict, "an object", path)
    hints = _hints(hint)
    for name in data:
        if name not in hints:
            guess = nearest(name, hints)
            raise _wrong(f"{path}.{name}", "an unknown field", f"one of {', '.join(hints)}", guess)
    for name in sorted(_required_fields(hint) - data.keys()):
        raise _wrong(f"{path}.{name}", "nothing", "the field, which every run has")
    return hint(**{name: decode(item, hints[name], f"{path}.{name}") for name, item in data.items()})


def _is_dataclass(hint: Any) -> bool:
    return isinstance(hint, type) and dataclasses.is_dataclass(hint)


@functools.cache
def _hints(hint: Any) -> dict[str, Any]:
    resolved = typing.get_type_hints(hint)
    return {f.name: resolved[f.name] for f in dataclasses.fields(hint)}


@functools.cache
def _required_fields(hint: Any) -> frozenset[str]:
    missing = dataclasses.MISSING
    return frozenset(f.name for f in dataclasses.fields(hint) if f.default is missing and f.default_factory is missing)


def _optional(hint: Any) -> bool:
    return typing.get_origin(hint) in (types.UnionType, typing.Union) and type(None) in typing.get_args(hint)


def _required(args: tuple[Any, ...]) -> Any:
    return next(arg for arg in args if arg is not type(None))


def _expect(value: Any, kind: type, words: str, path: str) -> Any:
    if not isinstance(value, kind):
        raise _wrong(path, value, words)
    return value


def _wrong(path: str, got: Any, expected: str, guess: str | None = None) -> ConfigurationError:
    shown = got if got in ("nothing", "an unknown field") else repr(got)[:80]
    return ConfigurationError(f"{path}: got {shown}; expected {expected}." + (f" Nearest: {guess!r}." if guess else ""))


def _parse_timestamp(value: Any, path: str) -> datetime:
    try:
        parsed = datetime.fromisoformat(_expect(value, str, "an ISO 8601 timestamp", path))
    except ValueError as error:
        raise _wrong(path, value, "an ISO 8601 timestamp such as 1998-03-01T00:00:00Z") from error
    return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)


# -- values of any type: evidence, samples, details, provenance -------------------------------------------------------


def _encode_float(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")


def _encode_any(value: Any, path: str) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        text = str(value)
        return {"text": text} if text in _SPECIAL else text
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return _encode_float(float(value))
    if isinstance(value, Mapping):
        return _encode_mapping(value, path)
    if isinstance(value, list | tuple):
        return [_encode_any(item, f"{path}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, set | frozenset):
        return sorted((_encode_any(item, path) for item in value), key=canonical_text)
    return _encode_tagged(value, path)


def _encode_tagged(value: Any, path: str) -> Any:
    if isinstance(value, datetime):  # pandas.NaT calls itself a datetime and is not equal to itself
        return {"datetime": timestamp(value)} if value == value else None
    if isinstance(value, date | time):
        return {"time" if isinstance(value, time) else "date": value.isoformat()}
    if isinstance(value, timedelta):
        return {"timedelta": [value.days, value.seconds, value.microseconds]}
    if isinstance(value, Decimal):
        return {"decimal": str(value)}
    if isinstance(value, bytes | bytearray | memoryview):
        return {"base64": base64.b64encode(bytes(value)).decode("ascii")}
    if hasattr(value, "as_py"):  # Arrow scalars
        return _encode_any(value.as_py(), path)
    if hasattr(value, "dtype") and hasattr(value, "tolist"):  # NumPy scalars and arrays
        kind = value.dtype.kind
        return _encode_any((value.astype(f"{kind}8[us]") if kind in "mM" else value).tolist(), path)
    raise BadInputError(
        path, f"a value of type {type(value).__name__}", "JSON values, timestamps, Decimal or bytes (text otherwise)"
    )


def _encode_mapping(value: Mapping[Any, Any], path: str) -> dict[str, Any]:
    encoded = {key: _encode_any(item, f"{path}.{key}") for key, item in value.items()}
    plain = all(isinstance(key, str) for key in encoded) and not (
        len(encoded) == 1 and next(iter(encoded)) in _DECODERS
    )
    if plain:
        return {str(key): item for key, item in encoded.items()}
    pairs = [[_encode_any(key, path), item] for key, item in encoded.items()]
    return {"pairs": sorted(pairs, key=lambda pair: canonical_text(pair[0]))}


def _decode_any(value: Any, path: str) -> Any:
    if isinstance(value, str):
        return _SPECIAL.get(value, value)
    if isinstance(value, list):
        return [_decode_any(item, f"{path}[{index}]") for index, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        tag, content = next(iter(value.items()))
        if tag in _DECODERS:
            try:
                return _DECODERS[tag](content, path)
            except (ValueError, TypeError, AttributeError, InvalidOperation, binascii.Error) as error:
                raise _wrong(f"{path}.{tag}", content, f"what skewguard writes for {tag}") from error
    return {key: _decode_any(item, f"{path}.{key}") for key, item in value.items()}


def _decode_pairs(content: Any, path: str) -> dict[Any, Any]:
    return {_hashable(_decode_any(key, path)): _decode_any(item, path) for key, item in content}


def _hashable(key: Any) -> Any:
    return tuple(_hashable(item) for item in key) if isinstance(key, list) else key


_DECODERS: dict[str, Callable[[Any, str], Any]] = {
    "text": lambda content, path: _expect(content, str, "a text", path),
    "base64": lambda content, _: base64.b64decode(content, validate=True),
    "datetime": _parse_timestamp,
    "date": lambda content, _: date.fromisoformat(content),
    "time": lambda content, _: time.fromisoformat(content),
    "timedelta": lambda content, _: timedelta(*content),
    "decimal": lambda content, _: Decimal(content),
    "pairs": _decode_pairs,
}
