"""A stage that computes for longer than --step-timeout: who says so, and by which name."""
import grpc
import pytest

from end_to_end.clients import generate_request
from faults.cluster import Cluster, weightless_model


@pytest.fixture
def cluster(tmp_path):
    """The last stage takes longer for a step than the lead gives it."""
    model = weightless_model(tmp_path / "model")
    flags = ("--step-timeout", "500ms", "--join-timeout", "10s", "--drain-timeout", "100ms")
    with Cluster(tmp_path / "cluster", pipelines=1, stages=2, routers=1, model=model, worker_flags=flags) as running:
        name = "pipeline-0-stage-1"
        running.processes[name].kill()
        running.worker_flags = (*flags, "--simulated-step-time", "3s")
        running.start(name)
        running.wait_until_ready()
        yield running


def health(address, service):
    """SERVING or NOT_SERVING, as grpc.health.v1 encodes it."""
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        return check(b"\x0a" + bytes([len(service)]) + service.encode(), timeout=10)


SERVING, NOT_SERVING = b"\x08\x01", b"\x08\x02"


def test_a_stage_without_progress_is_named_by_itself_and_by_its_lead(cluster):
    from octet.v1 import generation_pb2_grpc
    lead, late = cluster.processes["pipeline-0-stage-0"], cluster.processes["pipeline-0-stage-1"]
    address = f"127.0.0.1:{cluster.ports['pipeline-0-stage-1']['port']}"
    late.wait_until(lambda: all(health(address, service) == SERVING for service in ("live", "ready", "progress")),
                    "all was well after the slow warm-up", 30)
    with cluster.channel() as channel:
        stream = generation_pb2_grpc.GenerationStub(channel).Generate(generate_request(text="hello"), timeout=60)
        late.wait_until(lambda: health(address, "progress") == NOT_SERVING, "it said that it makes no progress", 30)
        assert cluster.metric("pipeline-0-stage-1", 'octet_progressing{stage="1"}') == 0
        assert health(address, "live") == SERVING, "for now"
        lead.wait_until(lambda: cluster.metric("pipeline-0-stage-0", 'octet_stage_timeouts_total{stage="1"}') > 0, "it was counted", 30)
        stream.cancel()
    late.wait_until(lambda: health(address, "progress") == SERVING, "its step was over", 30)
    assert "stage 1 makes no progress" in late.log()
    assert "stage 1 did not finish a step within --step-timeout" in lead.log() or "stages 0, 1 did not finish" in lead.log()
    assert health(f"127.0.0.1:{cluster.ports['pipeline-0-stage-0']['port']}", "progress") == SERVING
