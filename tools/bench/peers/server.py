"""octet-router with one octet-worker beside llama-server, under the same closed-loop load."""
import json
import os
import pathlib
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.request

from load import run_load
from program import die_with_parent

CLIENTS, REQUESTS, PROMPT, OUTPUT = 16, 64, 128, 64
START_SECONDS, STOP_SECONDS = 120, 60
ASKED = {"tokens_per_second": "at least 2.5", "ttft_p50": "-", "ttft_p99": "at most 0.4"}
TITLES = {"tokens_per_second": "output tokens/s", "ttft_p50": "TTFT p50, s", "ttft_p99": "TTFT p99, s"}
GGUF = {"bf16": "bf16.gguf", "int8": "q8_0.gguf"}


class Server:
    """Processes that serve one API, on CPUs of their own number. Use as a context manager."""

    def __init__(self, options):
        self.options, self.processes = options, []

    def __enter__(self):
        try:
            self.port = self.start()
            return self
        except BaseException:
            self.end(signal.SIGKILL)
            raise

    def __exit__(self, *error):
        self.end(signal.SIGTERM)

    def spawn(self, command):
        cpus = sorted(os.sched_getaffinity(0))[:self.options.threads]

        def prepare():
            die_with_parent()
            os.sched_setaffinity(0, cpus)

        with open(self.options.log, "ab") as log:
            self.processes.append(subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                                   preexec_fn=prepare))

    def end(self, how):
        for process in reversed(self.processes):
            process.send_signal(how)
        for process in self.processes:
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()

    def wait_until(self, ready, what):
        """The first true value of ready(). Raises RuntimeError when a process ends or time is over."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            result = ready()
            if result:
                return result
            dead = [process.args[0] for process in self.processes if process.poll() is not None]
            if dead or time.monotonic() > deadline:
                raise RuntimeError(f"{dead or 'time'} ended before {what}; see {self.options.log}")
            time.sleep(0.05)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def answers(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return response.status == 200
    except OSError:
        return False


class LlamaServer(Server):
    def __init__(self, options, weights):
        super().__init__(options)
        self.weights = weights

    def start(self):
        threads, port = self.options.threads, free_port()
        self.spawn([self.options.llama_server, "-m", self.options.models / GGUF[self.weights], "--host", "127.0.0.1",
                    "--port", port, "-t", threads, "-tb", threads, "-fa", "on", "-b", 2048, "-ub", 512, "-np", CLIENTS,
                    "-c", CLIENTS * 256, "--no-cache-prompt", "--cache-ram", 0])
        self.wait_until(lambda: answers(f"http://127.0.0.1:{port}/health"), "llama-server was ready")
        return port


class OctetServer(Server):
    def __init__(self, options, weights):
        super().__init__(options)
        self.weights = weights

    def ports(self, name):
        path = self.options.out / f"{name}.json"
        text = self.wait_until(lambda: path.exists() and path.read_text(), f"octet-{name} was ready")
        return json.loads(text)

    def start(self):
        options = self.options
        model = options.models / "octet"
        port_files = {name: options.out / f"{name}.json" for name in ("worker", "router")}
        for path in port_files.values():
            path.unlink(missing_ok=True)
        self.spawn([options.bin / "octet-worker", "--model", model, "--threads-per-rank", options.threads, "--weights",
                    self.weights, "--cpu-isa", options.cpu_isa, "--kv-cache-mib", 512, "--host", "127.0.0.1", "--port", 0,
                    "--metrics-port", 0, "--link-port", 0, "--port-file", port_files["worker"]])
        lead = self.ports("worker")["port"]
        self.spawn([options.bin / "octet-router", "--tokenizer", model / "tokenizer.model", "--pipeline", f"127.0.0.1:{lead}",
                    "--chat-format", "nemotron-4", "--host", "127.0.0.1", "--grpc-port", 0, "--http-port", 0,
                    "--metrics-port", 0, "--default-timeout", "1h", "--port-file", port_files["router"]])
        return self.ports("router")["http_port"]


def measure(server, vocabulary):
    with server:
        run_load(server.port, 2, 2, PROMPT, 4, vocabulary, first_prompt=REQUESTS)  # warm-up
        return run_load(server.port, CLIENTS, REQUESTS, PROMPT, OUTPUT, vocabulary)


def compare_servers(options):
    """Lines of Markdown."""
    vocabulary = json.loads((pathlib.Path(options.models) / "octet" / "config.json").read_text())["vocab_size"]
    lines = [f"{CLIENTS} closed-loop clients, {REQUESTS} requests of {PROMPT} prompt and {OUTPUT} output tokens:", "",
             "| | weights | llama-server | Octet | ratio | asked |", "|---|---|---|---|---|---|"]
    for weights in options.weights:
        figures = {LlamaServer: [], OctetServer: []}
        for _ in range(options.server_rounds):
            for kind, runs in figures.items():
                runs.append(measure(kind(options, weights), vocabulary))
                print(f"server {kind.__name__} {weights}: {runs[-1]}", file=sys.stderr, flush=True)
        for figure, asked in ASKED.items():
            llama, octet = (statistics.median(run[figure] for run in figures[kind]) for kind in (LlamaServer, OctetServer))
            lines.append(f"| {TITLES[figure]} | {weights} | {llama:.2f} | {octet:.2f} | {octet / llama:.2f} | {asked} |")
    return lines
