"""The model card's way: its Python client, its readiness loop, and NeMo's PUT /generate as they use it."""
import pathlib
import subprocess
import sys

import pytest
import requests

from end_to_end.clients import END, nemo_body, text_of
from end_to_end.deployment import Process, BIN, NANO

CLIENT = pathlib.Path(__file__).parent / "call_server.py"


def test_the_cards_client_prints_the_golden_poem(deployment, golden):
    port = deployment.router.ports()["http_port"]
    result = subprocess.run([sys.executable, CLIENT, "127.0.0.1", str(port)], capture_output=True, text=True, timeout=60)
    assert result.stderr == ""
    assert result.stdout == text_of(golden[0]) + "\n"


def test_the_cards_readiness_loop_ends(deployment):
    result = subprocess.run(["curl", "-X", "PUT", deployment.url], capture_output=True, timeout=30)
    assert result.returncode == 0


def test_the_cards_readiness_loop_waits_while_no_pipeline_is_ready(tmp_path):
    router = Process("router", tmp_path, [
        BIN / "octet-router", "--tokenizer", NANO / "tokenizer.model", "--pipeline", "127.0.0.1:1", "--host", "127.0.0.1",
        "--grpc-port", 0, "--http-port", 0, "--metrics-port", 0])
    try:
        metrics = f"http://127.0.0.1:{router.metrics_port()}"
        assert requests.get(metrics + "/live", timeout=5).status_code == 200
        assert requests.get(metrics + "/ready", timeout=5).status_code == 503
        assert requests.get(metrics + "/metrics", timeout=5).status_code == 200
        assert not router.port_path.exists(), "the API ports are open without a pipeline"
    finally:
        assert router.stop() == 0


def test_all_sentences_of_a_batch_are_answered_in_order(deployment, golden):
    cases = (golden * 2)[:128]
    body = nemo_body(golden[0], sentences=[case["prompt"] for case in cases])
    assert deployment.generate(body).json()["sentences"] == [case["prompt"] + case["output"] for case in cases]


def test_response_has_all_of_nemos_fields(deployment, golden):
    case = golden[1]
    reply = deployment.generate(nemo_body(case, compute_logprob=True)).json()
    ids = case["prompt_ids"] + case["output_ids"]
    assert sorted(reply) == ["logprob", "offsets", "sentences", "token_ids", "tokens"]
    assert reply["sentences"] == [case["prompt"] + case["output"]]
    assert reply["token_ids"] == [ids]
    assert len(reply["tokens"][0]) == len(reply["offsets"][0]) == len(ids)
    assert reply["tokens"][0][-1] == END
    assert reply["offsets"][0][0] == 0
    assert reply["logprob"][0] == pytest.approx(case["logprobs"], abs=2e-3)


def test_logprob_is_null_when_not_asked_for(deployment, golden):
    assert deployment.generate(nemo_body(golden[1])).json()["logprob"] is None


def test_reply_is_sorted_compact_ascii_with_a_newline(deployment, golden):
    case = golden[1]
    text = deployment.generate(nemo_body(case, sentences=["héllo"], tokens_to_generate=1)).text
    assert text.startswith('{"logprob":null,"offsets":[[0,')
    assert text.endswith("}\n")
    assert text.isascii()
    assert "h\\u00e9llo" in text


def test_a_seed_repeats_a_sampled_answer(deployment, golden):
    body = nemo_body(golden[0], greedy=False, temperature=3.0, random_seed=5, tokens_to_generate=16)
    replies = [deployment.generate(body).json()["sentences"] for _ in range(2)]
    other = deployment.generate(body | {"random_seed": 6}).json()["sentences"]
    assert replies[0] == replies[1] != other


@pytest.mark.parametrize("change, status, message", [
    ({"tokens_to_generate": 0}, 400, "tokens_to_generate must be an integer greater than 0"),
    ({"tokens_to_generate": "1"}, 400, "tokens_to_generate must be an integer greater than 0"),
    ({"all_probs": 1}, 400, "all_probs must be a boolean value"),
    ({"temperature": 0}, 400, "temperature must be a positive number less than or equal to 100.0"),
    ({"temperature": True}, 400, "temperature must be a positive number less than or equal to 100.0"),
    ({"add_BOS": "no"}, 400, "add_BOS must be a boolean value"),
    ({"greedy": None}, 400, "greedy must be a boolean value"),
    ({"top_k": -1}, 400, "top_k must be a positive integer number"),
    ({"top_p": 1.1}, 400, "top_p must be a positive number less than or equal to 1.0"),
    ({"repetition_penalty": 0.5}, 400, "repetition_penalty must be a positive number no less than 1.0"),
    ({"end_strings": "x"}, 400, "expect end_strings to be a list of strings"),
    ({"end_strings": [1]}, 400, "expect end_strings to be a list of strings"),
    ({"min_tokens_to_generate": -1}, 400, "min_tokens_to_generate must be an integer no less than 0"),
    ({"compute_logprob": 0}, 400, "compute_logprob must be a boolean value"),
    ({"random_seed": -1}, 400, "random_seed must be a positive integer number or None"),
    ({"sentences": ["a"] * 129}, 400, "Maximum number of sentences is 128"),
])
def test_validation_says_what_nemo_says(deployment, golden, change, status, message):
    response = deployment.generate(nemo_body(golden[1], **change))
    assert (response.status_code, response.json()) == (status, message)
    assert response.text == f'"{message}"\n'


def test_an_unknown_key_is_refused_by_name(deployment, golden):
    response = deployment.generate(nemo_body(golden[1], beam_width=4))
    assert response.status_code == 400
    assert "beam_width" in response.json()
