"""Requests sent in two halves over plain sockets, so that a test decides how long they are under way."""

from __future__ import annotations

import json
import socket
from typing import Any
from urllib.parse import urlsplit


class HalfSent:
    """A look-up whose head and half its body are sent; ``finish`` sends the rest and reads the answer to its end."""

    def __init__(self, url: str, look: dict[str, Any]) -> None:
        parts = urlsplit(url)
        self._socket = socket.create_connection((parts.hostname, parts.port), timeout=15)
        head, body = _request(look)
        self._rest = body[len(body) // 2 :]
        self._socket.sendall(head + body[: len(body) // 2])

    def send_rest(self) -> None:
        """The other half."""
        self._socket.sendall(self._rest)

    def send_again(self, look: dict[str, Any]) -> None:
        """A whole request on the same connection."""
        self._socket.sendall(b"".join(_request(look)))

    def finish(self) -> tuple[int, dict[str, Any], bytes]:
        """Status, body and head of the answer."""
        self.send_rest()
        return self.answer()

    def answer(self) -> tuple[int, dict[str, Any], bytes]:
        """Read an answer; raises where the connection ends before it does."""
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._part()
        head, _, body = data.partition(b"\r\n\r\n")
        length = next(int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-l"))
        while len(body) < length:
            body += self._part()
        return int(head.split()[1]), json.loads(body), head.lower()

    def close(self) -> None:
        """Go away without a word."""
        self._socket.close()

    def _part(self) -> bytes:
        part = self._socket.recv(65536)
        if not part:
            raise ConnectionError("the connection was closed before the answer was whole")
        return part


def _request(look: dict[str, Any]) -> tuple[bytes, bytes]:
    body = json.dumps(look).encode()
    return f"POST /get-online-features HTTP/1.1\r\nHost: test\r\nContent-Length: {len(body)}\r\n\r\n".encode(), body
