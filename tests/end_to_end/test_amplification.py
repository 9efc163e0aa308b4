"""What a client's bytes cost the router in memory: each row of the table is sent to a live router, is answered as it must be, has
no other effect, and takes less than 100 times its size at any moment, most less than 10 times. The table is printed: pytest -s.
"""
import functools
import gzip
import json
import select
import socket
import time

import pytest

from end_to_end.deployment import Deployment
from end_to_end.memory import KIB, MIB, Memory

SECONDS = 60
SILENCE = 0.5  # of a connection that is not answered
MOST_TIMES = 100
TEXT, CHAT, NEMO = "POST /v1/completions", "POST /v1/chat/completions", "PUT /generate"
MODELS = b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n"


def http(line, body=b"", *headers):
    fields = [b"Host: x", b"Content-Type: application/json", *(headers or [b"Content-Length: %d" % len(body)])]
    return line.encode() + b" HTTP/1.1\r\n" + b"".join(field + b"\r\n" for field in fields) + b"\r\n" + body


def completion(**fields):
    return http(TEXT, json.dumps({"prompt": "hello", "max_tokens": 1, **fields}).encode())


def chat(**fields):
    return http(CHAT, json.dumps({"messages": [{"role": "user", "content": "hello"}], "max_tokens": 1, **fields}).encode())


def schema(value):
    return chat(response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": value}})


def properties(objects, value):
    inner = {"type": "object", "properties": {f"p{i}": value for i in range(200)}}
    return {"type": "object", "properties": {f"q{i}": inner for i in range(objects)}}


def filled(piece, size=8 * MIB, start=b"[", end=b"]"):
    """start, piece as often as fits, end: size bytes at most."""
    return start + piece * ((size - len(start) - len(end)) // len(piece)) + end.removeprefix(b",")


def as_chunks(body, size=1):
    pieces = (body[at:at + size] for at in range(0, len(body), size))
    return http(TEXT, b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n",
                b"Transfer-Encoding: chunked")


@functools.cache
def rows():
    """name -> (bytes, what answers begin with): several bytes strings are as many connections, open at once."""
    small = b'{"prompt": "hello", "max_tokens": 1, "temperature": 0}'
    return {
        # JSON
        "an array of zeros": (http(TEXT, filled(b"0,", end=b"0]")), 400),
        "an array of arrays": (http(TEXT, filled(b"[],", end=b"0]")), 400),
        "an array of objects": (http(TEXT, filled(b"{},", end=b"0]")), 400),
        "an array of small objects": (http(TEXT, filled(b'{"":0},', end=b"0]")), 400),
        "an array of texts": (http(TEXT, filled(b'"",', end=b"0]")), 400),
        "an object of one key again and again": (http(TEXT, filled(b'"a":0,', start=b"{", end=b'"a":0}')), 400),
        "an object of many keys": (http(TEXT, b"{" + b",".join(b'"%d":0' % i for i in range(500_000)) + b"}"), 400),
        "arrays in arrays": (http(TEXT, b"[" * 8 * MIB), 400),
        "objects in objects": (http(TEXT, b'{"a":' * MIB), 400),
        "a text of escapes": (http(TEXT, filled(b"\\u0041", start=b'{"prompt":"', end=b'"}')), 400),
        "a text without an end": (http(TEXT, b'{"prompt":"' + b"a" * 8_000_000), 400),
        "spaces": (http(TEXT, b" " * 8_000_000), 400),
        "an unknown field with a long name": (completion(**{"x" * 4_000_000: 1}), 400),
        "a number of many digits": (http(TEXT, b'{"prompt":' + b"9" * 4_000_000 + b"}"), 400),
        # Fields
        "a long prompt": (completion(prompt="a" * 8_000_000), 400),
        "a prompt of long pieces": (completion(prompt="<extra_id_1>" * 600_000), 400),
        "a prompt of short pieces": (completion(prompt="\U0001f469\u200d\U0001f680" * 4000), 400),
        "a prompt of one letter": (completion(prompt="a" * 20_000), 400),
        "a prompt of many ids": (completion(prompt=[5] * 2_000_000), 400),
        "a prompt of many prompts": (completion(prompt=["a"] * 1_000_000), 400),
        "many stop strings": (completion(stop=["a"] * 1_000_000), 400),
        "a long stop string": (completion(stop="a" * 4_000_000), 400),
        "many stop tokens": (completion(stop_token_ids=[5] * 1_000_000), 400),
        "many biases": (completion(logit_bias={str(i): 1 for i in range(300_000)}), 400),
        "many bad words": (completion(bad_words=["a"] * 1_000_000), 400),
        "a long user": (completion(user="u" * 4_000_000), 400),
        "a long model": (completion(model="m" * 4_000_000), 404),
        "many messages": (chat(messages=[{"role": "user", "content": "a"}] * 200_000), 400),
        "a long role": (chat(messages=[{"role": "r" * 4_000_000, "content": "a"}]), 400),
        "much metadata": (chat(metadata={str(i): "a" for i in range(300_000)}), 400),
        "many tools": (chat(tools=[{"type": "function", "function": {"name": "f"}}] * 80_000), 400),
        "many sentences": (http(NEMO, json.dumps({"sentences": ["a"] * 1_000_000}).encode()), 400),
        "many end strings": (http(NEMO, json.dumps({"sentences": ["a"], "end_strings": ["b"] * 1_000_000}).encode()), 400),
        # Structured outputs. A simulated pipeline takes none: what compiles is refused too.
        "a schema over its limit": (schema({"enum": list(range(500_000))}), 400),
        "a schema of many properties": (schema(properties(28, {})), 400),
        "a schema of bounded numbers": (schema(properties(7, {"type": "integer", "minimum": 7})), 400),
        "a schema of bounded texts": (schema(properties(7, {"minLength": 7})), 400),
        "a schema of patterns": (schema(properties(6, {"pattern": "[^a]{3,9}."})), 400),
        "a schema of exceptions": (schema({"anyOf": [{**properties(1, {}), "additionalProperties": {}}] * 12}), 400),
        "a schema of alternatives": (schema({"anyOf": [{"anyOf": [{}] * 250}] * 60}), 400),
        "a schema of schemas": (schema(functools.reduce(lambda inner, _: {"anyOf": [inner, inner]}, range(12), {})), 400),
        "a schema of values": (schema({"enum": list(range(10_000))}), 400),
        "a schema of places": (schema({"prefixItems": [{"prefixItems": [{}] * 60}] * 60}), 400),
        "an expression over its limit": (completion(guided_regex="(a|b)" * 400_000), 400),
        "an expression of groups": (completion(guided_regex="(a|b)" * 12_000), 400),
        "an expression of classes": (completion(guided_regex="[^a]" * 16_000), 400),
        "an expression of dots": (completion(guided_regex="." * 65_000), 400),
        "an expression of nothing": (completion(guided_regex="|" * 65_000), 400),
        "an expression of repetitions": (completion(guided_regex="(a{1,9}){2,8}" * 4_900), 400),
        "an expression that repeats repeats": (completion(guided_regex="((((a{99}){99}){99}){99}){99}"), 400),
        "an expression that is none": (completion(guided_regex="foo**("), 400),
        "a grammar of rules": (completion(guided_grammar="".join(f'r{i} ::= "a"\n' for i in range(4500)) + "root ::= r1"), 400),
        "a grammar of classes": (completion(guided_grammar="root ::= " + "|".join(["[^a]"] * 13_000)), 400),
        "a grammar of itself": (completion(guided_grammar="root ::= root root | root"), 400),
        "choices over their limit": (completion(guided_choice=["a" * 8] * 300_000), 400),
        "many choices": (completion(guided_choice=[f"{i:08}" for i in range(4096)]), 400),
        # HTTP
        "a million chunks of a byte": (as_chunks(small + b" " * (1_000_000 - len(small))), 200),
        "long chunk headers": (http(TEXT, b"1;" + b"x" * MIB, b"Transfer-Encoding: chunked"), 400),
        "many trailers": (as_chunks(small, len(small))[:-2] + b"X: y\r\n" * 200_000 + b"\r\n", 400),
        "a body over the limit": (http(TEXT, b"x" * 100, b"Content-Length: 99999999"), 413),
        "chunks over the limit": (as_chunks(b" " * 10 * MIB, MIB), 413),
        "a bomb of gzip": (http(TEXT, gzip.compress(b" " * 100 * MIB), b"Content-Encoding: gzip", b"Content-Length: 102000"), 415),
        "a long path": (b"GET /" + b"a" * MIB, (400, 414, 431)),
        "a long query": (b"GET /v1/models?" + b"a" * MIB, (400, 414, 431)),
        "a long header": (b"GET / HTTP/1.1\r\nX: " + b"a" * MIB, 431),
        "many headers": (b"GET / HTTP/1.1\r\n" + b"a:\r\n" * 300_000, 431),
        "empty lines": (b"\r\n" * MIB, 0),
        "lines that end in LF": (b"POST /v1/completions HTTP/1.1\nHost: x\nContent-Length: 0\n\n", 505),
        "a header with a bare CR": (b"GET /v1/models HTTP/1.1\r\nX: a\rb\r\n\r\n", 400),
        "a folded header": (b"GET /v1/models HTTP/1.1\r\nX: a\r\n b\r\n\r\n", (200, 400)),
        "HTTP/0.9": (b"GET /v1/models\r\n\r\n", 400),
        "a body that is not sent to its end": (http(TEXT, b"x" * MIB, b"Content-Length: 2000000"), 0),
        "requests sent ahead": (MODELS * 20_000, 200),
        "bodies that are not followed": ([http(TEXT, b"", b"Content-Length: 8000000", b"Expect: 100-continue")] * 200, 100),
        "headers without an end": ([b"GET / HTTP/1.1\r\nX: " + b"a" * 60_000] * 200, 0),
        "bodies without an end": ([http(TEXT, b"x" * 100_000, b"Content-Length: 8000000")] * 100, 0),
    }


class Exchange:
    """A connection that sends its data, while it reads what comes."""

    def __init__(self, port, data):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
        self.socket.setblocking(False)
        self.unsent = memoryview(data)
        self.received = b""
        self.ended = False

    def step(self, seconds):
        """Goes on as far as it gets; whether it got any further within the time."""
        writing = [self.socket] if self.unsent else []
        readable, writable, _ = select.select([self.socket], writing, [], seconds)
        try:
            if readable:
                piece = self.socket.recv(MIB)
                self.ended = not piece
                self.received += piece[:KIB - len(self.received)]
            if writable:
                self.unsent = self.unsent[self.socket.send(self.unsent):]
        except OSError:
            self.ended = True
        return bool(readable or writable)

    def run(self, until, seconds):
        """Goes on until it ends, or the condition is true, or nothing happens for so long."""
        deadline = time.monotonic() + SECONDS
        while not self.ended and not until() and self.step(seconds):
            assert time.monotonic() < deadline, "it neither ended nor was answered"

    def status(self):
        return int(self.received[9:12]) if self.received else 0


def send(port, datas, is_answered):
    """The statuses of connections that are open together."""
    exchanges = [Exchange(port, data) for data in datas]
    try:
        for exchange in exchanges:
            exchange.run(lambda exchange=exchange: not exchange.unsent, SECONDS)
        if not is_answered:
            exchanges[-1].run(lambda: False, SILENCE)
        for exchange in exchanges if is_answered else []:
            exchange.run(lambda exchange=exchange: exchange.received, SECONDS)
        return {exchange.status() for exchange in exchanges}
    finally:
        for exchange in exchanges:
            exchange.socket.close()


@pytest.fixture(scope="module")
def deployment(tmp_path_factory):
    with Deployment(tmp_path_factory.mktemp("amplification"), backend="simulated") as running:
        yield running


@pytest.mark.parametrize("name", rows())
def test_what_is_sent_costs_what_it_may(deployment, fresh_router, table, name):
    router = fresh_router.get()
    datas, expected = rows()[name]
    datas = datas if isinstance(datas, list) else [datas]
    expected = set(expected) if isinstance(expected, tuple) else {expected}
    port = router.ports()["http_port"]
    growth, statuses = Memory(router.pid).growth(lambda: send(port, datas, expected != {0}))
    assert statuses <= expected
    assert table.add(name, sum(map(len, datas)), growth) < MOST_TIMES
    assert deployment.post("/v1/completions", {"prompt": "hello", "max_tokens": 1}).status_code == 200
    assert all(process.popen.poll() is None for process in [router, *deployment.workers])
