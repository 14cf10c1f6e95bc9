"""The names under which a suite finds a service's features, the same at training and nightly."""

from __future__ import annotations

from skewguard.definitions import FieldDef, ServiceDef
from skewguard.errors import nearest
from skewguard.expectations.suites import Rule
from skewguard.offline.entity_rows import DEFAULT_TIMESTAMP


def uses_full_names(service: ServiceDef) -> bool:
    """Do two features of the service share a short name, so that its suite has to use full ones (view__feature)?"""
    short = [f.name for f in service.outputs()]
    return len(set(short)) < len(short)


def suite_names(service: ServiceDef) -> dict[str, FieldDef]:
    """Full feature name -> the feature under the name that a suite uses."""
    return {
        f.name: used for f, used in zip(service.outputs(True), service.outputs(uses_full_names(service)), strict=True)
    }


def strangers(service: ServiceDef, rule: Rule) -> str:
    """Which columns of a rule are none of the service's, with the nearest name; empty where all are.

    They may be labels, which only a training set tells.
    """
    features = [field.name for field in suite_names(service).values()]
    known = [*features, DEFAULT_TIMESTAMP, *(f.name for f in (*service.join_keys, *service.request_fields))]
    told = []
    for column in rule.columns:
        if column not in known:
            near = nearest(column, known)
            hint = f" (did you mean {near!r}?)" if near else ""
            told.append(f"{column!r} is no feature, join key or request data of {service.name!r}{hint}")
    return "; ".join(told)
