"""Nothing that a client sends gets more than a clear refusal, and the next client is served as ever."""
import json
import socket

import pytest
import requests

from end_to_end.clients import generate_request, grpc_generate, text_of

CHAT = "/v1/chat/completions"
TEXT = "/v1/completions"
MIB = 1 << 20


@pytest.fixture(autouse=True)
def still_serving(deployment, channel, golden):
    """Every test here ends with a right answer to another client, and with the same processes."""
    processes = [deployment.router, *deployment.workers]
    yield
    assert grpc_generate(channel, generate_request(golden[1]))[0].text == text_of(golden[1])
    assert all(process.popen.poll() is None for process in processes)


def send(deployment, data, path=TEXT, method="POST", content_type="application/json"):
    return requests.request(method, deployment.url + path, data=data, headers={"Content-Type": content_type}, timeout=60)


def send_raw(deployment, data, timeout=30):
    """Sends bytes on a new connection; what comes back until the server closes, or a whole short answer."""
    with socket.create_connection(("127.0.0.1", deployment.router.ports()["http_port"]), timeout=timeout) as connection:
        try:
            connection.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass  # refused before it had read everything
        received = b""
        try:
            while piece := connection.recv(65536):
                received += piece
                head, blank, body = received.partition(b"\r\n\r\n")
                length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
                if blank and length and len(body) >= int(length[0].split(b":")[1]):
                    break
        except ConnectionResetError:
            pass
        return received


def is_refusal(answer):
    """Closed without a word, or a 4xx, or "not implemented" or "version not supported"."""
    return answer == b"" or answer[9:10] == b"4" or answer[9:12] in (b"501", b"505")


def completion(**fields):
    return json.dumps({"prompt": "hello", "max_tokens": 1, **fields})


def refused(response, field, status=400):
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert field in error["message"], error
    return error


@pytest.mark.parametrize("field, value", [
    ("temperature", -1), ("temperature", 100.5), ("temperature", "1"), ("temperature", True), ("temperature", [1]),
    ("top_p", 0), ("top_p", 1.5), ("top_p", {}), ("top_k", -2), ("top_k", 1.5), ("min_p", 2),
    ("repetition_penalty", 0), ("presence_penalty", 2.5), ("frequency_penalty", -2.5),
    ("max_tokens", 0), ("max_tokens", -1), ("max_tokens", 2**31), ("max_tokens", 2**64), ("max_tokens", 1.5), ("max_tokens", 1.0),
    ("max_tokens", "1"), ("max_tokens", 4096), ("min_tokens", -1), ("min_tokens", 2),
    ("n", 0), ("n", 129), ("n", 2**63), ("n", "2"), ("logprobs", 21), ("logprobs", -1),
    ("stop", ""), ("stop", [""]), ("stop", ["a"] * 17), ("stop", ["a" * 257]), ("stop", [1]), ("stop", 7),
    ("stop_token_ids", [1600]), ("stop_token_ids", [-1]), ("stop_token_ids", ["a"]),
    ("logit_bias", {"a": 1}), ("logit_bias", {"1600": 1}), ("logit_bias", {"1": 101}), ("logit_bias", [1]),
    ("seed", 2**64), ("seed", -2**63 - 1), ("seed", 1.5), ("seed", "1"), ("stream", 1), ("stream", "true"),
    ("echo", 1), ("model", 1),
    ("prompt", ""), ("prompt", []), ("prompt", [1600]), ("prompt", [-1]), ("prompt", [1.5]), ("prompt", 3), ("prompt", None),
    ("prompt", {}), ("prompt", "word " * 4096), ("frobnicate", 1), ("Temperature", 1), ("best_of", 129), ("suffix", "x"),
    ("request_id", "a\nb"), ("user", "u" * 257),
], ids=lambda value: str(value)[:20])
def test_every_bad_field_of_a_completion_is_named(deployment, field, value):
    refused(send(deployment, completion(**{field: value})), field)


@pytest.mark.parametrize("prompt", [" ", "\n", "\0", "\x01\x7f\x80", "\u202e\u200d\ufeff", "</s>", "\U0010ffff"], ids=ascii)
def test_a_prompt_of_odd_characters_is_a_prompt(deployment, prompt):
    assert send(deployment, completion(prompt=prompt)).status_code == 200


@pytest.mark.parametrize("messages", [
    None, [], "hello", {}, [1], [{}], [{"role": "user"}], [{"content": "a"}], [{"role": "root", "content": "a"}],
    [{"role": "user", "content": 1}], [{"role": "user", "content": "a", "frobnicate": 1}],
    [{"role": "user", "content": "a"}] * 1025, [{"role": "assistant", "content": "a"}, {"role": "system", "content": "a"}],
], ids=lambda value: str(value)[:40])
def test_bad_messages_of_a_chat_are_named(deployment, messages):
    refused(send(deployment, json.dumps({"messages": messages, "max_tokens": 1}), CHAT), "messages")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400", "-1e400", "nan", "0x1", "1.", ".5", "+1", "01"])
def test_numbers_that_are_none_are_refused(deployment, number):
    refused(send(deployment, '{"prompt": "a", "max_tokens": 1, "temperature": %s}' % number), "")


@pytest.mark.parametrize("body", [
    b"", b" ", b"{", b'{"prompt": "a"', b'{"prompt": "a"}x', b"[]", b"null", b'"prompt"', b"\x00", b'{"prompt": "a",}',
    b"{'prompt': 'a'}", b'\xef\xbb\xbf{"prompt": "a"}', b'{"prompt": "\xff"}', b'{"prompt": "\xc0\xaf"}',
    b'{"prompt": "\xed\xa0\x80"}', b'{"prompt": "\\ud800"}', b'{"prompt": "\\x"}', b'{"prompt": "a\n"}',
    b'{"prompt": ' + b"[" * 101 + b"]" * 101 + b"}", b"[" * 250_000, b'{"a":' * 250_000,
], ids=lambda body: str(body)[:40])
def test_broken_json_and_utf8_are_refused(deployment, body):
    assert send(deployment, body).status_code == 400
    assert send(deployment, body, CHAT).status_code == 400
    assert send(deployment, body, "/generate", "PUT").status_code in (400, 500)  # NeMo: 500 for no object


def test_the_last_of_duplicate_keys_counts(deployment):
    assert send(deployment, '{"prompt": "a", "max_tokens": -1, "max_tokens": 1}').status_code == 200
    refused(send(deployment, '{"prompt": "a", "max_tokens": 1, "max_tokens": -1}'), "max_tokens")


def test_prompt_and_max_tokens_past_the_context_name_both(deployment):
    error = refused(send(deployment, json.dumps({"prompt": [10] * 4000, "max_tokens": 97})), "max_tokens")
    assert "4096" in error["message"] and "4000" in error["message"]


def test_body_over_the_limit_is_refused_with_and_without_its_length(deployment):
    body = completion(prompt="x" * (9 * MIB)).encode()
    head = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    told = send_raw(deployment, head + b"Content-Length: %d\r\n\r\n" % len(body))
    assert told.startswith(b"HTTP/1.1 413 ")
    chunks = b"".join(b"100000\r\n%s\r\n" % body[at:at + MIB] for at in range(0, 8 * MIB, MIB))
    untold = send_raw(deployment, head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"100000\r\n" + b"x" * MIB)
    assert untold == b"" or untold.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("head", [
    b"Content-Length: -1", b"Content-Length: 99999999999999999999", b"Content-Length: 1\r\nContent-Length: 2",
    b"Content-Length: 1x", b"Content-Length: 5\r\nTransfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked, gzip",
    b"Bad Header: x", b": x", b"X: a\x00b", b"X: " + b"a" * 70_000, b"\r\n".join(b"X-%d: a" % i for i in range(10_000)),
], ids=lambda head: str(head)[:40])
def test_bad_headers_are_refused(deployment, head):
    answer = send_raw(deployment, b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" + head +
                      b"\r\n\r\n{}")
    assert is_refusal(answer)


@pytest.mark.parametrize("data", [
    b"GET\r\n\r\n", b"\r\n\r\n\r\n", b"\x00" * 1000, b"GET / HTTP/9.9\r\n\r\n", b"GET /" + b"a" * MIB + b" HTTP/1.1\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"get / http/1.1\n\n", b"A" * 70_000,
], ids=lambda data: str(data)[:40])
def test_what_is_not_http_is_refused(deployment, data):
    answer = send_raw(deployment, data + b"\r\n\r\n")
    assert is_refusal(answer)


@pytest.mark.parametrize("chunk", [b"FFFFFFFFFFFFFFFF\r\nx", b"-1\r\nx", b"zz\r\nx", b"10000000000000000\r\nx"])
def test_bad_chunk_sizes_are_refused(deployment, chunk):
    answer = send_raw(deployment, b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                      b"Transfer-Encoding: chunked\r\n\r\n" + chunk + b"\r\n0\r\n\r\n")
    assert is_refusal(answer)


def test_a_million_chunks_of_a_byte_are_one_body(deployment):
    body = completion(prompt="hello", user="u" * 20).encode() + b" " * 300_000
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body)
    answer = send_raw(deployment, b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                      b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n", timeout=60)
    assert answer.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 400 ")), answer[:200]


@pytest.mark.parametrize("method, path, status", [
    ("GET", "/nothing", 404), ("PUT", "/", 405), ("POST", "/v2/completions", 404), ("GET", "/v1/completions", 405),
    ("DELETE", "/v1/models", 405), ("POST", "/generate", 405), ("GET", "/metrics", 404), ("GET", "/admin", 404),
    ("GET", "/v1/../v1/models", 404), ("GET", "/%2e%2e/etc/passwd", 404), ("GET", "//v1/models", 404),
    ("GET", "/v1/models%00", 404), ("FROB", "/v1/models", 405),
])
def test_unknown_paths_and_methods_are_refused(deployment, method, path, status):
    answer = send_raw(deployment, f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:200]


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "FROB", "get"])
def test_no_method_harms_any_path(deployment, method):
    for path in ("/", "/openapi.json", "/generate", TEXT, CHAT, "/v1/models", "/v1/models/nano", "/v1/tokenize", "/tokenize", "/*"):
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        status = int(send_raw(deployment, head.encode())[9:12])
        if method in ("GET", "HEAD", "OPTIONS"):
            assert status in (200, 204, 404, 405), path
        else:
            assert status in (400, 404, 405, 415), path


def test_put_generate_takes_json_only(deployment):
    response = send(deployment, "{}", "/generate", "PUT", content_type="text/plain")
    assert (response.status_code, response.json()["message"]) == (
        415, "Did not attempt to load JSON data because the request Content-Type was not 'application/json'.")


def test_pipelined_requests_are_answered_in_order(deployment):
    body = completion(temperature=0).encode()
    request = (b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
               % (len(body), body))
    models = b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n"
    last = b"GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", deployment.router.ports()["http_port"]), timeout=60) as connection:
        connection.sendall(request * 20 + models * 1000 + last)
        received = b""
        while piece := connection.recv(65536):
            received += piece
    assert received.count(b"HTTP/1.1 200 ") == 1020
    assert received.count(b"HTTP/1.1 404 ") == 1


def test_a_client_that_stops_in_the_middle_is_forgotten(deployment):
    for part in (b"POST", b"POST /v1/completions HTTP/1.1\r\nHost: x\r\n",
                 b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"):
        with socket.create_connection(("127.0.0.1", deployment.router.ports()["http_port"]), timeout=30) as connection:
            connection.sendall(part)


def test_prompts_are_not_logged(deployment):
    secret = "Xyzzy-prompt-text"
    assert send(deployment, completion(prompt=secret)).status_code == 200
    assert send(deployment, completion(prompt=secret, temperature=-1)).status_code == 400
    assert send(deployment, '{"prompt": "%s' % secret).status_code == 400
    for process in [deployment.router, *deployment.workers]:
        assert secret not in process.log_path.read_text(errors="replace")
