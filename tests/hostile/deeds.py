"""What a hostile server does to an answer on its way."""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING

from tests.hostile.proxy import CutOff, Exchange, honestly

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.hostile.proxy import Deed

GIGABYTE = 10**9
PIECE = b" " * 1_000_000
HTML = b"<html><body><h1>Welcome to nginx!</h1></body></html>"


NO = b'{"errors": ["no"], "message": "no"}'
"""What Vault, and kube-apiserver, say in a failure."""


def status(code: int, body: bytes = NO, **headers: str) -> Deed:
    """Answer this, and ask the real server for nothing."""
    return lambda exchange: exchange.send(code, body, **headers)


def html(code: int) -> Deed:
    """Answer as a web server does that knows nothing of it."""
    return status(code, HTML, Content_Type="text/html")


def said(document: object) -> Deed:
    """Answer 200 with this as JSON."""
    return status(200, json.dumps(document).encode())


def done_then(code: int, **headers: str) -> Deed:
    """Have the real server do it, and then say this."""

    def deed(exchange: Exchange) -> None:
        exchange.forward()
        exchange.send(code, NO, **headers)

    return deed


def times(number: int, deed: Deed) -> Deed:
    """Do this so often, then be honest."""
    left = [deed] * number

    def chosen(exchange: Exchange) -> None:
        (left.pop() if left else honestly)(exchange)

    return chosen


def delay(seconds: float) -> Deed:
    """Let the real server answer, but late."""

    def deed(exchange: Exchange) -> None:
        answer = exchange.forward()
        if exchange.wait(seconds):
            raise CutOff
        exchange.send(answer.status, answer.body)

    return deed


def cut_before_answer(exchange: Exchange) -> None:
    """Have the real server do it, and hang up."""
    exchange.forward()
    raise CutOff


def cut_in_head(exchange: Exchange) -> None:
    """Hang up in the middle of the headers."""
    exchange.forward()
    exchange.channel.sendall(b"HTTP/1.1 200 OK\r\nContent-Ty")
    raise CutOff


def cut_in_body(exchange: Exchange) -> None:
    """Hang up in the middle of the real answer."""
    answer = exchange.forward()
    half = answer.body[: len(answer.body) // 2]
    exchange.send(answer.status, half, Content_Length=str(len(answer.body)))
    raise CutOff


def cut_in_chunk(exchange: Exchange) -> None:
    """Hang up in the middle of a chunk."""
    answer = exchange.forward()
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    size = f"{len(answer.body):x}\r\n".encode()
    exchange.channel.sendall(head + size + answer.body[: len(answer.body) // 2])
    raise CutOff


def raw(*pieces: bytes) -> Deed:
    """Send these bytes and hang up."""

    def deed(exchange: Exchange) -> None:
        for piece in pieces:
            exchange.channel.sendall(piece)
        raise CutOff

    return deed


def endless(head: bytes, pieces: Iterable[bytes], pause: float = 0) -> Deed:
    """Send this head and then pieces, with a pause after each, until the client hangs up."""

    def deed(exchange: Exchange) -> None:
        exchange.channel.sendall(head)
        for piece in pieces:
            exchange.channel.sendall(piece)
            if pause and exchange.wait(pause):
                break
        raise CutOff

    return deed


def gzip_bomb(length: int = GIGABYTE) -> bytes:
    """So many spaces, deflated: a thousandth of that."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    packed = b"".join(packer.compress(PIECE) for _ in range(length // len(PIECE)))
    return packed + packer.flush()


def echo(code: int, *, as_header: str = "", content_type: str = "application/json") -> Deed:
    """Repeat the request's secrets, as gateways do that show what they could not forward."""

    def deed(exchange: Exchange) -> None:
        text = f"bad request: {' '.join(exchange.secrets)}"
        body = json.dumps({"errors": [text], "message": text}).encode()
        if not content_type.endswith("json"):
            body = text.encode()
        headers = {as_header: f"https://elsewhere/?{exchange.secrets[0]}"} if as_header else {}
        exchange.send(code, body, Content_Type=content_type, **headers)

    return deed
