"""The short form of run.py: few requests for each fault, and not one of them lost or changed."""
import pytest

from faults.cluster import weightless_model
from faults.scenes import STEP_TIMEOUT_SECONDS, Scene, simulated_cluster

NUM_REQUESTS = 300
NUM_CLIENTS = 24
FAULTS = ["lead: kill -9", "lead: SIGSTOP, SIGCONT", "lead: SIGTERM", "later stage: kill -9",
          "later stage: SIGSTOP, SIGCONT", "router: kill -9", "router: SIGTERM",
          "every pipeline and router in turn: SIGTERM"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return weightless_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def scene(model, tmp_path_factory):
    with simulated_cluster(tmp_path_factory.mktemp("faults"), model) as cluster:
        yield Scene(cluster, NUM_REQUESTS, NUM_CLIENTS)


@pytest.mark.parametrize("fault", FAULTS)
def test_no_request_is_lost_or_changed(scene, fault):
    do, target = next((do, target) for what, do, target in scene.faults() if what == fault)
    result = scene.play(fault, do, target)
    assert (result.tally.right, result.tally.errors) == (NUM_REQUESTS, [])
    if "lead" in fault:
        assert result.moves > 0
    if "later stage" in fault:
        assert result.epochs > 0
    if "SIGSTOP" in fault:
        assert result.detected_ms < (STEP_TIMEOUT_SECONDS + 1) * 1000


def test_the_only_pipeline_pauses_when_a_later_stage_dies(model, tmp_path):
    """Newcomers wait with those that run."""
    with simulated_cluster(tmp_path, model, pipelines=1) as cluster:
        scene = Scene(cluster, NUM_REQUESTS, NUM_CLIENTS)
        result = scene.play("kill -9", scene.kill, "pipeline-0-stage-1")
        assert (result.tally.right, result.tally.errors, result.epochs) == (NUM_REQUESTS, [], 1)
