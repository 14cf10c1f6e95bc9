"""Real servers that alerts are sent to: an HTTP endpoint and a small mail server, on free ports of this machine."""

from __future__ import annotations

import base64
import json
import socketserver
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


@dataclass
class Endpoint:
    """What an HTTP endpoint got, and what it answers: the codes of ``answers`` in turn, then 200."""

    url: str = ""
    answers: list[int] = field(default_factory=list)
    got: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)


@contextmanager
def endpoint(*answers: int) -> Iterator[Endpoint]:
    kept = Endpoint(answers=list(answers))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            kept.paths.append(self.path)
            code = kept.answers.pop(0) if kept.answers else 200
            if code == 200:
                kept.got.append(json.loads(body))
            kept.keys.append(self.headers["Idempotency-Key"])
            self.send_response(code)
            if 300 <= code < 400:
                self.send_header("Location", "http://127.0.0.1:1/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    kept.url = f"http://127.0.0.1:{server.server_address[1]}/hooks/very-secret-token"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield kept
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class Mailbox:
    """What a mail server got; ``refuse`` is the answer to recipients in turn, then 250."""

    port: int = 0
    refuse: list[int] = field(default_factory=list)
    letters: list[Message] = field(default_factory=list)
    logins: list[tuple[str, str]] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)


def certificate(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """A server's context with a certificate for localhost, and the file by which a client may trust it."""
    key, cert = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(cert)],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context, cert


@contextmanager
def mail_server(*refuse: int, context: ssl.SSLContext | None = None, implicit: bool = False) -> Iterator[Mailbox]:
    """Speaks EHLO, STARTTLS (with a context; ``implicit``: TLS from the start), AUTH PLAIN, MAIL, RCPT, DATA, QUIT."""
    box = Mailbox(refuse=list(refuse))

    class Handler(socketserver.StreamRequestHandler):
        def say(self, text: str) -> None:
            self.wfile.write(text.encode() + b"\r\n")

        wrapped: ssl.SSLSocket | None = None

        def encrypt(self, context: ssl.SSLContext) -> None:
            self.rfile.close()
            self.wrapped = context.wrap_socket(self.connection, server_side=True)
            self.rfile, self.wfile = self.wrapped.makefile("rb"), self.wrapped.makefile("wb", 0)

        def finish(self) -> None:
            super().finish()
            if self.wrapped is not None:
                self.wrapped.close()

        def handle(self) -> None:
            secure = context is not None and implicit
            try:
                if context is not None and implicit:
                    self.encrypt(context)
                self.talk(secure)
            except ssl.SSLError:
                return  # the client did not trust the certificate, and went

        def talk(self, secure: bool) -> None:
            self.say("220 here")
            while line := self.rfile.readline():
                verb = line.split()[0].upper() if line.split() else b""
                if verb == b"EHLO":
                    self.say("250-here")
                    if context is not None and not secure:
                        self.say("250-STARTTLS")
                    self.say("250 AUTH PLAIN")
                elif verb == b"STARTTLS" and context is not None:
                    self.say("220 go on")
                    self.encrypt(context)
                    secure = True
                elif verb == b"AUTH":
                    _, user, password = base64.b64decode(line.split()[2]).split(b"\0")
                    box.logins.append((user.decode(), password.decode()))
                    self.say("235 welcome" if password == b"right-password" else "535 no")
                elif verb == b"RCPT":
                    code = box.refuse.pop(0) if box.refuse else 250
                    self.say(f"{code} so")
                elif verb == b"DATA":
                    self.say("354 go on")
                    lines = []
                    while (part := self.rfile.readline()) != b".\r\n":
                        lines.append(part.removeprefix(b".") if part.startswith(b"..") else part)
                    box.letters.append(message_from_bytes(b"".join(lines)))
                    box.encrypted.append(secure)
                    self.say("250 kept")
                elif verb == b"QUIT":
                    self.say("221 bye")
                    return
                else:
                    self.say("250 so")

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        box.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield box
        finally:
            server.shutdown()
            thread.join()
