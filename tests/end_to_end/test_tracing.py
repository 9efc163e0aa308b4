"""Traces and the access log of a real router, for every API: what a collector and a JSON parser see."""
import json
import secrets
import socket
import subprocess

import grpc
import pytest
import requests

from end_to_end.clients import channel_to
from end_to_end.collector import Collector, attributes
from end_to_end.deployment import BIN, NANO, Deployment, make_key, metric, status_of

MARKER = "zebra4711"  # in every prompt, and nowhere else
PROMPT = f"Tell me about the {MARKER}."
SECONDS = 60


@pytest.fixture(scope="module")
def collector():
    with Collector() as running:
        yield running


@pytest.fixture(scope="module")
def key():
    return make_key("team")


@pytest.fixture(scope="module")
def served(collector, key, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tracing")
    (folder / "keys.jsonl").write_text(key[1] + "\n")
    flags = ["--api-keys", folder / "keys.jsonl", "--access-log", folder / "access.jsonl",
             "--otlp-endpoint", f"http://127.0.0.1:{collector.port}"]
    with Deployment(folder, router_flags=flags, worker_flags=["--log-level", "debug"]) as running:
        yield running


@pytest.fixture(scope="module")
def channel(served):
    with channel_to(served) as open_channel:
        yield open_channel


def lines_of(served):
    """The access log, by request id; every line is JSON, and there is one a request."""
    lines = [json.loads(line) for line in (served.folder / "access.jsonl").read_text(encoding="utf-8").splitlines()]
    by_id = {line["request_id"]: line for line in lines}
    assert len(by_id) == len(lines), "one line a request"
    return by_id


def line_of(served, request_id):
    return served.router.wait_until(lambda: lines_of(served).get(request_id), f"{request_id} was in the access log")


def http(served, method, path, body, headers):
    response = requests.request(method, served.url + path, json=body, headers=headers, timeout=SECONDS)
    assert response.status_code == 200, response.text
    assert response.headers["x-request-id"] == headers["x-request-id"]


def generate(channel, metadata, **fields):
    from octet.v1 import generation_pb2 as pb
    from octet.v1 import generation_pb2_grpc
    request = pb.GenerateRequest(sampling=pb.SamplingParams(temperature=0, top_p=0.5), stop=pb.StopConditions(max_tokens=4, ignore_eos=True), **fields)
    list(generation_pb2_grpc.GenerationStub(channel).Generate(request, timeout=SECONDS, metadata=list(metadata.items())))


def score(channel, metadata):
    from octet.v1 import generation_pb2 as pb
    from octet.v1 import generation_pb2_grpc
    generation_pb2_grpc.GenerationStub(channel).Score(pb.ScoreRequest(text=PROMPT), timeout=SECONDS, metadata=list(metadata.items()))


CHAT = {"messages": [{"role": "user", "content": PROMPT}], "temperature": 0, "top_p": 0.5, "max_tokens": 4, "ignore_eos": True}
COMPLETION = {"prompt": PROMPT, "temperature": 0, "top_p": 0.5, "max_tokens": 4, "ignore_eos": True}
NEMO = {"sentences": [PROMPT], "tokens_to_generate": 4, "min_tokens_to_generate": 4, "temperature": 0.5, "top_p": 0.5}


def chat_messages():
    from octet.v1 import generation_pb2 as pb
    return pb.ChatPrompt(messages=[pb.ChatMessage(role="user", content=PROMPT)])


# Name: (API, operation, prefix of the response's id, call).
CALLS = {
    "chat": ("openai", "chat", "chatcmpl-", lambda s, c, h: http(s, "POST", "/v1/chat/completions", CHAT, h)),
    "chat stream": ("openai", "chat", "chatcmpl-", lambda s, c, h: http(s, "POST", "/v1/chat/completions", {**CHAT, "stream": True}, h)),
    "completion": ("openai", "text_completion", "cmpl-", lambda s, c, h: http(s, "POST", "/v1/completions", COMPLETION, h)),
    "nemo": ("nemo", "text_completion", "", lambda s, c, h: http(s, "PUT", "/generate", NEMO, h)),
    "Generate": ("grpc", "text_completion", "", lambda s, c, h: generate(c, h, text=PROMPT)),
    "Generate chat": ("grpc", "chat", "", lambda s, c, h: generate(c, h, chat=chat_messages())),
    "Score": ("grpc", "text_completion", "", lambda s, c, h: score(c, h)),
}


def headers_of(key, request_id, **more):
    return {"authorization": f"Bearer {key[0]}", "x-request-id": request_id, **more}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_joins_its_callers_trace_and_tells_the_lead(served, channel, collector, key, name):
    api, operation, id_prefix, call = CALLS[name]
    trace_id, parent_id, request_id = secrets.token_hex(16), secrets.token_hex(8), secrets.token_hex(8)
    call(served, channel, headers_of(key, request_id, traceparent=f"00-{trace_id}-{parent_id}-01", tracestate="congo=t61,rojo=1"))

    root, *parts = sorted(collector.spans_of(trace_id, 4), key=lambda span: (span.parent_span_id.hex() != parent_id, span.start_time_unix_nano))
    assert root.name == f"{operation} nano"
    assert root.parent_span_id.hex() == parent_id and root.trace_state == "congo=t61,rojo=1" and root.flags & 1
    assert [part.name for part in parts] == ["octet.queue", "octet.prefill", "octet.decode"]
    assert all(part.parent_span_id == root.span_id and part.trace_state == root.trace_state for part in parts)
    times = [root.start_time_unix_nano, *(part.end_time_unix_nano for part in parts)]
    assert times == sorted(times) and times[-1] == root.end_time_unix_nano
    assert [part.start_time_unix_nano for part in parts] == times[:-1]

    found = attributes(root)
    expected = {"gen_ai.operation.name": operation, "gen_ai.request.model": "nano", "gen_ai.response.id": id_prefix + request_id,
                "octet.request.id": request_id, "octet.tenant": "team", "client.address": "127.0.0.1"}
    if name != "Score":
        expected |= {"gen_ai.request.max_tokens": 4, "gen_ai.request.top_p": 0.5, "gen_ai.response.finish_reasons": ["length"],
                     "gen_ai.usage.output_tokens": 4, "gen_ai.request.temperature": 0.5 if name == "nemo" else 0.0}
    expected |= {"rpc.system.name": "grpc"} if api == "grpc" else {"http.response.status_code": 200}
    assert {key: found.get(key) for key in expected} == expected
    assert found["gen_ai.usage.input_tokens"] > 5 and "error.type" not in found
    assert attributes(collector.resources[0]) == {"service.name": "octet-router"}

    line = line_of(served, request_id)
    assert (line["api"], line["trace_id"], line["span_id"], line["tenant"], line["model"]) == (
        api, trace_id, root.span_id.hex(), "team", "nano")
    assert line["prompt_tokens"] == found["gen_ai.usage.input_tokens"]
    assert 0 <= line["queue_seconds"] < line["time_to_first_token_seconds"] <= line["seconds"]
    assert line["client"].startswith("127.0.0.1:")
    assert (line.get("grpc_status") or line["http_status"]) == ("OK" if api == "grpc" else 200)

    lead = served.workers[0]
    lead.wait_until(lambda: f"traceparent 00-{trace_id}-{root.span_id.hex()}-01" in lead.log(100_000), "the lead logged the span")


def test_prompts_of_one_request_are_one_span_and_one_line(served, collector, key):
    trace_id, request_id = secrets.token_hex(16), secrets.token_hex(8)
    headers = headers_of(key, request_id, traceparent=f"00-{trace_id}-{secrets.token_hex(8)}-01")
    http(served, "POST", "/v1/completions", {**COMPLETION, "prompt": [PROMPT, PROMPT], "n": 2}, headers)
    spans = collector.spans_of(trace_id, 4)
    assert len(spans) == 4
    line = line_of(served, request_id)
    assert line["output_tokens"] == 16 and line["finish_reasons"] == ["length"] * 4


@pytest.mark.parametrize("traceparent", [None, "00-00000000000000000000000000000000-00f067aa0ba902b7-01", "secret words"])
def test_without_a_valid_traceparent_a_trace_begins(served, collector, key, traceparent):
    request_id = secrets.token_hex(8)
    headers = headers_of(key, request_id, **({"traceparent": traceparent} if traceparent else {}))
    http(served, "POST", "/v1/completions", COMPLETION, headers)
    line = line_of(served, request_id)
    root = next(span for span in collector.spans_of(line["trace_id"], 4) if not span.parent_span_id)
    assert root.span_id.hex() == line["span_id"] and root.trace_state == ""


def test_a_trace_that_is_not_sampled_is_logged_and_not_exported(served, collector, key):
    unsampled, sampled = secrets.token_hex(16), secrets.token_hex(16)
    for trace_id, flags in ((unsampled, "00"), (sampled, "01")):
        request_id = secrets.token_hex(8)
        http(served, "POST", "/v1/completions", COMPLETION,
             headers_of(key, request_id, traceparent=f"00-{trace_id}-{secrets.token_hex(8)}-{flags}"))
        assert line_of(served, request_id)["trace_id"] == trace_id
    collector.spans_of(sampled, 4)  # spans come in order
    assert not [span for span in collector.spans if span.trace_id.hex() == unsampled]


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/nano", "/v1/tokenizer_info", "/tokenizer_info"])
def test_what_generates_nothing_is_its_apis_in_the_log(served, key, path):
    request_id = secrets.token_hex(8)
    assert requests.get(served.url + path, headers=headers_of(key, request_id), timeout=SECONDS).status_code == 200
    line = line_of(served, request_id)
    assert (line["api"], line["path"], line["http_status"]) == ("openai", path, 200)
    assert "output_tokens" not in line


REFUSED = [  # method, path, body, with the key, (status, error, reason, tenant)
    ("POST", "/v1/completions", json.dumps(COMPLETION), False, (401, "UNAUTHENTICATED", None, None)),
    ("POST", "/v1/completions", json.dumps({**COMPLETION, "temperature": -1}), True, (400, "INVALID_ARGUMENT", "temperature", "team")),
    ("POST", "/v1/chat/completions", "{" + MARKER, True, (400, "INVALID_ARGUMENT", None, "team")),
    ("PUT", "/generate", json.dumps({**NEMO, "tokens_to_generate": -1}), True, (400, "INVALID_ARGUMENT", None, "team")),
    ("POST", "/v1/tokenize", json.dumps({"prompt": 7}), True, (400, "INVALID_ARGUMENT", "prompt", "team")),
    ("GET", "/v1/models/other", "", True, (404, "NOT_FOUND", None, "team")),
    # Refused before anyone asks for a key.
    ("GET", "/nowhere", "", True, (404, "404", None, None)),
    ("DELETE", "/generate", "", True, (405, "405", None, None)),
    ("GET", "/" + 256 * "x" + MARKER, "", True, (404, "404", None, None)),
    ("POST", "/v1/completions", "x" * (9 << 20), True, (413, "413", None, None)),
]


@pytest.mark.parametrize("method, path, body, with_key, expected", REFUSED)
def test_a_refused_request_is_logged_too(served, key, method, path, body, with_key, expected):
    request_id = secrets.token_hex(8)
    headers = headers_of(key, request_id) if with_key else {"x-request-id": request_id}
    try:
        requests.request(method, served.url + path, data=body, headers={**headers, "Content-Type": "application/json"}, timeout=SECONDS)
    except requests.ConnectionError:
        assert expected[0] == 413, "only this one may end before the body is sent"
    line = line_of(served, request_id)
    assert (line["http_status"], line["error"], line.get("error_reason"), line.get("tenant")) == expected
    assert (line["method"], line["path"]) == (method, path if len(path) <= 256 else path[:256] + "...")
    assert "output_tokens" not in line


def test_what_is_no_http_is_logged_with_what_could_be_read(served):
    before = len(lines_of(served))
    with socket.create_connection(("127.0.0.1", served.router.ports()["http_port"]), timeout=SECONDS) as connection:
        connection.sendall(b'GET /"\xff\\x HTTP/1.1\r\nbad header\r\n\r\n')
        assert connection.recv(65536).startswith(b"HTTP/1.1 400 ")
    served.router.wait_until(lambda: len(lines_of(served)) > before, "it was logged")
    assert list(lines_of(served).values())[-1]["http_status"] == 400


def test_grpc_calls_that_fail_or_generate_nothing_are_logged(served, channel, key):
    from octet.v1 import generation_pb2 as pb
    from octet.v1 import generation_pb2_grpc
    stub = generation_pb2_grpc.GenerationStub(channel)

    def end(call, request, request_id, with_key=True):
        metadata = list(headers_of(key, request_id).items()) if with_key else [("x-request-id", request_id)]
        try:
            answer = call(request, timeout=SECONDS, metadata=metadata)
            list(answer) if call is stub.Generate else None
        except grpc.RpcError:
            pass
        return line_of(served, request_id)

    line = end(stub.Tokenize, pb.TokenizeRequest(text=PROMPT), "tokenize")
    assert (line["path"], line["grpc_status"], line["tenant"]) == ("/octet.v1.Generation/Tokenize", "OK", "team")
    assert end(stub.ListModels, pb.ListModelsRequest(), "models")["grpc_status"] == "OK"
    assert end(stub.ListModels, pb.ListModelsRequest(), "keyless", with_key=False)["error"] == "UNAUTHENTICATED"
    line = end(stub.Generate, pb.GenerateRequest(text=PROMPT, n=0), "invalid")
    assert (line["grpc_status"], line["error"], line["error_reason"]) == ("INVALID_ARGUMENT", "INVALID_ARGUMENT", "n")
    line = end(stub.Generate, pb.GenerateRequest(text=PROMPT, request_id=f"{MARKER} !"), "")
    assert (line["error"], line["error_reason"]) == ("INVALID_ARGUMENT", "request_id"), "an id that may be anything stays out"


def test_a_client_that_leaves_its_stream_is_logged_with_what_it_got(served, channel, collector, key):
    from octet.v1 import generation_pb2 as pb
    from octet.v1 import generation_pb2_grpc
    trace_id = secrets.token_hex(16)
    headers = headers_of(key, "left-http", traceparent=f"00-{trace_id}-{secrets.token_hex(8)}-01")
    endless = {"prompt": PROMPT, "max_tokens": 3000, "ignore_eos": True, "stream": True}
    with requests.post(served.url + "/v1/completions", json=endless, headers=headers, stream=True, timeout=SECONDS) as response:
        next(response.iter_lines())
    line = line_of(served, "left-http")
    assert (line["http_status"], line["error"]) == (200, "CANCELLED")
    assert 0 < line["output_tokens"] < 3000 and line["finish_reasons"] == []
    root = next(span for span in collector.spans_of(trace_id, 4) if span.kind == span.SPAN_KIND_SERVER)
    assert attributes(root)["error.type"] == "CANCELLED"

    request = pb.GenerateRequest(text=PROMPT, stop=pb.StopConditions(max_tokens=3000, ignore_eos=True))
    stream = generation_pb2_grpc.GenerationStub(channel).Generate(request, timeout=SECONDS, metadata=list(headers_of(key, "left-grpc").items()))
    next(stream)
    stream.cancel()
    line = line_of(served, "left-grpc")
    assert line["grpc_status"] == line["error"] == "CANCELLED" and 0 < line["output_tokens"] < 3000


def test_a_log_that_was_renamed_is_begun_anew(served, key):
    log = served.folder / "access.jsonl"
    log.rename(served.folder / "access.jsonl.1")
    http(served, "POST", "/v1/completions", COMPLETION, headers_of(key, "after-rotation"))
    served.router.wait_until(log.exists, "there was a new log")
    assert line_of(served, "after-rotation")["http_status"] == 200


def test_no_prompt_and_no_key_is_in_any_span_or_log(served, collector, key):
    assert len(collector.spans) > 20
    logs = [path for path in served.folder.iterdir() if path.suffix in (".log", ".jsonl", ".1") and path.name != "keys.jsonl"]
    assert len(logs) >= 4
    texts = [path.read_text(encoding="utf-8") for path in logs] + [str(span) for span in collector.spans]
    assert not [text for text in texts if MARKER in text or key[0] in text or "secret words" in text]
    assert served.router_metric("octet_exported_spans_total") == len(collector.spans)
    assert served.router_metric("octet_dropped_spans_total") == served.router_metric("octet_lost_access_log_lines_total") == 0


def test_without_a_collector_and_on_a_full_disk_requests_are_served_and_losses_counted(served):
    flags = served.router_flags
    served.router_flags = ["--access-log", "/dev/full", "--otlp-endpoint", "http://127.0.0.1:1"]
    try:
        router = served.start_router("unlucky")
    finally:
        served.router_flags = flags
    ports = router.ports()
    router.wait_until(lambda: status_of(f"http://127.0.0.1:{ports['metrics_port']}/ready") == 200, "it was ready")
    for _ in range(3):
        answer = requests.post(f"http://127.0.0.1:{ports['http_port']}/v1/completions", json=COMPLETION, timeout=SECONDS)
        assert answer.status_code == 200
    for name, number in (("octet_lost_access_log_lines_total", 3), ('octet_dropped_spans_total{reason="export"}', 12)):
        router.wait_until(lambda name=name, number=number: metric(ports["metrics_port"], name) == number, f"{name} was {number}")
    assert router.stop() == 0


def test_opentelemetrys_environment_is_heeded_where_no_flag_says_otherwise(monkeypatch, tmp_path):
    command = [BIN / "octet-router", "--tokenizer", NANO / "tokenizer.model", "--pipeline", "127.0.0.1:1", "--host", "127.0.0.1",
               "--grpc-port", "0", "--http-port", "0", "--metrics-port", "0"]
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://from-environment:x")
    for flags, expected in (([], "from-environment:x"), (["--otlp-endpoint", "http://from-flag:x"], "from-flag:x")):
        ended = subprocess.run([*command, *flags], capture_output=True, text=True, timeout=SECONDS)
        assert ended.returncode == 1 and f"--otlp-endpoint: 'http://{expected}' has no port" in ended.stderr
