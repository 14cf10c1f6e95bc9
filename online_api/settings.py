"""What the server is told: paths, limits, policy, tokens, clocks. Plain values; nothing here reads a file."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from skewguard.errors import ConfigurationError
from skewguard.online.connection import RedisSettings, settings_from_repo
from skewguard.serving_log.queue import LogLimits

TOKENS_VARIABLE = "SKEWGUARD_API_TOKENS"
"""Environment variable with the accepted bearer tokens, separated by commas."""

Clock = Callable[[], datetime]


def wall_clock() -> datetime:
    """Now, in UTC."""
    return datetime.now(UTC)


def fixed_clock(moment: datetime) -> Clock:
    """A clock that always shows ``moment`` (naive means UTC): for replays of old data."""
    shown = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return lambda: shown


ServingGate = Literal["off", "annotate", "fallback", "reject"]
Fallback = Literal["last_known_good", "contract_default", "null"]


@dataclass(frozen=True)
class FeatureServing:
    """What holds for one feature instead of its service's policy; None: as the service has it."""

    serving: ServingGate | None = None
    fallback: Fallback | None = None


@dataclass(frozen=True)
class ServingPolicy:
    """How one feature service is served. docs/gates.md.

    Attributes:
        serving: what is done about a feature that a blocking finding or a failed critical expectation is about:
            "reject" refuses the request, "fallback" sends another value, "annotate" only tells, "off" does nothing.
        inconclusive: what an inconclusive verdict does: "annotate", or "reject": the same as one that blocks.
        expired: "null" sends no values past their TTL, "annotate" sends them; the status is OUTSIDE_MAX_AGE either way.
        verdict_max_age: an older verdict counts as inconclusive; None: a verdict never grows old.
        log: answers go to the serving log.
        log_sample: share of the entities whose rows do, by entity hash.
        features: what holds for single features, by ``view:feature``.
        fallback: where another value is looked for first; then come those after it in the order of ``Fallback``.
        fallback_max_age: how long ago a last known good value may have been served.
        severities: what a failed expectation of a severity does: "block" (as ``serving`` says), "warn" (annotate),
            "ignore" (is counted).
        row_policy: "strict" judges each row, "rate" the share of a window.
        row_window: length of the window.
        row_min_rows: rows in a window below which its share says nothing.
    """

    serving: ServingGate = "reject"
    inconclusive: Literal["annotate", "reject"] = "annotate"
    expired: Literal["null", "annotate"] = "null"
    verdict_max_age: timedelta | None = timedelta(days=2)
    log: bool = True
    log_sample: float = 1.0
    features: Mapping[str, FeatureServing] = field(default_factory=dict)
    fallback: Fallback = "last_known_good"
    fallback_max_age: timedelta = timedelta(hours=1)
    severities: Mapping[str, str] = field(
        default_factory=lambda: {"critical": "block", "warning": "warn", "info": "ignore"}
    )
    row_policy: Literal["strict", "rate"] = "strict"
    row_window: timedelta = timedelta(minutes=5)
    row_min_rows: int = 100

    def serving_of(self, reference: str) -> ServingGate:
        """What is done about a feature (``view:feature``)."""
        own = self.features.get(reference)
        return self.serving if own is None or own.serving is None else own.serving

    def fallbacks_of(self, reference: str) -> tuple[Fallback, ...]:
        """Where another value for a feature is looked for, in this order."""
        own = self.features.get(reference)
        first = self.fallback if own is None or own.fallback is None else own.fallback
        return FALLBACKS[FALLBACKS.index(first) :]

    @property
    def is_off(self) -> bool:
        """Is nothing done about anything?"""
        return self.serving == "off" and all(own.serving in (None, "off") for own in self.features.values())


FALLBACKS: tuple[Fallback, ...] = ("last_known_good", "contract_default", "null")


@dataclass(frozen=True)
class Limits:
    """What one request may cost.

    Attributes:
        max_body_bytes: largest request body; a larger one is refused unread.
        max_entities: most entity rows in one request.
        max_features: most features in one request's ``features`` list.
        max_in_flight: most requests under way in one worker; more are refused at once (503). A worker answers
            thousands a second, so that a queue this long is a fraction of a second old, well inside redis_timeout.
        redis_timeout: seconds that the look-up of one request may take in Redis.
        retry_after: seconds that a refused client is told to wait (``Retry-After``).
    """

    max_body_bytes: int = 1024 * 1024
    max_entities: int = 10_000
    max_features: int = 2_000
    max_in_flight: int = 512
    redis_timeout: float = 2.0
    retry_after: int = 5


@dataclass(frozen=True)
class Settings:
    """Everything that ``create_app`` needs.

    Attributes:
        repo: folder with feature_store.yaml; ``.skewguard/`` under it holds plan, verdicts and runs.
        plan: path of the compiled serving plan.
        redis: where the online store is.
        default_policy: for services without a section of their own, and for feature lists.
        policies: per feature service.
        policy_of: gives the policy of any feature service, those that a later plan brings included; wins over both.
        tokens: accepted bearer tokens; none means that no token is asked for.
        now: the as-of time of a request (TTL is counted from it).
        clock: the wall clock (the age of a verdict is counted from it).
        log: how much the serving log may take.
        metrics_folder: where several workers add up their counts; None for one process.
    """

    repo: Path
    plan: Path
    redis: RedisSettings
    default_policy: ServingPolicy = ServingPolicy()
    policies: Mapping[str, ServingPolicy] = field(default_factory=dict)
    policy_of: Callable[[str], ServingPolicy] | None = None
    limits: Limits = Limits()
    log: LogLimits = field(default_factory=LogLimits)
    tokens: tuple[str, ...] = ()
    now: Clock = wall_clock
    clock: Clock = wall_clock
    metrics_folder: Path | None = None

    @classmethod
    def from_repo(
        cls,
        repo: str | os.PathLike[str],
        *,
        plan: str | os.PathLike[str] | None = None,
        default_policy: ServingPolicy | None = None,
        policies: Mapping[str, ServingPolicy] | None = None,
        policy_of: Callable[[str], ServingPolicy] | None = None,
        limits: Limits | None = None,
        tokens: tuple[str, ...] = (),
        as_of: datetime | None = None,
    ) -> Settings:
        """Settings of a Feast repository: Redis from its feature_store.yaml, the rest from the values given.

        ``plan`` defaults to ``<repo>/.skewguard/plan.json``; ``as_of`` stops the clock that TTLs are counted from.
        Raises ConfigurationError when feature_store.yaml has no Redis online store.
        """
        folder = Path(repo).resolve()
        return cls(
            repo=folder,
            plan=Path(plan) if plan is not None else folder / ".skewguard" / "plan.json",
            redis=settings_from_repo(folder),
            default_policy=default_policy or ServingPolicy(),
            policies=dict(policies or {}),
            policy_of=policy_of,
            limits=limits or Limits(),
            tokens=tokens,
            now=fixed_clock(as_of) if as_of is not None else wall_clock,
        )

    @property
    def state(self) -> Path:
        """The folder with verdicts and runs."""
        return self.repo / ".skewguard"

    def policy(self, service: str) -> ServingPolicy:
        """The policy of a feature service; "" (a feature list) has the default one."""
        if self.policy_of is not None:
            return self.policy_of(service)
        return self.policies.get(service, self.default_policy)


def tokens_from(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The tokens in SKEWGUARD_API_TOKENS. Raises ConfigurationError when it is set but holds none, or not ASCII."""
    text = environment.get(TOKENS_VARIABLE)
    if text is None:
        return ()
    tokens = tuple(token for part in text.split(",") if (token := part.strip()))
    if not tokens:
        raise ConfigurationError(f"{TOKENS_VARIABLE}: got no token; expected tokens separated by commas, or unset it.")
    if not all(token.isascii() and token.isprintable() and " " not in token for token in tokens):
        raise ConfigurationError(f"{TOKENS_VARIABLE}: a token has characters that no HTTP header may carry.")
    return tokens
