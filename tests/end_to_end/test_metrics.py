"""/metrics of both tiers is what Prometheus' own checker accepts, and counts what happened."""
import shutil
import subprocess

import pytest

from end_to_end.clients import generate_request, grpc_generate
from end_to_end.deployment import metrics_page


def check(page):
    promtool = shutil.which("promtool")
    assert promtool, "promtool is not installed: deploy/install_dependencies.sh test"
    return subprocess.run([promtool, "check", "metrics"], input=page, text=True, capture_output=True, timeout=30)


def test_promtool_finds_nothing(deployment, channel, golden):
    grpc_generate(channel, generate_request(golden[0]))
    processes = [deployment.router, *deployment.workers]
    for process in processes:
        result = check(metrics_page(process.ports()["metrics_port"]))
        assert (result.returncode, result.stdout + result.stderr) == (0, ""), process.name


def test_promtool_would_find_something():
    assert check("# TYPE camelCase counter\ncamelCase 1\n").returncode != 0


def test_router_counts_requests_and_tokens(deployment, channel, golden):
    names = ["octet_prompt_tokens_total", "octet_generated_tokens_total", "octet_time_to_first_token_seconds_count",
             "octet_request_duration_seconds_count"]
    before = [deployment.router_metric(name) for name in names]
    for case in golden[:5]:
        grpc_generate(channel, generate_request(case))
    counted = [deployment.router_metric(name) - old for name, old in zip(names, before, strict=True)]
    assert counted == [sum(len(case["prompt_ids"]) for case in golden[:5]),
                       sum(len(case["output_ids"]) for case in golden[:5]), 5, 5]


def test_router_counts_outcomes(deployment, channel):
    import grpc
    series = 'octet_requests_total{api="openai",outcome="invalid"}'
    assert deployment.post("/v1/completions", {"prompt": "a", "temperature": -1}).status_code == 400
    before = deployment.router_metric(series)
    assert deployment.post("/v1/completions", {"prompt": "a", "temperature": -1}).status_code == 400
    assert deployment.router_metric(series) == before + 1
    with pytest.raises(grpc.RpcError):
        grpc_generate(channel, generate_request(text="", n=0))
    assert deployment.router_metric('octet_requests_total{api="grpc",outcome="invalid"}') >= 1


def test_lead_tells_of_steps_and_stages(deployment, channel, golden):
    grpc_generate(channel, generate_request(golden[0]))
    deployment.wait_until_blocks_are_free()
    steps = deployment.lead_metric("octet_steps_total")
    assert steps >= len(golden[0]["output_ids"])
    assert deployment.lead_metric("octet_step_overhead_seconds_count") == steps
    assert deployment.lead_metric("octet_epoch") >= 1
    for stage in range(deployment.stages):
        assert deployment.lead_metric(f'octet_stage_compute_seconds_total{{stage="{stage}"}}') > 0
    assert deployment.lead_metric('octet_handoff_bytes_total{stage="0"}') > 0
