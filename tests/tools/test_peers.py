"""tools/bench/peers: what needs neither llama.cpp nor a model. The rest runs by hand."""
import http.server
import importlib.util
import json
import pathlib
import sys
import threading

import pytest

PEERS = pathlib.Path(__file__).resolve().parents[2] / "tools" / "bench" / "peers"


def load_module(name):
    """A module of the folder, whose modules import each other by their bare names."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, PEERS / f"{name}.py")
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


cases = load_module("cases")
load = load_module("load")
PEAKS = {"read_bytes_per_second": 100.0, "bf16_flops": 1000.0, "int8_ops": 2000.0, "fma_flops": 500.0}
MATRICES = cases.Matrices(layers=900, head=100)


def row(name):
    return next(row for row in cases.ROWS if row.name == name)


def test_tokens_are_those_of_the_stage_driver():
    assert cases.token_at(0, 0, 32000) == 300
    assert cases.token_at(3, 5, 32000) == 300 + (3 * 7919 + 5 * 104729) % 31700


def test_one_sequence_is_bound_by_reading_and_a_prompt_by_arithmetic():
    assert cases.least_seconds(row("decode, batch 1"), "octet", "bf16", MATRICES, PEAKS) == (20, "read")
    # 512 rows through the layers, one through the head.
    assert cases.least_seconds(row("prefill 512"), "octet", "bf16", MATRICES, PEAKS) == (2 * (900 * 512 + 100) / 1000, "bf16")
    assert cases.least_seconds(row("prefill 512"), "llama", "int8", MATRICES, PEAKS)[1] == "int8"


def test_a_machine_without_an_instruction_is_measured_by_its_fma():
    assert cases.least_seconds(row("prefill 512"), "octet", "bf16", MATRICES, PEAKS | {"bf16_flops": 0.0})[1] == "fma"


def test_a_step_at_the_peak_is_a_share_of_one():
    assert cases.share(row("decode, batch 1"), "octet", "bf16", 1 / 20, MATRICES, PEAKS) == (pytest.approx(1), "read")


def test_quantiles_are_values_that_occurred():
    values = list(range(1, 65))
    assert load.quantile(values, 0.5) == 32
    assert load.quantile(values, 0.99) == 64
    assert load.quantile([7], 0.5) == 7


class FakeApi(http.server.BaseHTTPRequestHandler):
    """Streams as many chunks as max_tokens, or one fewer where the prompt begins with the token of sequence 2."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        count = body["max_tokens"] - (body["prompt"][0] == cases.token_at(2, 0, 32000))
        self.send_response(200)
        self.end_headers()
        for _ in range(count):
            self.wfile.write(b'data: {"choices": [{"text": "a"}]}\n\n')
        usage = {"choices": [], "usage": {"prompt_tokens": len(body["prompt"]), "completion_tokens": count}}
        self.wfile.write(b"data: " + json.dumps(usage).encode() + b"\n\ndata: [DONE]\n\n")

    def log_message(self, *arguments):
        pass


@pytest.fixture
def port():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), FakeApi) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_the_load_counts_every_answer(port):
    figures = load.run_load(port, clients=2, requests=2, prompt_tokens=3, output_tokens=4, vocabulary=32000)
    assert figures["tokens_per_second"] > 0
    assert 0 < figures["ttft_p50"] <= figures["ttft_p99"] <= figures["seconds"]


def test_an_answer_of_another_length_ends_the_load(port):
    with pytest.raises(RuntimeError, match="not 3 and 4"):
        load.run_load(port, clients=2, requests=4, prompt_tokens=3, output_tokens=4, vocabulary=32000)
