"""Processes that die, hang or are told to end: what others see of it, and that all is well after."""
import concurrent.futures
import signal

import pytest

from end_to_end.clients import channel_to, generate_request, grpc_generate
from end_to_end.deployment import Deployment

NUM_STREAMS = 8


@pytest.fixture
def deployment(tmp_path):
    flags = ("--step-timeout", "2s", "--join-timeout", "5s")
    with Deployment(tmp_path / "deployment", stages=2, tp=1, worker_flags=flags) as running:
        yield running


def long_request(seed, num_tokens=400):
    """Every other one is held to a regular expression, whose place a new epoch has to find again."""
    from octet.v1 import generation_pb2 as pb
    if seed % 2:
        return generate_request(text="Tell me more.", sampling=pb.SamplingParams(temperature=1, seed=seed), logprobs=0,
                                stop=pb.StopConditions(max_tokens=num_tokens),
                                structured_output=pb.StructuredOutput(regex="([a-z]{1,9} ){9000}"))
    return generate_request(text="Tell me more.", sampling=pb.SamplingParams(temperature=1, seed=seed), logprobs=0,
                            stop=pb.StopConditions(max_tokens=num_tokens, ignore_eos=True))


def greedy(num_tokens):
    from octet.v1 import generation_pb2 as pb
    return {"sampling": pb.SamplingParams(temperature=0), "stop": pb.StopConditions(max_tokens=num_tokens, ignore_eos=True)}


def outcome(channel, seed, started):
    answer = grpc_generate(channel, long_request(seed), timeout=120, on_message=lambda message: started.add(seed))[0]
    return answer.token_ids, [score.logprob for score in answer.logprobs]


def outcomes(deployment, disturb=None):
    """Answers of requests that all run when disturb() is called."""
    with channel_to(deployment) as channel, concurrent.futures.ThreadPoolExecutor(max_workers=NUM_STREAMS) as pool:
        started = set()  # seeds; one that has not reached the lead may be refused by a lead told to end
        futures = [pool.submit(outcome, channel, seed, started) for seed in range(NUM_STREAMS)]
        if disturb:
            deployment.router.wait_until(lambda: len(started) == NUM_STREAMS, "every answer had begun")
            disturb()
        return [future.result() for future in futures]


def test_answers_in_flight_survive_the_death_of_a_later_stage(deployment):
    undisturbed = outcomes(deployment)
    epoch = deployment.lead_metric("octet_epoch")
    assert outcomes(deployment, lambda: deployment.restart_worker(1)) == undisturbed
    assert deployment.lead_metric("octet_epoch") > epoch
    deployment.wait_until_blocks_are_free()


def test_a_new_epoch_reuses_nothing_of_the_last_one(deployment):
    def ask():
        with channel_to(deployment) as channel:
            answer = grpc_generate(channel, generate_request(text="Tell me more. " * 50, logprobs=0, **greedy(20)))[0]
        return answer.usage.cached_tokens > 0, answer.token_ids, [score.logprob for score in answer.logprobs]

    miss, hit = ask(), ask()
    epoch = deployment.lead_metric("octet_epoch")
    deployment.restart_worker(1)
    deployment.workers[0].wait_until(
        lambda: deployment.lead_metric("octet_epoch") > epoch and deployment.lead_metric("octet_ready") == 1, "the next epoch")
    deployment.ready()
    assert (miss[0], hit[0]) == (False, True)
    assert [ask(), ask()] == [miss, hit]
    assert miss[1:] == hit[1:]


def test_answers_in_flight_survive_a_later_stage_that_hangs(deployment):
    undisturbed = outcomes(deployment)
    epoch = deployment.lead_metric("octet_epoch")
    stage = deployment.workers[1]

    def hang_until_the_lead_notices():
        stage.popen.send_signal(signal.SIGSTOP)
        deployment.workers[0].wait_until(lambda: deployment.lead_metric("octet_epochs_ended_total") >= 1,
                                         "the epoch had ended", seconds=30)
        stage.popen.send_signal(signal.SIGCONT)

    assert outcomes(deployment, hang_until_the_lead_notices) == undisturbed
    assert deployment.lead_metric("octet_epoch") > epoch
    deployment.wait_until_blocks_are_free()


def test_an_answer_waits_for_the_next_lead_and_newcomers_are_refused_meanwhile(deployment, golden):
    with channel_to(deployment) as channel:
        from octet.v1 import generation_pb2_grpc
        undisturbed = grpc_generate(channel, long_request(1, 1000), timeout=60)[0].token_ids
        stream = generation_pb2_grpc.GenerationStub(channel).Generate(long_request(1, 1000), timeout=60)
        tokens = list(next(stream).token_ids)
        port = deployment.workers[0].ports()["port"]
        deployment.workers[0].kill()
        deployment.router.wait_until(lambda: deployment.router_metric("octet_pipelines_ready") == 0, "the lead was missed")
        response = deployment.post("/v1/completions", {"prompt": "hello", "max_tokens": 1})
        assert response.status_code == 503
        assert int(response.headers["Retry-After"]) >= 1
        deployment.workers[0] = deployment.start_worker(0, port)
        for message in stream:
            tokens += message.token_ids
        assert tokens == undisturbed
        assert grpc_generate(channel, generate_request(golden[0]))[0].token_ids == golden[0]["output_ids"]


def test_death_of_the_router_frees_all_blocks(deployment):
    with channel_to(deployment) as channel:
        from octet.v1 import generation_pb2_grpc
        streams = [generation_pb2_grpc.GenerationStub(channel).Generate(long_request(seed, 3000), timeout=60)
                   for seed in range(NUM_STREAMS)]
        for stream in streams:
            next(stream)
        assert deployment.lead_metric("octet_kv_cache_usage_ratio") > 0
        deployment.router.kill()
        deployment.wait_until_blocks_are_free()
    deployment.router = deployment.start_router()
    deployment.ready()


def test_a_router_told_to_end_finishes_its_streams(deployment):
    undisturbed = outcomes(deployment)
    assert outcomes(deployment, deployment.router.popen.terminate) == undisturbed
    assert deployment.router.wait_exit() == 0
    deployment.router = deployment.start_router()
    deployment.ready()


def test_a_lead_told_to_end_finishes_its_sequences(deployment):
    undisturbed = outcomes(deployment)
    assert outcomes(deployment, deployment.workers[0].popen.terminate) == undisturbed
    assert deployment.workers[0].wait_exit() == 0
    port = deployment.workers[0].ports()["port"]
    deployment.workers[0] = deployment.start_worker(0, port)
    deployment.ready()


@pytest.mark.parametrize("which", ["lead", "router"])
def test_a_second_signal_ends_a_process_that_drains_at_once(deployment, which):
    from octet.v1 import generation_pb2_grpc
    process = deployment.workers[0] if which == "lead" else deployment.router
    with channel_to(deployment) as channel:
        stream = generation_pb2_grpc.GenerationStub(channel).Generate(long_request(2, 3900), timeout=60)
        next(stream)
        process.popen.terminate()
        process.wait_until(lambda: "draining" in process.log(), "it drained")
        process.popen.terminate()
        assert process.wait_exit(5) == 128 + signal.SIGTERM
        stream.cancel()
    if which == "lead":
        deployment.workers[0] = deployment.start_worker(0, process.ports()["port"])
    else:
        deployment.router = deployment.start_router()
    deployment.ready()
