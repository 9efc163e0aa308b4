"""A KV cache too small for the load, and chunks too small for the prompts, change the pace and nothing else."""
import concurrent.futures

import pytest

from end_to_end.clients import channel_to, generate_request, grpc_generate
from end_to_end.deployment import Deployment

# Blocks of 16 tokens; the golden cases need up to 9 each, so that few run together and many are preempted.
TIGHT = ("--kv-blocks", 24, "--max-batch-tokens", 16)


@pytest.fixture(scope="module")
def deployment(tmp_path_factory):
    with Deployment(tmp_path_factory.mktemp("tight"), stages=2, tp=1, worker_flags=TIGHT) as running:
        yield running


def test_preempted_sequences_give_the_golden_tokens(deployment, golden):
    with channel_to(deployment) as channel, concurrent.futures.ThreadPoolExecutor(max_workers=len(golden)) as pool:
        answers = list(pool.map(lambda case: grpc_generate(channel, generate_request(case))[0], golden))
    assert [answer.token_ids for answer in answers] == [case["output_ids"] for case in golden]
    assert deployment.lead_metric("octet_preemptions_total") > 0
    deployment.wait_until_blocks_are_free()
