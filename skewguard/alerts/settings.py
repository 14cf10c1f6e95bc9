"""The targets and silences of skewguard.yaml, validated. Secrets are not in it: it names environment variables."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime, time
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from skewguard.errors import ConfigurationError
from skewguard.incidents import Event

_WINDOW = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")


def _moment(value: Any) -> Any:
    """A time in UTC; a naive one means UTC."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    raise ValueError("expected an ISO 8601 time such as 2026-01-31T06:00:00Z")


Moment = Annotated[datetime, BeforeValidator(_moment)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class _Target(_Strict):
    name: str = ""
    services: tuple[str, ...] = ("*",)
    min_action: Literal["warn", "block"] = "warn"

    def wants(self, event: Event) -> bool:
        """Is an event for this target: of one of its services, and grave enough?"""
        incident = event.incident
        of_service = any(fnmatchcase(incident.service, pattern) for pattern in self.services)
        return of_service and (self.min_action == "warn" or incident.action == "block")


class WebTarget(_Target):
    """An HTTP endpoint: ``webhook`` is sent our JSON, ``slack`` Slack's."""

    kind: Literal["webhook", "slack"]
    url: str | None = None
    url_env: str | None = None

    @model_validator(mode="after")
    def _one_address(self) -> WebTarget:
        if (self.url is None) == (self.url_env is None):
            raise ValueError("expected url, or url_env (the environment variable that holds it), and not both")
        if self.url is not None:
            _checked_url(self.url)
        return self

    def address(self, environment: Mapping[str, str]) -> str:
        """The URL; raises ConfigurationError where its variable is not set, without telling what it holds."""
        if self.url is not None:
            return self.url
        found = _variable(environment, str(self.url_env))
        try:
            return _checked_url(found)
        except ValueError as error:
            raise ConfigurationError(f"the environment variable {self.url_env}: {error}") from None


class EmailTarget(_Target):
    """A mail server and whom to write to."""

    kind: Literal["email"]
    host: str
    port: int = Field(default=587, gt=0, lt=65536)
    security: Literal["starttls", "tls", "none"] = "starttls"
    user: str | None = None
    password_env: str | None = None
    sender: str = Field(alias="from")
    to: tuple[str, ...] = Field(min_length=1)

    def password(self, environment: Mapping[str, str]) -> str | None:
        """The password; raises ConfigurationError where its variable is not set."""
        return None if self.password_env is None else _variable(environment, self.password_env)


Target = Annotated[WebTarget | EmailTarget, Field(discriminator="kind")]


class Silence(_Strict):
    """Incidents that are not told: of these services, causes and features (patterns), from, until, or daily (UTC)."""

    service: str = "*"
    cause: str = "*"
    feature: str = "*"
    since: Moment | None = Field(default=None, alias="from")
    until: Moment | None = None
    daily: str | None = None
    reason: str = Field(min_length=1)

    @model_validator(mode="after")
    def _window(self) -> Silence:
        if self.daily is not None and not _WINDOW.fullmatch(self.daily):
            raise ValueError("daily: expected a window such as 22:00-06:00 (UTC)")
        return self

    def covers(self, event: Event, now: datetime) -> bool:
        """Does it keep an event from being told now?"""
        incident = event.incident
        feature = ":".join(part for part in (incident.view, incident.feature) if part)
        named = (
            fnmatchcase(incident.service, self.service)
            and fnmatchcase(incident.cause, self.cause)
            and (fnmatchcase(feature, self.feature) or fnmatchcase(incident.feature or "", self.feature))
        )
        begun = self.since is None or now >= self.since
        over = self.until is not None and now >= self.until
        return named and begun and not over and self._in_window(now)

    def _in_window(self, now: datetime) -> bool:
        if self.daily is None:
            return True
        start, end = (time.fromisoformat(part) for part in self.daily.split("-"))
        at = now.astimezone(UTC).time()
        return start <= at < end if start <= end else at >= start or at < end


class AlertSettings(_Strict):
    """Whom to tell, what not to tell, and where reports can be read."""

    alerts: tuple[Target, ...] = ()
    silences: tuple[Silence, ...] = ()
    report_url: str | None = None
    """The address under which a server has ``/reports``, for links; such as https://features.example.org."""

    @model_validator(mode="after")
    def _names(self) -> AlertSettings:
        names = self.names()
        if len(set(names)) < len(names):
            raise ValueError("alerts: every target needs a name of its own")
        if self.report_url is not None:
            _checked_url(self.report_url)
        return self

    def names(self) -> list[str]:
        """What each target is called in records: its name, else its kind."""
        return [target.name or target.kind for target in self.alerts]


def _variable(environment: Mapping[str, str], name: str) -> str:
    found = environment.get(name, "")
    if not found:
        raise ConfigurationError(f"the environment variable {name} is not set; an alert target needs it")
    return found


def _checked_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("expected an http or https URL")
    return url


def environment() -> Mapping[str, str]:
    """The process' own."""
    return os.environ
