"""deploy/local.sh, the README's first command."""
import os
import signal
import socket
import subprocess
import time

import requests

from end_to_end.clients import text_of
from end_to_end.deployment import ROOT

LOCAL = ["bash", ROOT / "deploy" / "local.sh"]


def test_once_prints_only_the_answer(golden):
    result = subprocess.run([*LOCAL, "--once", golden[1]["turns"][0][0]], capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stderr
    assert result.stdout == text_of(golden[1])


def test_emulated_gpus_give_the_same_answer(golden):
    result = subprocess.run([*LOCAL, "--backend", "cuda-emulated", "--once", golden[1]["turns"][0][0]], capture_output=True, text=True,
                            timeout=600)
    assert result.returncode == 0, result.stderr
    assert result.stdout == text_of(golden[1])


def test_once_takes_any_text_and_shape():
    question = '"quotes", \\ backslashes,\nlines, $(dollars) and naïve 🙂'
    result = subprocess.run([*LOCAL, "--stages", "1", "--tp", "1", "--once", question], capture_output=True, text=True,
                            timeout=600)
    assert result.returncode == 0, result.stderr
    assert result.stdout


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def children(pid):
    """The programs that local.sh has started, by process id."""
    found = subprocess.run(["pgrep", "--parent", str(pid), "octet-"], capture_output=True, text=True, timeout=10)
    return [int(line) for line in found.stdout.split()]


def kill_and_see_it_again(child, script, http_port):
    os.kill(child, signal.SIGKILL)
    while "starting it again" not in script.stderr.readline():
        pass
    deadline = time.monotonic() + 60
    body = {"prompt": "hello", "max_tokens": 2}
    while True:
        try:
            if requests.post(f"http://127.0.0.1:{http_port}/v1/completions", json=body, timeout=60).status_code == 200:
                return
        except requests.ConnectionError:
            pass
        assert time.monotonic() < deadline, "it did not serve again"


def test_serves_until_it_is_told_to_end_and_starts_again_what_dies():
    http_port, grpc_port = free_port(), free_port()
    # Whoever runs the tests in the background may ignore SIGINT, and bash cannot undo that.
    with subprocess.Popen([*LOCAL, "--port", str(http_port), "--grpc-port", str(grpc_port)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)) as process:
        try:
            poem = process.stdout.readline()
            errors = ""
            while "Ctrl-C ends it." not in errors:
                line = process.stderr.readline()
                assert line, errors
                errors += line
            assert requests.get(f"http://127.0.0.1:{http_port}/v1/models", timeout=30).status_code == 200
            for child in children(process.pid):
                kill_and_see_it_again(child, process, http_port)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=60)
    assert poem == "Shall I compare thee to a summer's day?\n"
    assert f"127.0.0.1:{grpc_port}" in errors


def test_refuses_bad_flags():
    for flags in (["--frobnicate"], ["--stages"], ["--stages", "0"], ["--tp", "x"], ["--port", "70000"], ["--once", ""],
                  ["--backend", "tpu"], ["--model", "/no/such/folder"], ["--model", "/"]):
        result = subprocess.run([*LOCAL, *flags], capture_output=True, text=True, timeout=60)
        assert result.returncode in (1, 2), flags
        assert result.stdout == "" and len(result.stderr.splitlines()) == 1, result.stderr
