"""Two stages of two emulated GPUs each, in processes of their own: NCCL hands activations over between the processes."""
import concurrent.futures
import threading

import pytest

from end_to_end.clients import channel_to, generate_request, grpc_generate
from end_to_end.deployment import Deployment


@pytest.fixture
def deployment(tmp_path):
    # No wait of a test comes to an end by this timeout.
    flags = ("--deterministic", "--step-timeout", "10m")
    with Deployment(tmp_path / "deployment", stages=2, tp=2, worker_flags=flags, backend="cuda-emulated") as running:
        yield running


def answer(deployment, case, started=None):
    from octet.v1 import generation_pb2 as pb
    with channel_to(deployment) as channel:
        request = generate_request(case, stop=pb.StopConditions(max_tokens=5))
        return grpc_generate(channel, request, timeout=120, on_message=lambda message: started and started.set())[0].token_ids


@pytest.mark.timeout(300)
def test_an_answer_survives_the_death_of_a_stage_on_gpus(deployment, golden):
    epoch = deployment.lead_metric("octet_epoch")
    started = threading.Event()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        asked = pool.submit(answer, deployment, golden[6], started)
        assert started.wait(60)
        deployment.restart_worker(1)
        assert asked.result() == golden[6]["output_ids"][:5]
    assert deployment.lead_metric("octet_epoch") > epoch
    deployment.wait_until_blocks_are_free()
