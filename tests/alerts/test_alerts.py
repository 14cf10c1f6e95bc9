"""Alerts to a real HTTP endpoint and a real mail server: once each, again where they failed, never a secret."""

from __future__ import annotations

import json
import logging
import shlex
import shutil
import socket
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from skewguard import SkewGuard
from skewguard.alerts.message import Message
from skewguard.alerts.outbox import Delivery, Outbox
from skewguard.alerts.settings import AlertSettings, Silence
from skewguard.alerts.silences import SetSilence, add_silence, silences_at
from skewguard.config import Policy
from skewguard.errors import BadInputError, PolicyError
from skewguard.findings import Cause, Finding, Run
from skewguard.history import History
from skewguard.incidents import Event, EventKind, advance
from tests.alerts.servers import Endpoint, certificate, endpoint, mail_server
from tests.test_incidents import found, run

NOW = datetime(2026, 3, 1, 4, tzinfo=UTC)
NASTY = "<!channel> & *bold* \n<script>alert(1)</script>\r\nBcc: eve@example.org"


def history(tmp_path: Path, *runs: Run) -> History:
    kept = History(tmp_path / "h.duckdb")
    for one in runs:
        kept.append(one)
    return kept


def deliver(kept: History, settings: dict[str, Any], now: datetime = NOW, **environment: str) -> list[Delivery]:
    checked = AlertSettings.model_validate(settings)
    silences = [*checked.silences, *silences_at(kept.file, now)]
    return Outbox(kept.file, checked, silences, environment).deliver(now, lambda _: None)


def hook(url: str, **more: Any) -> dict[str, Any]:
    return {"alerts": [{"kind": "webhook", "url": url, **more}]}


def events(server: Endpoint) -> list[list[str]]:
    return [[f"{e['kind']} {e['feature']}" for e in message["events"]] for message in server.got]


def test_what_happened_is_told_once(tmp_path: Path) -> None:
    kept = history(tmp_path, run(0, found("a"), found("b")))
    with endpoint() as server:
        assert [d.outcome for d in deliver(kept, hook(server.url))] == ["sent"]
        assert deliver(kept, hook(server.url)) == []  # a night without news is silent
        kept.append(run(1, found("a"), found("b")))
        assert deliver(kept, hook(server.url)) == []
        kept.append(run(2, found("b", action="block")))
        deliver(kept, hook(server.url))
    assert events(server) == [["opened a", "opened b"], ["worsened b", "closed a"]]
    assert server.got[1]["title"] == "skewguard: s: incidents 1 worsened, 1 closed"
    assert server.got[1]["next"] == "skewguard report --service s --run r2"
    assert len(set(server.keys)) == 2


def test_a_new_target_is_told_the_news_only(tmp_path: Path) -> None:
    kept = history(tmp_path, run(0, found("old")), run(30, found("old"), found("new")))
    with endpoint() as server:
        deliver(kept, hook(server.url))
    assert events(server) == [["opened new"]]


def test_what_failed_is_sent_again_under_the_same_id(tmp_path: Path) -> None:
    kept = history(tmp_path, run(0, found("a")))
    with endpoint(500, 503, 429) as server:
        (failed,) = deliver(kept, hook(server.url))
        assert (failed.outcome, failed.reason) == ("failed", "answered 429 (3 attempts)")
        assert [d.outcome for d in deliver(kept, hook(server.url))] == ["sent"]
    assert len(set(server.keys)) == 1
    assert len(server.keys) == 4
    with endpoint(500) as flaky:  # one bad answer is got over within the night
        other = hook(flaky.url, name="other")
        assert [d.outcome for d in deliver(kept, other)] == ["sent"]


@pytest.mark.parametrize(("answer", "told"), [(404, "answered 404"), (302, "answered 302, a redirect")])
def test_what_will_not_pass_is_not_tried_again_in_a_night(tmp_path: Path, answer: int, told: str) -> None:
    kept = history(tmp_path, run(0, found("a")))
    with endpoint(answer) as server:
        (failed,) = deliver(kept, hook(server.url))
    assert (failed.outcome, len(server.keys)) == ("failed", 1)
    assert failed.reason.startswith(told)


def test_nobody_there(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/secret"
        (failed,) = deliver(history(tmp_path, run(0, found("a"))), hook(url))
    assert failed.reason == "cannot be reached (ConnectionRefusedError) (3 attempts)"


def test_who_is_told_what(tmp_path: Path) -> None:
    kept = history(tmp_path, run(0, found("a"), found("b", action="block")))
    with endpoint() as blocked, endpoint() as others:
        settings = {
            "alerts": [
                {"kind": "webhook", "name": "on call", "url": blocked.url, "min_action": "block"},
                {"kind": "webhook", "name": "others", "url": others.url, "services": ["t*"]},
            ]
        }
        deliver(kept, settings)
        kept.append(run(1))
        deliver(kept, settings)
    assert events(blocked) == [["opened b"], ["closed b"]]  # a closing of what was never told is not told
    assert others.got == []


def test_slack(tmp_path: Path) -> None:
    low = Finding("parity", Cause.UNIT_SCALE, "v", NASTY, 5, 10, 0.2, 0.8, NASTY, action="block")
    with endpoint() as server:
        settings = {
            "alerts": [{"kind": "slack", "url_env": "HOOK"}],
            "report_url": "https://features.example.org/",
        }
        deliver(history(tmp_path, run(0, low)), settings, HOOK=server.url)
    (sent,) = server.got
    assert sent["text"] == "skewguard: s: incidents 1 opened"
    texts = [block["text"]["text"] for block in sent["blocks"]]
    assert "<!channel>" not in texts[1]
    assert "&lt;!channel&gt; &amp; *bold*" in texts[1]
    assert "<https://features.example.org/reports/r0|Report>" in texts[2]
    assert server.paths == ["/hooks/very-secret-token"]


def letter_of(tmp_path: Path, port: int, *refuse: int, **more: Any) -> dict[str, Any]:
    target = {"kind": "email", "host": "127.0.0.1", "port": port, "security": "none",
              "from": "guard@example.org", "to": ["oncall@example.org"], **more}  # fmt: skip
    return {"alerts": [target]}


def test_mail(tmp_path: Path) -> None:
    nasty = Finding("parity", Cause.UNIT_SCALE, "v", NASTY, 5, 10, 0.2, 0.8, NASTY, action="block")
    with mail_server() as box:
        settings = letter_of(tmp_path, box.port, user="guard", password_env="MAIL")
        assert deliver(history(tmp_path, run(0, nasty)), settings, MAIL="right-password")[0].outcome == "sent"
    (letter,) = box.letters
    assert box.logins == [("guard", "right-password")]
    assert (letter["To"], letter["From"], letter["Bcc"]) == ("oncall@example.org", "guard@example.org", None)
    assert letter["Subject"] == "skewguard: s: incidents 1 opened"
    plain, page = (part.get_payload(decode=True).decode() for part in letter.get_payload())  # type: ignore[union-attr]
    assert "Next: skewguard report --service s --run r0" in plain
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_mail_that_is_refused(tmp_path: Path) -> None:
    kept = history(tmp_path, run(0, found("a")))
    with mail_server(451) as box:  # later, says the server; and the second attempt goes through
        assert deliver(kept, letter_of(tmp_path, box.port))[0].outcome == "sent"
    with mail_server(550) as box:
        (failed,) = deliver(kept, letter_of(tmp_path, box.port, name="x"))
    assert failed.reason == "the mail server refused the recipients (550)"
    with mail_server() as box:
        settings = letter_of(tmp_path, box.port, name="y", user="guard", password_env="MAIL")
        (failed,) = deliver(kept, settings, MAIL="wrong-password")
    assert failed.reason == "the mail server answered 535"
    with mail_server() as box:
        (failed,) = deliver(kept, letter_of(tmp_path, box.port, name="z", security="starttls"))
    assert failed.reason == "the mail server refused (SMTPNotSupportedError)"  # never in the clear instead


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_mail_is_encrypted_and_to_no_one_who_is_not_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, security: str
) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not on PATH")
    kept = history(tmp_path, run(0, found("a")))
    context, trusted = certificate(tmp_path)
    with mail_server(context=context, implicit=security == "tls") as box:
        settings = letter_of(
            tmp_path, box.port, host="localhost", security=security, user="guard", password_env="MAIL", name=security
        )
        (failed,) = deliver(kept, settings, MAIL="right-password")
        assert failed.reason == "the mail server's certificate does not hold (SSLCertVerificationError)"
        assert (box.letters, box.logins) == ([], [])
        monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
        assert deliver(kept, settings, MAIL="right-password")[0].outcome == "sent"
    assert (box.encrypted, box.logins) == ([True], [("guard", "right-password")])


def test_the_command_of_an_alert_is_quoted_for_the_shell() -> None:
    event = advance({}, replace(run(0, found("a")), service="a; touch x"))[1][0]
    command = Message.of("t", [(1, event)], None).command
    assert shlex.split(command) == ["skewguard", "report", "--service", "a; touch x", "--run", "r0"]


def test_silence_keeps_and_tells_later_what_is_still_open(tmp_path: Path) -> None:
    kept = history(tmp_path, run(0, found("a"), found("b"), found("c")))
    with endpoint() as server:
        silent = {**hook(server.url), "silences": [
            {"feature": "v:[ab]", "until": (NOW + timedelta(days=2)).isoformat(), "reason": "a move"}
        ]}  # fmt: skip
        deliver(kept, silent)
        kept.append(run(1, found("a"), found("c")))  # b went away in silence
        deliver(kept, silent, NOW + timedelta(days=1))
        deliver(kept, silent, NOW + timedelta(days=3))
    assert events(server) == [["opened c"], ["opened a"]]


def test_a_silence_by_command_holds_for_its_time(tmp_path: Path) -> None:
    kept = history(tmp_path, run(0, found("a")))
    silence = SetSilence("s", "*", "*", NOW, NOW + timedelta(hours=2), "planned", "me")
    add_silence(kept.file, silence)
    with endpoint() as server:
        assert deliver(kept, hook(server.url), NOW + timedelta(hours=1)) == []
        deliver(kept, hook(server.url), NOW + timedelta(hours=2))
    assert events(server) == [["opened a"]]
    for wrong, field in (({"reason": " "}, "reason"), ({"until": NOW}, "until")):
        with pytest.raises(BadInputError, match=field):
            add_silence(kept.file, SetSilence(**{**silence.__dict__, **wrong}))


@pytest.mark.parametrize(
    ("silence", "hour", "covers"),
    [
        ({}, 4, True),
        ({"service": "t*"}, 4, False),
        ({"cause": "unit_*"}, 4, True),
        ({"cause": "type_cast"}, 4, False),
        ({"feature": "a"}, 4, True),
        ({"feature": "v:a"}, 4, True),
        ({"feature": "w:a"}, 4, False),
        ({"from": "2026-03-01T05:00:00Z"}, 4, False),
        ({"until": "2026-03-01 04:00"}, 4, False),
        ({"daily": "22:00-06:00"}, 23, True),
        ({"daily": "22:00-06:00"}, 4, True),
        ({"daily": "22:00-06:00"}, 6, False),
        ({"daily": "08:00-18:00"}, 4, False),
    ],
)
def test_what_a_silence_covers(silence: dict[str, str], hour: int, covers: bool) -> None:
    (event,) = advance({}, run(0, found("a")))[1]
    rule = Silence.model_validate({**silence, "reason": "r"})
    assert rule.covers(event, datetime(2026, 3, 1, hour, tzinfo=UTC)) is covers


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({"alerts": [{"kind": "webhok", "url": "http://x"}]}, "alerts.0: Input tag 'webhok'"),
        ({"alerts": [{"kind": "webhook"}]}, "expected url, or url_env"),
        ({"alerts": [{"kind": "slack", "url": "ftp://user:very-secret@x"}]}, "expected an http or https URL"),
        ({"alerts": [{"kind": "email", "host": "h", "from": "a", "to": []}]}, "to: Tuple should have at least 1 item"),
        ({"alerts": [{"kind": "webhook", "url": "http://x"}] * 2}, "a name of its own"),
        ({"silences": [{"service": "x"}]}, "reason"),
        ({"silences": [{"daily": "25:00-06:00", "reason": "r"}]}, "such as 22:00-06:00"),
        ({"report_url": "features"}, "http or https"),
    ],
)
def test_a_wrong_policy_is_refused_without_telling_secrets(document: dict[str, Any], told: str) -> None:
    with pytest.raises(PolicyError) as error:
        Policy(document)
    assert told in str(error.value)
    assert "very-secret" not in str(error.value)


def test_a_variable_that_is_not_set_is_named(tmp_path: Path) -> None:
    settings = {"alerts": [{"kind": "slack", "url_env": "HOOK"}]}
    (failed,) = deliver(history(tmp_path, run(0, found("a"))), settings)
    assert failed.reason == "the environment variable HOOK is not set; an alert target needs it"
    (failed,) = deliver(history(tmp_path / "b", run(0, found("a"))), settings, HOOK="very-secret:nonsense")
    assert failed.reason == "the environment variable HOOK: expected an http or https URL"


def test_many_events_are_counted() -> None:
    many = [found(f"f{i}") for i in range(50)]
    numbered = list(enumerate(advance({}, run(0, *many))[1]))
    message = Message.of("t", numbered, None)
    assert (len(message.lines()), message.lines()[-1]) == (21, "and 30 more")
    assert len(json.dumps(message.slack())) < 10_000
    assert message.id == Message.of("t", numbered, None).id != Message.of("u", numbered, None).id
    assert isinstance(numbered[0][1], Event)
    assert numbered[0][1].kind is EventKind.OPENED


@pytest.mark.slow
def test_a_night_tells_and_no_file_holds_the_secret(
    tmp_path: Path, clean_redis: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from tests.repos import AS_OF, write_repo
    from tests.test_nightly import night

    repo = write_repo(tmp_path / "repo", clean_redis.connection_string)
    (repo / "skewguard.yaml").write_text("alerts:\n- {kind: webhook, url_env: HOOK}\n")
    guard = SkewGuard(repo, clock=lambda: AS_OF)
    guard.feast.apply()
    caplog.set_level(logging.DEBUG)
    with endpoint(404) as server:
        monkeypatch.setenv("HOOK", server.url)
        first = night(guard)
        assert {d.outcome for d in first.deliveries} == {"failed", "sent"}
        second = night(guard)
        assert {d.outcome for d in second.deliveries} == {"sent"}  # what failed the night before
    told = json.dumps([first.to_dict(), second.to_dict()]) + "\n".join([*first.lines(), *second.lines()])
    assert "very-secret" not in told + caplog.text
    for path in repo.rglob("*"):
        if path.is_file():
            assert b"very-secret" not in path.read_bytes(), path
