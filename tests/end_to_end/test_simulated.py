"""Simulated pipelines: everything but the computing is real, and every answer can be verified."""
import concurrent.futures
import random

import grpc
import pytest

from end_to_end.clients import generate_request, grpc_generate
from end_to_end.deployment import NANO, Deployment, metric, status_of
from testing.simulated_tokens import simulated_answer

EOS = 3
VOCABULARY = 1600
FLAGS = ("--step-timeout", "2s", "--join-timeout", "5s")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """What a simulated worker needs, and the router's tokenizer: no weights."""
    folder = tmp_path_factory.mktemp("weightless")
    for name in ["config.json", *(path.name for path in NANO.glob("tokenizer*"))]:
        (folder / name).write_bytes((NANO / name).read_bytes())
    assert not list(folder.glob("*.safetensors"))
    return folder


@pytest.fixture(scope="module")
def deployment(model, tmp_path_factory):
    with Deployment(tmp_path_factory.mktemp("run"), stages=2, tp=2, model=model, worker_flags=FLAGS,
                    backend="simulated") as running:
        yield running


def prompt_of(number):
    draw = random.Random(number)
    return [draw.randrange(300, VOCABULARY) for _ in range(draw.randrange(1, 400))]


def ask(target, number, max_tokens=40, **fields):
    from octet.v1 import generation_pb2 as pb
    request = generate_request(token_ids=pb.TokenIds(ids=prompt_of(number)), sampling=pb.SamplingParams(seed=number),
                               stop=pb.StopConditions(max_tokens=max_tokens), **fields)
    with grpc.insecure_channel(target, options=[("grpc.enable_http_proxy", 0)]) as channel:
        return grpc_generate(channel, request)[0]


def expected(number, max_tokens=40):
    return simulated_answer(prompt_of(number), max_tokens, VOCABULARY, EOS)


def test_two_routers_and_200_concurrent_answers_are_all_right(deployment):
    second = deployment.start_router("second-router")
    try:
        port = second.ports()["metrics_port"]
        second.wait_until(lambda: status_of(f"http://127.0.0.1:{port}/ready") == 200, "it was ready")
        targets = [deployment.grpc_target, f"127.0.0.1:{second.ports()['grpc_port']}"]
        with concurrent.futures.ThreadPoolExecutor(max_workers=200) as pool:
            answers = list(pool.map(lambda i: ask(targets[i % 2], i).token_ids, range(200)))
    finally:
        second.stop()
    assert answers == [expected(i) for i in range(200)]
    assert {len(answer) for answer in answers} != {40}, "some end by themselves"
    deployment.wait_until_blocks_are_free()


def test_repeated_prompts_hit_the_prefix_cache_and_are_right(deployment):
    number = next(i for i in range(1000, 2000) if len(prompt_of(i)) > 200)
    answers = [ask(deployment.grpc_target, number, max_tokens=8, logprobs=3) for _ in range(2)]
    assert [answer.token_ids for answer in answers] == [expected(number, 8)] * 2
    assert answers[0].logprobs == answers[1].logprobs
    assert answers[1].usage.cached_tokens > 180


def test_answers_survive_the_death_of_a_stage(model, tmp_path):
    flags = (*FLAGS, "--simulated-step-time", "5ms", "--simulated-token-time", "0.02ms")
    with Deployment(tmp_path / "run", stages=2, model=model, worker_flags=flags, backend="simulated") as running:
        numbers = [i for i in range(100) if len(expected(i, 100)) == 100][:6]
        with concurrent.futures.ThreadPoolExecutor(max_workers=len(numbers)) as pool:
            futures = [pool.submit(ask, running.grpc_target, number, 100) for number in numbers]
            running.workers[0].wait_until(lambda: running.lead_metric("octet_steps_total") > 20, "some steps were done")
            running.restart_worker(1)
            answers = [future.result().token_ids for future in futures]
        assert answers == [expected(number, 100) for number in numbers]
        assert running.lead_metric("octet_epoch") > 1


def test_a_simulation_says_what_it_is_everywhere(deployment):
    from octet.v1 import generation_pb2, generation_pb2_grpc
    for worker in deployment.workers:
        assert metric(worker.ports()["metrics_port"], 'octet_backend_info{backend="simulated"}') == 1
        assert all("simulated" in line for line in worker.log().splitlines() if " info " in line)
    with grpc.insecure_channel(deployment.grpc_target, options=[("grpc.enable_http_proxy", 0)]) as channel:
        reply = generation_pb2_grpc.GenerationStub(channel).ListModels(generation_pb2.ListModelsRequest(), timeout=10)
    assert [model.backend for model in reply.models] == ["simulated"]
    completion = deployment.post("/v1/completions", {"prompt": "hello", "max_tokens": 2}).json()
    assert "simulated" in completion["system_fingerprint"]


def test_the_pace_is_kept(model, tmp_path):
    flags = (*FLAGS, "--simulated-step-time", "20ms")
    with Deployment(tmp_path / "run", stages=2, model=model, worker_flags=flags, backend="simulated") as running:
        answer = ask(running.grpc_target, 7, max_tokens=5)
        assert answer.token_ids == expected(7, 5)
        steps = running.lead_metric("octet_steps_total")
        for stage in range(2):
            assert running.lead_metric(f'octet_stage_compute_seconds_total{{stage="{stage}"}}') >= 0.02 * steps
