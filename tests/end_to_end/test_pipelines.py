"""Several pipelines and routers: every answer is right whoever gives it, sessions stay, pipelines come and go."""
import concurrent.futures

import grpc
import pytest
import requests

from end_to_end.clients import generate_request, grpc_generate, text_of
from end_to_end.deployment import BIN, NANO, REQUEST_SECONDS, Process, metric, status_of, worker_command

NUM_LEADS = 3


class Cluster:
    """Pipelines of one stage, and routers that find them in a file."""

    def __init__(self, folder):
        self.folder = folder
        self.file = folder / "pipelines"
        self.leads = [Process(f"lead-{i}", folder, worker_command(0, 1, 1)) for i in range(NUM_LEADS)]
        self.use(range(NUM_LEADS))
        self.routers = [self.start_router(i) for i in range(2)]

    def use(self, leads):
        unfinished = self.file.with_suffix(".part")
        unfinished.write_text("".join(f"127.0.0.1:{self.leads[i].ports()['port']}  # lead {i}\n" for i in leads))
        unfinished.rename(self.file)

    def start_router(self, index):
        return Process(f"router-{index}", self.folder, [
            BIN / "octet-router", "--tokenizer", NANO / "tokenizer.model", "--pipelines-file", self.file,
            "--discovery-interval", "100ms", "--host", "127.0.0.1", "--grpc-port", 0, "--http-port", 0, "--metrics-port", 0])

    def wait_until_ready(self, number):
        for router in self.routers:
            port = router.ports()["metrics_port"]
            router.wait_until(lambda: status_of(f"http://127.0.0.1:{port}/ready") == 200, "it was ready")
            router.wait_until(lambda: metric(port, "octet_pipelines_ready") == number, f"{number} pipelines were ready")

    def complete(self, router, body):
        url = f"http://127.0.0.1:{self.routers[router].ports()['http_port']}/v1/completions"
        response = requests.post(url, json={"temperature": 0, "max_tokens": 128, **body}, timeout=REQUEST_SECONDS)
        assert response.status_code == 200, response.text
        return response.json()["choices"][0]["text"]

    def num_ended(self):
        return [metric(lead.ports()["metrics_port"], "octet_sequences_ended_total") for lead in self.leads]

    def channel(self, router):
        return grpc.insecure_channel(f"127.0.0.1:{self.routers[router].ports()['grpc_port']}",
                                     options=[("grpc.enable_http_proxy", 0)])

    def stop(self):
        codes = {process.name: process.stop() for process in [*self.routers, *self.leads]}
        assert not any(codes.values()), f"exit codes {codes}"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    running = Cluster(tmp_path_factory.mktemp("cluster"))
    running.wait_until_ready(NUM_LEADS)
    yield running
    running.stop()


@pytest.fixture(autouse=True)
def all_leads(cluster):
    yield
    cluster.use(range(NUM_LEADS))
    cluster.wait_until_ready(NUM_LEADS)


def grown(before, after):
    return [i for i in range(NUM_LEADS) if after[i] > before[i]]


def test_every_answer_is_right_whoever_gives_it(cluster, golden):
    before = cluster.num_ended()
    cases = golden * 2

    def ask(i):
        return cluster.complete(i % 2, {"prompt": cases[i]["prompt"]})

    with concurrent.futures.ThreadPoolExecutor(max_workers=24) as pool:
        answers = list(pool.map(ask, range(len(cases))))
    assert answers == [text_of(case) for case in cases]
    assert grown(before, cluster.num_ended()) == [0, 1, 2], "all pipelines took part"


def test_a_session_stays_on_its_pipeline_whatever_the_router(cluster):
    homes = set()
    for session in range(8):
        before = cluster.num_ended()
        for router in (0, 1, 0, 1):
            cluster.complete(router, {"prompt": "hello", "max_tokens": 1, "user": f"session {session}"})
        home = grown(before, cluster.num_ended())
        assert len(home) == 1
        homes.update(home)
    assert len(homes) > 1, "sessions are spread"


def test_a_prompt_goes_where_its_beginning_is_cached(cluster):
    """A long beginning is computed once, and what begins like it goes there, through the other router too."""
    beginning = "<extra_id_0>System\n\n<extra_id_1>User\n" + "Tell me a story about the sea. " * 20
    port = cluster.routers[1].ports()["metrics_port"]
    known = metric(port, "octet_prefix_blocks_known")
    before = cluster.num_ended()
    cluster.complete(0, {"prompt": beginning, "max_tokens": 1})
    cluster.routers[1].wait_until(lambda: metric(port, "octet_prefix_blocks_known") > known, "it was told what is cached")
    for i in range(8):
        cluster.complete(1, {"prompt": f"{beginning}{i}", "max_tokens": 1})
    assert len(grown(before, cluster.num_ended())) == 1


def test_a_pipeline_that_is_removed_finishes_and_takes_no_more(cluster, golden):
    from octet.v1 import generation_pb2 as pb
    from octet.v1 import generation_pb2_grpc
    request = generate_request(text="Count:", session="long", sampling=pb.SamplingParams(temperature=1, seed=1),
                               stop=pb.StopConditions(max_tokens=1000, ignore_eos=True))
    with cluster.channel(0) as channel:
        undisturbed = grpc_generate(channel, request, timeout=120)[0].token_ids
        before = cluster.num_ended()
        stream = generation_pb2_grpc.GenerationStub(channel).Generate(request, timeout=120)
        tokens = list(next(stream).token_ids)
        runs = [metric(lead.ports()["metrics_port"], "octet_sequences_running") for lead in cluster.leads].index(1)
        cluster.use([i for i in range(NUM_LEADS) if i != runs])
        cluster.wait_until_ready(NUM_LEADS - 1)
        for router in (0, 1) * 4:
            assert cluster.complete(router, {"prompt": golden[1]["prompt"], "user": "long"}) == text_of(golden[1])
        for message in stream:
            tokens += message.token_ids
        assert tokens == undisturbed
    assert cluster.num_ended()[runs] == before[runs] + 1, "it ended the stream and nothing else"


def test_a_pipeline_that_is_added_is_used(cluster):
    cluster.use([0])
    cluster.wait_until_ready(1)
    before = cluster.num_ended()
    for router in (0, 1) * 8:
        cluster.complete(router, {"prompt": "hello", "max_tokens": 1})
    assert grown(before, cluster.num_ended()) == [0]
    cluster.use([0, 1, 2])
    cluster.wait_until_ready(3)
    for session in range(16):
        cluster.complete(session % 2, {"prompt": "hello", "max_tokens": 1, "user": f"session {session}"})
    assert grown(before, cluster.num_ended()) == [0, 1, 2]
