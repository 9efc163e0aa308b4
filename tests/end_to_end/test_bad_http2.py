"""HTTP/2 and gRPC as no client library would speak them: each row of the table is a connection of its own, and leaves the router
serving, within its memory."""
import socket
import struct

import grpc
import pytest

from end_to_end.clients import channel_to, generate_request, grpc_generate, text_of
from end_to_end.memory import MIB, Memory

SECONDS = 20
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, END_HEADERS, ACK = 1, 4, 1
GENERATE = "/octet.v1.Generation/Generate"
TOKENIZE = "/octet.v1.Generation/Tokenize"


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def literal(name, value):
    """A header field that no table knows, its lengths as HPACK integers of 7 bits."""
    def text(data):
        length, prefix = len(data), b""
        if length < 127:
            return bytes([length]) + data
        length, prefix = length - 127, b"\x7f"
        while length >= 128:
            prefix += bytes([length % 128 + 128])
            length //= 128
        return prefix + bytes([length]) + data
    return b"\x00" + text(name.encode()) + text(value if isinstance(value, bytes) else value.encode())


def call_headers(path=GENERATE, **more):
    fields = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "x", "content-type": "application/grpc",
              "te": "trailers", **{name.replace("_", "-"): value for name, value in more.items()}}
    return b"".join(literal(name, value) for name, value in fields.items() if value is not None)


def call(stream, body, path=GENERATE, flags=END_STREAM, **more):
    return frame(HEADERS, END_HEADERS, stream, call_headers(path, **more)) + frame(DATA, flags, stream, body)


def message(payload, compressed=0, length=None):
    return bytes([compressed]) + struct.pack(">I", len(payload) if length is None else length) + payload


OPEN = PREFACE + frame(SETTINGS)
ROWS = {
    "rapid reset": b"".join(frame(HEADERS, END_HEADERS, stream, call_headers()) +
                            frame(RST_STREAM, 0, stream, struct.pack(">I", 8)) for stream in range(1, 4001, 2)),
    "continuation flood": frame(HEADERS, 0, 1, call_headers()) +
                          b"".join(frame(CONTINUATION, 0, 1, literal(f"x-{i}", "a" * 1000)) for i in range(4000)),
    "ping flood": b"".join(frame(PING, 0, 0, struct.pack(">Q", i)) for i in range(20_000)),
    "settings flood": b"".join(frame(SETTINGS, 0, 0, struct.pack(">HI", 3, i)) for i in range(20_000)),
    "priority flood": b"".join(frame(PRIORITY, 0, 2 * i + 1, b"\0\0\0\0\1") for i in range(20_000)),
    "empty data flood": frame(HEADERS, END_HEADERS, 1, call_headers()) + frame(DATA, 0, 1) * 20_000,
    "header table bomb": frame(HEADERS, END_HEADERS | END_STREAM, 1,
                               b"\x40" + literal("x-bomb", "a" * 3800)[1:] + b"\xbe" * 12_000),
    "window of nothing": frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 0)) + call(1, message(b"")),
    "window overflow": frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 2**31 - 1)) * 2,
    "stream id twice": call(1, message(b"")) * 2,
    "even stream id": call(2, message(b"")),
    "data on no stream": frame(DATA, END_STREAM, 7, b"x"),
    "goaway in the middle": frame(HEADERS, END_HEADERS, 1, call_headers()) + frame(GOAWAY, 0, 0, struct.pack(">II", 0, 0)) +
                            frame(DATA, END_STREAM, 1, message(b"")),
    "frame over the limit": struct.pack(">I", 2**24 - 1)[1:] + bytes([DATA, 0]) + struct.pack(">I", 1) + b"x" * MIB,
    "unknown frame": frame(0x77, 0xFF, 1, b"x" * 1000),
    "push promise": frame(PUSH, END_HEADERS, 1, struct.pack(">I", 2)),
    "message of 4 GiB": call(1, message(b"x" * 100, length=2**32 - 1)),
    "compressed garbage": call(1, message(b"\xff" * 1000, compressed=1), grpc_encoding="gzip"),
    "compressed without a name": call(1, message(b"\xff" * 1000, compressed=1)),
    "unknown compression": call(1, message(b"x", compressed=1), grpc_encoding="zstd"),
    "flag that is none": call(1, message(b"x", compressed=7)),
    "half a message": call(1, b"\0\0"),
    "message that is no protobuf": call(1, message(b"\xff" * 1000)),
    "unknown method": call(1, message(b""), path="/octet.v1.Generation/Nothing"),
    "unknown service": call(1, message(b""), path="/nothing"),
    "path that climbs": call(1, message(b""), path="/../etc/passwd"),
    "no te": call(1, message(b""), te=None),
    "no content type": call(1, message(b""), content_type=None),
    "GET": call(1, message(b""), **{":method": "GET"}),
    "timeout of nothing": call(1, message(b""), grpc_timeout="0n"),
    "timeout of ages": call(1, message(b""), grpc_timeout="99999999H"),
    "timeout of junk": call(1, message(b""), grpc_timeout="soon"),
    "huge metadata": call(1, message(b""), x_huge="a" * 200_000),
    "metadata with line breaks": call(1, message(b""), x_request_id="a\r\nlog line"),
    "never half closed": call(1, message(b""), path=TOKENIZE, flags=0),
    "not HTTP/2": b"",
}


# How many times its size a row takes at most. gRPC 1.51 itself takes 23 KB for a call that is reset at once.
MOST_TIMES = {"rapid reset": 250}


def exchange(port, data):
    """Sends all of it and reads until the router closes or falls silent; what it said."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as connection:
        connection.settimeout(0.1)  # of silence
        for at in range(0, len(data), 65536):
            try:
                connection.sendall(data[at:at + 65536])
                received += connection.recv(65536) if at else b""
            except TimeoutError:
                pass
            except OSError:
                break
        try:
            while piece := connection.recv(65536):
                received += piece
        except OSError:
            pass
    return received


@pytest.mark.parametrize("row", ROWS)
def test_broken_http2_harms_nobody(deployment, fresh_router, golden, table, row):
    router = fresh_router.get()
    data = (PREFACE[:10] + b"\r\n" * 100 if row == "not HTTP/2" else OPEN + ROWS[row])
    growth, received = Memory(router.pid).growth(lambda: exchange(router.ports()["grpc_port"], data))
    assert table.add(row, len(data), growth) < MOST_TIMES.get(row, 100)
    assert b"grpc-status\x010" not in received, "it was answered as if it were right"
    with channel_to(deployment) as channel:
        assert grpc_generate(channel, generate_request(golden[1]))[0].text == text_of(golden[1])
    assert router.popen.poll() is None


@pytest.mark.parametrize("path", [GENERATE, TOKENIZE, "/octet.v1.Generation/Score"])
def test_a_message_over_the_limit_is_refused_by_every_method(deployment, path):
    with channel_to(deployment) as channel, pytest.raises(grpc.RpcError) as refused:
        kind = channel.unary_stream if path == GENERATE else channel.unary_unary
        answer = kind(path)(b"\x0a" + b"\x80\x80\x80\x05" + b"x" * (10 * MIB), timeout=SECONDS)
        list(answer)
    assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert deployment.router.popen.poll() is None
