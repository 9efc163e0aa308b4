"""A KV cache too small for the load, and chunks too small for the prompts, change the pace and nothing else."""
import concurrent.futures
import json
import shutil

import pytest

from end_to_end.clients import channel_to, generate_request, grpc_generate
from end_to_end.deployment import NANO, Deployment

CONTEXT = 256  # tokens; the whole KV cache has to hold one such sequence, and here holds no more
TIGHT = ("--kv-cache-mib", 1, "--kv-cache-dtype", "fp32", "--max-batch-tokens", 16)


@pytest.fixture(scope="module")
def deployment(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tight")
    model = shutil.copytree(NANO, folder / "model")
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"max_position_embeddings": CONTEXT}))
    with Deployment(folder / "run", stages=2, tp=1, model=model, worker_flags=TIGHT) as running:
        yield running


def test_cache_holds_a_few_sequences(deployment):
    blocks = deployment.lead_metric("octet_kv_cache_blocks")
    assert blocks * deployment.lead_metric("octet_kv_cache_block_tokens") < 2 * CONTEXT


def test_preempted_sequences_give_the_golden_tokens(deployment, golden):
    with channel_to(deployment) as channel, concurrent.futures.ThreadPoolExecutor(max_workers=len(golden)) as pool:
        answers = list(pool.map(lambda case: grpc_generate(channel, generate_request(case))[0], golden))
    assert [answer.token_ids for answer in answers] == [case["output_ids"] for case in golden]
    assert deployment.lead_metric("octet_preemptions_total") > 0
    deployment.wait_until_blocks_are_free()
