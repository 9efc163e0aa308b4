"""A lead dies, hangs or is told to end in the middle of answers: they go on elsewhere, and not one bit of them is another."""
import concurrent.futures
import json
import signal
import threading

import pytest
import requests

from end_to_end.clients import generate_request, grpc_generate
from end_to_end.deployment import REQUEST_SECONDS
from faults.cluster import Cluster

ROUTER_FLAGS = ("--pipeline-timeout", "1s")
NUM_TOKENS = 400
PROMPT = "<extra_id_0>System\n\n<extra_id_1>User\nTell me more.\n<extra_id_1>Assistant\n"
SCHEMA = {"type": "array", "minItems": 40, "maxItems": 60,
          "items": {"type": "object", "properties": {"name": {"enum": ["sea", "sky", "sun"]}, "size": {"type": "integer"}},
                    "required": ["name", "size"], "additionalProperties": False}}


def sampling(**fields):
    from octet.v1 import generation_pb2 as pb
    return pb.SamplingParams(**{"temperature": 1, **fields})


def grpc_requests():
    """By what of it a move has to keep; all are streamed."""
    from octet.v1 import generation_pb2 as pb

    def stop(**fields):
        return pb.StopConditions(**{"max_tokens": NUM_TOKENS, "ignore_eos": True, **fields})

    def request(**fields):
        return generate_request(**{"text": PROMPT, "stop": stop(), "logprobs": 2, **fields})

    return {
        "greedy": request(sampling=sampling(temperature=0)),
        "seed": request(sampling=sampling(seed=11, top_p=0.9, top_k=50)),
        "penalties": request(sampling=sampling(seed=12, repetition_penalty=1.2, presence_penalty=0.5, frequency_penalty=0.3)),
        "choices": request(sampling=sampling(seed=13), n=4),
        "stop string": request(sampling=sampling(seed=14), stop=stop(stop=["zzz", "the end of all of this"])),
        "min_tokens": request(sampling=sampling(seed=15), stop=stop(ignore_eos=False, min_tokens=380)),
        "grammar": request(sampling=sampling(seed=16), stop=stop(ignore_eos=False),
                           structured_output=pb.StructuredOutput(regex="([a-z]{1,9} ){9000}")),
        "prompt logprobs": request(sampling=sampling(seed=17), prompt_logprobs=1),
    }


def openai_bodies():
    body = {"model": "nano", "prompt": PROMPT, "max_tokens": NUM_TOKENS, "ignore_eos": True, "logprobs": 2, "seed": 21}
    chat = {"model": "nano", "messages": [{"role": "user", "content": "Tell me more."}], "max_tokens": NUM_TOKENS, "seed": 22}
    return {
        "completion": ("/v1/completions", {**body, "n": 2}),
        "streamed completion": ("/v1/completions", {**body, "stream": True, "stream_options": {"include_usage": True}}),
        "chat in JSON": ("/v1/chat/completions", {**chat, "response_format": {
            "type": "json_schema", "json_schema": {"name": "things", "strict": True, "schema": SCHEMA}}}),
        "streamed chat": ("/v1/chat/completions", {**chat, "ignore_eos": True, "stream": True, "logprobs": True,
                                                   "top_logprobs": 2}),
    }


def plain(answer):
    """Of an answer over gRPC, all that a client may compare."""
    return {"text": answer.text, "tokens": answer.token_ids, "finish": answer.finish_reason,
            "logprobs": [str(score) for score in answer.logprobs], "prompt": [str(s) for s in answer.prompt_logprobs],
            "completion_tokens": answer.usage.completion_tokens if answer.usage else None}


def without_ids(value):
    if isinstance(value, dict):
        return {key: without_ids(item) for key, item in value.items() if key not in ("id", "created", "prompt_tokens_details")}
    return [without_ids(item) for item in value] if isinstance(value, list) else value


def ask_openai(cluster, path, body, begun):
    response = requests.post(cluster.url() + path, json=body, timeout=REQUEST_SECONDS * 2, stream=True)
    assert response.status_code == 200, response.text
    if not body.get("stream"):
        return without_ids(response.json())
    choices, usage = {}, None
    for line in response.iter_lines():
        if not line.startswith(b"data: ") or line == b"data: [DONE]":
            continue
        event = json.loads(line.removeprefix(b"data: "))
        assert "error" not in event, event
        usage = event.get("usage") or usage
        for choice in event["choices"]:
            begun()
            # How an answer is cut into events depends on when its tokens came, and may be another after a move.
            whole = choices.setdefault(choice["index"], {"text": "", "logprobs": [], "finish": None})
            whole["text"] += choice.get("text") or choice.get("delta", {}).get("content") or ""
            scores = choice.get("logprobs") or {}
            whole["logprobs"] += scores.get("content") or scores.get("token_logprobs") or []
            whole["finish"] = choice["finish_reason"] or whole["finish"]
    return without_ids({"choices": choices, "usage": usage})


def all_answers(cluster, disturb=None):
    """Of all requests at once, by name. disturb() is called when all that are streamed have begun."""
    begun, lock = set(), threading.Lock()
    streamed = {*grpc_requests(), *(name for name, (_, body) in openai_bodies().items() if body.get("stream"))}

    def begins(name):
        with lock:
            begun.add(name)

    def over_grpc(channel, name, request):
        answers = grpc_generate(channel, request, timeout=REQUEST_SECONDS * 2, on_message=lambda _: begins(name))
        return {index: plain(answer) for index, answer in sorted(answers.items())}

    with cluster.channel() as channel, concurrent.futures.ThreadPoolExecutor(max_workers=32) as pool:
        futures = {name: pool.submit(over_grpc, channel, name, request) for name, request in grpc_requests().items()}
        futures |= {name: pool.submit(ask_openai, cluster, path, body, lambda name=name: begins(name))
                    for name, (path, body) in openai_bodies().items()}
        if disturb:
            cluster.processes["router-0"].wait_until(
                lambda: begun >= streamed or any(future.done() and future.exception() for future in futures.values()),
                "every stream had begun")
            disturb()
        return {name: future.result() for name, future in futures.items()}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with Cluster(tmp_path_factory.mktemp("cluster"), pipelines=2, stages=1, routers=1, backend="cpu",
                 worker_flags=("--drain-timeout", "300ms"), router_flags=ROUTER_FLAGS) as running:
        yield running


@pytest.fixture(scope="module")
def undisturbed(cluster):
    answers = all_answers(cluster)
    assert all(len(choice["tokens"]) > 300 for name in grpc_requests() for choice in answers[name].values())
    return answers


@pytest.fixture(autouse=True)
def all_is_well_after(cluster):
    yield
    cluster.wait_until_ready()
    cluster.wait_until_blocks_are_free()


def check(cluster, undisturbed, disturb, reason):
    before = cluster.router_metric(f'octet_moves_total{{reason="{reason}"}}')
    answers = all_answers(cluster, disturb)
    for name, expected in undisturbed.items():
        assert answers[name] == expected, name
    assert cluster.router_metric(f'octet_moves_total{{reason="{reason}"}}') > before


@pytest.mark.parametrize("lead", [0, 1])
def test_answers_do_not_change_when_a_lead_dies(cluster, undisturbed, lead):
    name = cluster.leads[lead]
    check(cluster, undisturbed, lambda: cluster.restart(name), "lost")


def test_answers_do_not_change_when_a_lead_hangs_and_it_lets_go_of_them_when_it_wakes(cluster, undisturbed):
    name = cluster.leads[0]
    with cluster.stopped(name):
        pass  # a moment's pause is no hang
    before = cluster.metric("router-0", 'octet_moves_total{reason="hung"}')

    def hang():
        cluster.signal(name, signal.SIGSTOP)
        cluster.processes["router-0"].wait_until(
            lambda: cluster.metric("router-0", 'octet_moves_total{reason="hung"}') > before, "what it had was moved", 30)
        cluster.signal(name, signal.SIGCONT)

    check(cluster, undisturbed, hang, "hung")


def test_answers_do_not_change_when_a_lead_is_told_to_end(cluster, undisturbed):
    name = cluster.leads[1]
    check(cluster, undisturbed, lambda: cluster.signal(name, signal.SIGTERM), "draining")
    assert cluster.processes[name].wait_exit() == 0
    cluster.start(name)


def test_answers_wait_for_the_only_lead_to_come_back(cluster, undisturbed):
    """Both leads die at once; one comes back."""
    def kill_both():
        cluster.processes[cluster.leads[0]].kill()
        cluster.restart(cluster.leads[1])

    check(cluster, undisturbed, kill_both, "lost")
    cluster.start(cluster.leads[0])


def test_a_client_that_goes_away_while_its_answer_moves_leaves_nothing(cluster):
    from octet.v1 import generation_pb2_grpc
    with cluster.channel() as channel:
        stream = generation_pb2_grpc.GenerationStub(channel).Generate(grpc_requests()["seed"], timeout=60)
        next(stream)
        for lead in cluster.leads:
            cluster.processes[lead].kill()
        cluster.processes["router-0"].wait_until(lambda: cluster.metric("router-0", "octet_pipelines_ready") == 0, "no lead was left")
        assert cluster.metric("router-0", "octet_requests_in_flight") == 1
        stream.cancel()
        cluster.processes["router-0"].wait_until(lambda: cluster.metric("router-0", "octet_requests_in_flight") == 0,
                                                 "the request was gone")
    for lead in cluster.leads:
        cluster.start(lead)


