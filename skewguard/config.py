"""The gate policy in skewguard.yaml: every key, its default, its check. Unknown keys are refused with the nearest name.

The file lies beside feature_store.yaml. A key under ``services.<name>`` overrides the same key at the top for one
feature service. docs/policy.md documents every key; a test compares the two.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from skewguard import dtypes
from skewguard.alerts.settings import AlertSettings
from skewguard.definitions import FieldDef
from skewguard.errors import PolicyError, UnknownNameError, nearest
from skewguard.findings import Cause

POLICY_FILE = "skewguard.yaml"
Action = Literal["block", "warn", "ignore"]

# Feast's normal behaviours and mere lags warn, so that the first night on a healthy deployment is readable, not red.
_WARN = {
    Cause.NOT_MATERIALIZED,
    Cause.LATE_ARRIVAL,
    Cause.BLOCKED_CORRECTION,
    Cause.EXPIRED_BUT_SERVED,
    Cause.TYPE_CAST,
    Cause.SERVED_BEFORE_KNOWN,
    Cause.STALE_SOURCE,
    Cause.CONTRACT_MISSING,
    Cause.LEAKAGE,
    Cause.DISTRIBUTION_DRIFT,
    Cause.JOINT_DRIFT,
}
DEFAULT_ACTIONS: dict[str, Action] = {cause.value: "warn" if cause in _WARN else "block" for cause in Cause}

_SEVERITIES: dict[str, Action] = {"critical": "block", "warning": "warn", "info": "ignore"}

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def parse_duration(value: Any) -> timedelta | None:
    """A duration from "90s", "30m", "36h", "7d", "2w" or a number of seconds; None stays None."""
    if value is None or isinstance(value, timedelta):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return timedelta(seconds=value)
    match = _DURATION.fullmatch(str(value).strip().lower())
    if match is None:
        raise ValueError("expected a duration such as 90s, 30m, 36h, 7d or 2w")
    return timedelta(seconds=float(match[1]) * _UNITS[match[2]])


def _yaml_off(value: Any) -> Any:
    """YAML 1.1 reads a bare ``off`` as false."""
    return "off" if value is False else value


def _yaml_null(value: Any) -> Any:
    """YAML reads a bare ``null`` as no value."""
    return "null" if value is None else value


TrainingGate = Annotated[Literal["block", "warn", "off"], BeforeValidator(_yaml_off)]
ServingGate = Annotated[Literal["reject", "fallback", "annotate", "off"], BeforeValidator(_yaml_off)]
Fallback = Annotated[Literal["last_known_good", "contract_default", "null"], BeforeValidator(_yaml_null)]


def _positive(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise ValueError("expected a duration of more than zero")
    return value


Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Duration = Annotated[timedelta, BeforeValidator(parse_duration)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)


class Tolerance(_Strict):
    """How far two numbers may be apart and still count as equal: ``relative`` or ``absolute``, whichever is wider."""

    relative: float | None = Field(default=None, ge=0, le=1, allow_inf_nan=False)
    absolute: float | None = Field(default=None, ge=0, allow_inf_nan=False)


class Freshness(_Strict):
    """How old things may be at the as-of time. None: not checked."""

    max_watermark_lag: Duration | None = timedelta(days=2)
    max_source_lag: Duration | None = None


class ServingLog(_Strict):
    """What of the answers is kept, and for how long after the end of the hour in which they were given."""

    enabled: bool = True
    sample: float = Field(default=1.0, gt=0, le=1)
    keep: Duration = timedelta(days=30)


class Drift(_Strict):
    """How the distribution check judges: its budget of false alarms, what matters, and what it compares."""

    enabled: bool = True
    budget: float = Field(default=0.01, gt=0, lt=0.5)
    correction: Literal["benjamini_hochberg", "benjamini_yekutieli", "bonferroni"] = "benjamini_hochberg"
    min_effect: float = Field(default=0.02, ge=0, lt=1)
    min_rate_change: float = Field(default=0.01, ge=0, lt=1)
    min_auc: float = Field(default=0.53, ge=0.5, lt=1)
    detect: float = Field(default=0.1, gt=0, lt=1)
    look_back: Duration = timedelta(days=7)
    nights: int = Field(default=7, ge=0, le=30)
    joint: bool = True
    slices: tuple[str, ...] = ()
    rows: int = Field(default=1_000_000, ge=1)
    too_little: Literal["block", "warn"] = "warn"


class FeaturePolicy(_Strict):
    """What holds for one feature instead of its service's policy. None: as the service has it."""

    training: TrainingGate | None = None
    serving: ServingGate | None = None
    fallback: Fallback | None = None

    @model_validator(mode="before")
    @classmethod
    def _null_is_a_fallback(cls, data: Any) -> Any:
        """``fallback: null`` is the fallback of that name; a key that is not there means no setting."""
        return {**data, "fallback": "null"} if isinstance(data, Mapping) and data.get("fallback", "") is None else data


class ServicePolicy(_Strict):
    """The policy that holds for one feature service, defaults filled in."""

    training: TrainingGate = "block"
    serving: ServingGate = "reject"
    features: dict[str, FeaturePolicy] = Field(default_factory=dict)
    fallback: Fallback = "last_known_good"
    fallback_max_age: Duration = timedelta(hours=1)
    row_policy: Literal["strict", "rate"] = "strict"
    row_window: Annotated[Duration, AfterValidator(_positive)] = timedelta(minutes=5)
    row_min_rows: int = Field(default=100, ge=1)
    inconclusive: Action = "block"
    serving_inconclusive: Literal["reject", "annotate"] = "annotate"
    expired: Literal["null", "annotate"] = "null"
    verdict_max_age: Duration | None = timedelta(days=2)
    causes: dict[str, Action] = Field(default_factory=lambda: dict(DEFAULT_ACTIONS))
    severities: dict[str, Action] = Field(default_factory=lambda: dict(_SEVERITIES))
    contracts: tuple[str, ...] = ()
    max_rate: dict[str, Share] = Field(default_factory=dict)
    min_coverage: float = Field(default=0.95, ge=0, le=1)
    min_rows: int = Field(default=1, ge=0)
    offline: Literal["direct", "feast"] = "direct"
    sample: float = Field(default=1.0, gt=0, le=1)
    keys_per_second: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    memory_limit: str = Field(default="1GB", pattern=r"^[0-9]+(\.[0-9]+)? ?([KMGT]i?B)$")
    replay: Annotated[Literal["block", "warn", "off"], BeforeValidator(_yaml_off)] = "warn"
    replay_rows: int = Field(default=1_000_000, ge=1)
    transform_rows: int = Field(default=200, ge=0)
    expectation_rows: int = Field(default=5000, ge=1)
    tolerance: Tolerance = Tolerance()
    tolerances: dict[str, Tolerance] = Field(default_factory=dict)
    serving_log: ServingLog = ServingLog()
    drift: Drift = Drift()
    freshness: Freshness = Freshness()
    freshness_views: dict[str, Freshness] = Field(default_factory=dict)

    def action(self, cause: Cause) -> Action:
        """What policy makes of a cause."""
        return self.causes.get(cause.value, DEFAULT_ACTIONS[cause.value])

    def training_of(self, reference: str) -> TrainingGate | None:
        """The most that a finding on a feature (``view:feature``) does to the training gate; None: no limit."""
        own = self.features.get(reference)
        return None if own is None else own.training

    def tolerance_for(self, view: str, feature: FieldDef) -> Tolerance:
        """A feature's tolerance: its own (``view:feature`` under ``tolerances``), its dtype's, or the general one."""
        by_dtype = self.tolerances.get(dtypes.element(feature.dtype) or feature.dtype, self.tolerance)
        return self.tolerances.get(f"{view}:{feature.name}", by_dtype)

    def freshness_for(self, view: str) -> Freshness:
        """The freshness limits of one view."""
        return self.freshness_views.get(view, self.freshness)


class Policy:
    """skewguard.yaml, validated. ``for_service(name)`` gives what holds for one feature service."""

    def __init__(self, document: Mapping[str, Any] | None = None, origin: str = "built-in defaults") -> None:
        document = dict(document or {})
        self.origin = origin
        version = document.pop("version", 1)
        if version != 1:
            raise PolicyError(f"{origin}: version: got {version!r}; expected 1.")
        services = document.pop("services", None) or {}
        if not isinstance(services, Mapping):
            raise PolicyError(f"{origin}: services: got {type(services).__name__}; expected a mapping by service name.")
        self.alerting = _alerting(document, origin)
        self._defaults = document
        self._default = _validated(document, origin, "")
        self._services: dict[str, ServicePolicy] = {}
        for name, override in services.items():
            if not isinstance(override, Mapping):
                raise PolicyError(f"{origin}: services.{name}: got {override!r}; expected a mapping of policy keys.")
            _validated(override, origin, f"services.{name}.")
            self._services[str(name)] = _validated(_merge(document, override), origin, f"services.{name}.")

    def for_service(self, name: str) -> ServicePolicy:
        """The policy of one feature service; the top-level one where it has no section."""
        return self._services.get(name, self._default)

    def check_names(
        self,
        services: Mapping[str, Mapping[str, list[str]]],
        computed: Mapping[str, Mapping[str, list[str]]] | None = None,
    ) -> None:
        """Refuse sections for services, views or features that do not exist. ``services``: service -> view -> features;
        ``computed``: the same of on-demand views.

        Raises UnknownNameError with the nearest name.
        """
        for name in self._services:
            if name not in services:
                raise UnknownNameError(f"feature service in {self.origin}", name, services)
        views = _by_view(services)
        outputs = {f"{view}:{feature}" for view, features in _by_view(computed or {}).items() for feature in features}
        for policy in (self._default, *self._services.values()):
            for view in policy.freshness_views:
                if view not in views:
                    raise UnknownNameError(f"feature view in {self.origin} (freshness_views)", view, views)
            known = {f"{view}:{feature}" for view, features in views.items() for feature in features}
            for reference in policy.tolerances:
                if reference not in known and reference not in dtypes.NUMBERS:
                    raise UnknownNameError(
                        f"feature or dtype in {self.origin} (tolerances)", reference, known | dtypes.NUMBERS
                    )
            for reference in policy.features:
                if reference not in known | outputs:
                    raise UnknownNameError(f"feature in {self.origin} (features)", reference, known | outputs)


def _by_view(services: Mapping[str, Mapping[str, list[str]]]) -> dict[str, set[str]]:
    views: dict[str, set[str]] = {}
    for by_view in services.values():
        for view, features in by_view.items():
            views.setdefault(view, set()).update(features)
    return views


def load_policy(repo: Path) -> Policy:
    """The policy of a repository: its skewguard.yaml, or the defaults where there is none.

    Raises PolicyError: not YAML, not a mapping, an unknown key, a value that does not fit.
    """
    path = repo / POLICY_FILE
    if not path.is_file():
        return Policy()
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise PolicyError(f"{path}: not readable as YAML: {error}") from error
    if document is not None and not isinstance(document, Mapping):
        raise PolicyError(f"{path}: got {type(document).__name__}; expected a mapping of policy keys.")
    return Policy(document, str(path))


def _alerting(document: dict[str, Any], origin: str) -> AlertSettings:
    """The keys of the whole repository, taken out of the document."""
    own = {name: document.pop(name) for name in AlertSettings.model_fields if document.get(name) is not None}
    try:
        return AlertSettings.model_validate(own)
    except ValidationError as error:
        # an alert's address may hold a secret: what was written there is not repeated
        told = []
        for item in error.errors():
            where = ".".join(str(part) for part in item["loc"]) or "alerts"
            told.append(f"  - {where}: {item['msg'].removeprefix('Value error, ')}.")
        raise PolicyError(f"{origin}:\n" + "\n".join(told)) from None


def _merge(base: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in override.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = {**merged[key], **value}
        else:
            merged[key] = value
    return merged


def _validated(document: Mapping[str, Any], origin: str, prefix: str) -> ServicePolicy:
    problems = [*_unknown_causes(document, prefix)]
    try:
        policy = ServicePolicy.model_validate(dict(document))
    except ValidationError as error:
        problems += [_problem(item, prefix) for item in error.errors()]
    if problems:
        raise PolicyError(f"{origin}:\n" + "\n".join(f"  - {text}" for text in problems))
    return policy.model_copy(update={"causes": {**DEFAULT_ACTIONS, **policy.causes}})


def _unknown_causes(document: Mapping[str, Any], prefix: str) -> list[str]:
    problems = []
    for section in ("causes", "max_rate"):
        value = document.get(section)
        for name in value if isinstance(value, Mapping) else ():
            if name not in DEFAULT_ACTIONS:
                near = nearest(str(name), DEFAULT_ACTIONS)
                hint = f" Did you mean {near!r}?" if near else f" Known: {', '.join(sorted(DEFAULT_ACTIONS))}."
                problems.append(f"{prefix}{section}.{name}: no such cause.{hint}")
    return problems


def _problem(item: Any, prefix: str) -> str:
    where = prefix + ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        parent: Any = ServicePolicy
        for part in item["loc"][:-1]:
            annotation = parent.model_fields[part].annotation if part in parent.model_fields else None
            annotation = get_args(annotation)[1] if get_origin(annotation) is dict else annotation
            parent = annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else parent
        known = list(parent.model_fields)
        near = nearest(str(item["loc"][-1]), known)
        hint = f" Did you mean {near!r}?" if near else ""
        return f"{where}: unknown key.{hint} Known keys: {', '.join(known)}."
    return f"{where}: got {item['input']!r}; {item['msg'].removeprefix('Value error, ')}."
