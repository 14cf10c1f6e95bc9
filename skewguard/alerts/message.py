"""What an alert says of a service's incidents in a run: as plain text, JSON, Slack's blocks and HTML."""

from __future__ import annotations

import hashlib
import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from skewguard.contract import iso
from skewguard.incidents import Event, Incident
from skewguard.report.figures import TEXT_LENGTH, clean, name_of, percent, when
from skewguard.report.words import quoted, words_for

SIGNS = {"opened": "🔴", "worsened": "🔺", "closed": "✅"}
_MOST = 20
"""Events told one by one; more are counted."""
_SLACK_TEXT = 2800


@dataclass(frozen=True)
class Message:
    """What is sent to a target at once. ``id`` is the same whenever the same events are sent again."""

    id: str
    service: str
    run_id: str
    events: tuple[Event, ...]
    report_url: str | None = None

    @classmethod
    def of(cls, target: str, numbered: Sequence[tuple[int, Event]], report_url: str | None) -> Message:
        """The events of one run of one service, by their numbers in the history."""
        first = numbered[0][1]
        told = f"{target}/{first.run_id}/" + ",".join(str(number) for number, _ in numbered)
        digest = hashlib.sha256(told.encode()).hexdigest()[:32]
        events = tuple(event for _, event in numbered)
        return cls(digest, first.incident.service, first.run_id, events, report_url)

    @property
    def link(self) -> str | None:
        """The run's report, where a server's address is known."""
        return None if self.report_url is None else f"{self.report_url.rstrip('/')}/reports/{quote(self.run_id)}"

    @property
    def command(self) -> str:
        """What to run next."""
        return f"skewguard report --service {quoted(self.service)} --run {quoted(self.run_id)}"

    @property
    def title(self) -> str:
        """One line."""
        counts = [
            f"{found} {kind}"
            for kind in ("opened", "worsened", "closed")
            if (found := sum(event.kind.value == kind for event in self.events))
        ]
        return f"skewguard: {clean(self.service)}: incidents {', '.join(counts)}"

    def lines(self) -> list[str]:
        """A line an event, the first ones."""
        told = [_line(event) for event in self.events[:_MOST]]
        left = len(self.events) - len(told)
        return [*told, f"and {left} more"] if left else told

    def text(self) -> str:
        """As plain text."""
        return "\n".join([self.title, "", *self.lines(), "", *self._tail()]) + "\n"

    def _tail(self) -> list[str]:
        return [f"Next: {self.command}", *([f"Report: {self.link}"] if self.link else [])]

    def json(self) -> dict[str, Any]:
        """As plain JSON values, for programs."""
        return {
            "id": self.id,
            "title": self.title,
            "service": self.service,
            "run_id": self.run_id,
            "report": self.link,
            "next": self.command,
            "events": [{"kind": e.kind.value, "as_of": iso(e.as_of), **_incident(e.incident)} for e in self.events],
        }

    def slack(self) -> dict[str, Any]:
        """As Slack's incoming webhooks take it: a text for notifications, and blocks."""
        body = "\n".join(_slack(line) for line in self.lines())
        link = f"\n<{_slack(self.link)}|Report>" if self.link else ""
        blocks: list[dict[str, Any]] = [
            {"type": "header", "text": {"type": "plain_text", "text": self.title[:150], "emoji": True}},
            {"type": "section", "text": {"type": "mrkdwn", "text": body[:_SLACK_TEXT]}},
            {"type": "section", "text": {"type": "mrkdwn", "text": f"`{_slack(self.command)}`{link}"}},
        ]
        return {"text": _slack(self.title), "blocks": blocks}

    def html(self) -> str:
        """As a small page for mail."""
        items = "".join(f"<li>{html.escape(line)}</li>" for line in self.lines())
        link = f'<p><a href="{html.escape(self.link)}">Report</a></p>' if self.link else ""
        return (
            f"<!doctype html><html><body><h2>{html.escape(self.title)}</h2><ul>{items}</ul>"
            f"<p>Next: <code>{html.escape(self.command)}</code></p>{link}</body></html>"
        )


def _slack(text: str) -> str:
    """Slack's three characters of markup, escaped as its documentation asks."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _line(event: Event) -> str:
    incident = event.incident
    what = name_of(incident.view, incident.feature)
    since = "" if event.kind.value == "opened" else f", since {when(incident.opened)}"
    rate = f", {percent(incident.rate)} of rows" if incident.rate else ""
    cause = words_for(incident.cause).short
    return (
        f"{SIGNS[event.kind.value]} {event.kind.value} [{incident.action}] {cause}: {what}{rate}{since}. "
        f"{clean(incident.message, TEXT_LENGTH)}"
    )


def _incident(incident: Incident) -> dict[str, Any]:
    return {
        "key": incident.key,
        "cause": incident.cause,
        "view": incident.view,
        "feature": incident.feature,
        "action": incident.action,
        "message": incident.message,
        "rate": incident.rate,
        "worst_rate": incident.worst_rate,
        "opened": iso(incident.opened),
        "closed": None if incident.closed is None else iso(incident.closed),
    }
