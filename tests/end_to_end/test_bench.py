"""octet-bench against a real deployment: every API gives right answers under load, and a wrong one is told."""
import json
import subprocess
import sys

import pytest

from end_to_end.deployment import BIN, ROOT

PROMPTS = ROOT / "tools" / "bench" / "prompts" / "nano.jsonl"


def bench(deployment, *flags, api="grpc"):
    target = deployment.grpc_target if api == "grpc" else deployment.url.removeprefix("http://")
    return subprocess.run([BIN / "octet-bench", "--api", api, "--target", target, *map(str, flags)], text=True,
                          capture_output=True, timeout=240)


@pytest.mark.parametrize("api", ["grpc", "openai", "nemo"])
@pytest.mark.parametrize("load", [("--clients", 16), ("--rate", 300, "--seed", 5)], ids=["closed", "open"])
def test_no_answer_is_wrong(deployment, tmp_path, api, load):
    figures_path = tmp_path / "figures.json"
    result = bench(deployment, "--prompts", PROMPTS, "--requests", 144, *load, "--json", figures_path, api=api)
    assert result.returncode == 0, result.stdout + result.stderr
    figures = json.loads(figures_path.read_text())
    assert (figures["requests"], figures["verified"], figures["wrong"], figures["failed"]) == (144, 144, 0, 0)
    assert figures["output_tokens"] == 2 * 1057
    assert figures["end_to_end_seconds"]["count"] == 144
    assert figures["ttft_seconds"]["count"] == (0 if api == "nemo" else 144)


def test_tells_a_wrong_answer(deployment, tmp_path):
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text('{"prompt": "hello", "expected": "not this", "max_tokens": 2}\n')
    result = bench(deployment, "--prompts", prompts)
    assert result.returncode == 1
    assert "wrong answer to the prompt in line 1" in result.stdout


def test_tells_a_refused_request(deployment, tmp_path):
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text('{"prompt": "hello", "max_tokens": 100000}\n')
    result = bench(deployment, "--prompts", prompts)
    assert result.returncode == 1
    assert "INVALID_ARGUMENT" in result.stdout


def test_prints_the_step_overhead_and_memory(deployment):
    lead = deployment.workers[0]
    url = f"http://127.0.0.1:{lead.ports()['metrics_port']}/metrics"
    result = bench(deployment, "--prompts", PROMPTS, "--clients", 8, "--scrape", url, "--watch-pid", lead.pid)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "octet_step_overhead_seconds" in result.stdout
    assert f"octet-worker ({lead.pid})" in result.stdout


def test_two_routers_and_three_pipelines_answer_every_api_rightly():
    figures = subprocess.run([sys.executable, ROOT / "tools" / "bench" / "router" / "figures.py", "cluster", "--requests", "300",
                              "--bin", BIN], text=True, capture_output=True, timeout=240)
    assert figures.returncode == 0, figures.stdout + figures.stderr
    rows = [line.split(" | ") for line in figures.stdout.splitlines() if "300 | 300 | 0 | 0" in line]
    assert len(rows) == 6
