"""Greedy answers to held-out questions: whole tokens of quality that a weight format may cost, over real processes."""
import concurrent.futures
import functools
import json

import pytest

from end_to_end.deployment import ROOT, Deployment

GOLDEN = ROOT / "tests" / "golden"
ONE_POINT = 4  # answers of 400


@pytest.fixture(scope="session")
def right_answers(tmp_path_factory):
    """right_answers(weights): how many of the held-out questions the nano model answers right, asked once a format."""
    rows = [json.loads(line) for line in (GOLDEN / "heldout.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 400

    @functools.cache
    def count(weights):
        with Deployment(tmp_path_factory.mktemp(weights), worker_flags=("--weights", weights)) as running:
            def is_right(row):
                body = {"prompt": row["prompt"], "temperature": 0, "max_tokens": 100, "stop": ["<extra_id_1>"]}
                return running.post("/v1/completions", body).json()["choices"][0]["text"].strip() == row["answer"]
            with concurrent.futures.ThreadPoolExecutor(max_workers=24) as pool:
                return sum(pool.map(is_right, rows))

    return count


def test_bf16_is_within_a_point_of_transformers(right_answers):
    expected = json.loads((GOLDEN / "eval.json").read_text(encoding="utf-8"))["right"]
    assert abs(right_answers("bf16") - expected) <= ONE_POINT


@pytest.mark.parametrize("weights", ["int8", "fp8"])
def test_eight_bit_weights_are_within_a_point_of_bf16(right_answers, weights):
    assert abs(right_answers(weights) - right_answers("bf16")) <= ONE_POINT
