"""API keys over OpenAI's API, NeMo's and gRPC, with a real router."""
import socket

import grpc
import openai
import pytest
import requests

from end_to_end.clients import channel_to
from end_to_end.deployment import Deployment, make_key

CHAT = {"messages": [{"role": "user", "content": "Hello"}], "temperature": 0, "max_tokens": 4}
NEMO = {"sentences": ["Hello"], "tokens_to_generate": 4, "greedy": True}
SECONDS = 60


@pytest.fixture(scope="module")
def keys():
    """Name to (key, line)."""
    return {"team": make_key("team"), "admin": make_key("admin", scopes=["admin"]), "slow": make_key("slow", requests_per_minute=1),
            "short": make_key("short", tokens_per_minute=30), "later": make_key("later")}


@pytest.fixture(scope="module")
def served(keys, tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    (folder / "keys.jsonl").write_text("\n".join(line for name, (_, line) in keys.items() if name != "later") + "\n")
    with Deployment(folder, router_flags=["--api-keys", folder / "keys.jsonl"]) as running:
        yield running


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


def chat(served, headers):
    return requests.post(served.url + "/v1/chat/completions", json=CHAT, headers=headers, timeout=SECONDS)


def list_models(served, metadata=()):
    from octet.v1 import generation_pb2, generation_pb2_grpc
    with channel_to(served) as channel:
        return generation_pb2_grpc.GenerationStub(channel).ListModels(generation_pb2.ListModelsRequest(), timeout=SECONDS,
                                                                      metadata=metadata)


def test_every_api_serves_a_known_key(served, keys):
    key = keys["team"][0]
    api = openai.OpenAI(base_url=served.url + "/v1", api_key=key, max_retries=0)
    assert api.chat.completions.create(model=api.models.list().data[0].id, **CHAT).usage.completion_tokens > 0
    assert requests.put(served.url + "/generate", json=NEMO, headers=bearer(key), timeout=SECONDS).status_code == 200
    assert len(list_models(served, [("authorization", f"Bearer {key}")]).models) == 1


@pytest.mark.parametrize("method, path, body", [("POST", "/v1/chat/completions", CHAT), ("POST", "/v1/completions", {"prompt": "a"}),
                                                ("GET", "/v1/models", None), ("POST", "/v1/tokenize", {"prompt": "a"}),
                                                ("PUT", "/generate", NEMO)])
def test_every_path_refuses_a_missing_or_wrong_key(served, keys, method, path, body):
    near_miss = keys["team"][0][:-1] + ("0" if keys["team"][0][-1] != "0" else "1")
    for headers in ({}, {"Authorization": ""}, bearer(near_miss), bearer(keys["later"][0]), {"Authorization": keys["team"][0]}):
        answer = requests.request(method, served.url + path, json=body, headers=headers, timeout=SECONDS)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        error = answer.json()["error"]
        assert error["code"] == "invalid_api_key" and near_miss not in answer.text


def test_without_a_key_no_body_is_waited_for(served):
    with socket.create_connection(("127.0.0.1", served.router.ports()["http_port"]), timeout=SECONDS) as connection:
        connection.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 401 ")


def test_the_page_and_its_description_need_no_key(served):
    for path in "/", "/openapi.json":
        assert requests.get(served.url + path, timeout=SECONDS).status_code == 200


def test_a_key_in_the_url_is_none(served, keys):
    assert requests.get(served.url + "/v1/models", params={"api_key": keys["team"][0]}, timeout=SECONDS).status_code == 401


def test_grpc_refuses_a_missing_or_wrong_key_and_answers_health(served):
    for metadata in ((), [("authorization", "Bearer none")]):
        with pytest.raises(grpc.RpcError) as refused:
            list_models(served, metadata)
        assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
    with channel_to(served) as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        assert check(b"", timeout=SECONDS) == b"\x08\x01"


def test_a_key_without_the_scope_is_forbidden(served, keys):
    answer = chat(served, bearer(keys["admin"][0]))
    assert answer.status_code == 403 and answer.json()["error"]["type"] == "permission_error"
    with pytest.raises(grpc.RpcError) as refused:
        list_models(served, [("authorization", f"Bearer {keys['admin'][0]}")])
    assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize("tenant, reason", [("slow", "requests a minute"), ("short", "tokens a minute")])
def test_a_used_up_quota_says_when_to_come_back(served, keys, tenant, reason):
    key = keys[tenant][0]
    answers = [chat(served, bearer(key)) for _ in range(5)]
    assert answers[0].status_code == 200
    assert answers[-1].status_code == 429 and reason in answers[-1].json()["error"]["message"]
    assert 0 < int(answers[-1].headers["Retry-After"]) <= 60
    assert chat(served, bearer(keys["team"][0])).status_code == 200, "another tenant's quota is its own"


def test_a_new_file_is_taken_while_serving_and_no_key_is_logged(served, keys):
    later = keys["later"]
    assert chat(served, bearer(later[0])).status_code == 401
    with open(served.folder / "keys.jsonl", "a", encoding="utf-8") as file:
        file.write(later[1] + "\n")
    served.router.wait_until(lambda: chat(served, bearer(later[0])).status_code == 200, "the new key was known")
    log = served.router.log(100_000)
    assert not any(key in log for key, _ in keys.values())
    assert served.router_metric("octet_refused_keys_total") > 0
