"""Sends a message to a target, with a time limit and a few attempts. No address or password is part of an error."""

from __future__ import annotations

import http.client
import json
import smtplib
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from email.message import EmailMessage
from email.utils import formatdate
from typing import Any

from skewguard.alerts.message import Message
from skewguard.alerts.settings import EmailTarget, Target, WebTarget

ATTEMPTS = 3
TIMEOUT = 10.0
"""Seconds for a connection, and for each answer."""


class DeliveryError(Exception):
    """A message that did not get there: in words, without the address."""


def send(
    target: Target, message: Message, environment: Mapping[str, str], sleep: Callable[[float], None] = time.sleep
) -> None:
    """Send; what may be over soon (a broken connection, 429, 5xx, 4xx of mail) is tried again after 1 and 2 seconds.

    Raises DeliveryError, ConfigurationError (an environment variable that is not set).
    """
    once: Callable[[], None]
    if isinstance(target, WebTarget):
        address = target.address(environment)
        once = lambda: _post(address, target.kind, message)  # noqa: E731
    else:
        password = target.password(environment)
        once = lambda: _mail(target, password, message)  # noqa: E731
    for attempt in range(1, ATTEMPTS + 1):
        try:
            once()
        except _PassingError as error:
            if attempt == ATTEMPTS:
                raise DeliveryError(f"{error} ({ATTEMPTS} attempts)") from None
            sleep(2.0 ** (attempt - 1))
        else:
            return


class _PassingError(Exception):
    """What may be over soon."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the message, and the secret in its address, to somebody else."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _post(address: str, kind: str, message: Message) -> None:
    body = json.dumps(message.slack() if kind == "slack" else message.json(), ensure_ascii=False).encode()
    request = urllib.request.Request(  # noqa: S310  (http and https only: settings)
        address,
        data=body,
        headers={
            "Content-Type": "application/json; charset=utf-8",
            "User-Agent": "skewguard",
            "Idempotency-Key": message.id,
        },
        method="POST",
    )
    opener = urllib.request.build_opener(_NoRedirect)
    try:
        with opener.open(request, timeout=TIMEOUT):
            return
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 429 or error.code >= 500:
            raise _PassingError(f"answered {error.code}") from None
        told = (
            f"answered {error.code}, a redirect, which is not followed"
            if error.code < 400
            else f"answered {error.code}"
        )
        raise DeliveryError(told) from None
    except (urllib.error.URLError, OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise _PassingError(f"cannot be reached ({type(reason).__name__})") from None


def _mail(target: EmailTarget, password: str | None, message: Message) -> None:
    try:
        with _server(target) as server:
            if target.security == "starttls":
                server.starttls(context=ssl.create_default_context())
            if target.user is not None and password is not None:
                server.login(target.user, password)
            server.send_message(_letter(target, message))
    except smtplib.SMTPResponseException as error:
        told = f"the mail server answered {error.smtp_code}"
        raise (_PassingError(told) if 400 <= error.smtp_code < 500 else DeliveryError(told)) from None
    except smtplib.SMTPRecipientsRefused as error:
        codes = sorted({code for code, _ in error.recipients.values()})
        told = f"the mail server refused the recipients ({', '.join(map(str, codes))})"
        raise (_PassingError(told) if codes[-1] < 500 else DeliveryError(told)) from None
    except smtplib.SMTPServerDisconnected:
        raise _PassingError("the mail server broke off") from None
    except smtplib.SMTPException as error:
        raise DeliveryError(f"the mail server refused ({type(error).__name__})") from None
    except ssl.SSLError as error:
        raise DeliveryError(f"the mail server's certificate does not hold ({type(error).__name__})") from None
    except OSError as error:
        raise _PassingError(f"the mail server cannot be reached ({type(error).__name__})") from None


def _server(target: EmailTarget) -> smtplib.SMTP:
    if target.security == "tls":
        return smtplib.SMTP_SSL(target.host, target.port, timeout=TIMEOUT, context=ssl.create_default_context())
    return smtplib.SMTP(target.host, target.port, timeout=TIMEOUT)


def _letter(target: EmailTarget, message: Message) -> EmailMessage:
    letter = EmailMessage()
    letter["Subject"] = " ".join(message.title.split())
    letter["From"] = target.sender
    letter["To"] = ", ".join(target.to)
    letter["Date"] = formatdate()
    letter["Message-ID"] = f"<{message.id}@skewguard>"
    letter.set_content(message.text())
    letter.add_alternative(message.html(), subtype="html")
    return letter
