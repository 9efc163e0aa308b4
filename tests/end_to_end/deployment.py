"""Starts the real octet-router and octet-worker processes for a test, on free ports of 127.0.0.1, and ends them.

Binaries come from build/release/bin, or from the folder in OCTET_BIN. Nothing here sleeps to synchronise: every wait polls for
what it waits for, up to a deadline, and tells what died instead.
"""
import ctypes
import json
import os
import pathlib
import re
import signal
import subprocess
import time

import requests

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("OCTET_BIN", ROOT / "build" / "release" / "bin"))
NANO = ROOT / "deploy" / "nano"
START_SECONDS = 60
STOP_SECONDS = 20
REQUEST_SECONDS = 60

PR_SET_PDEATHSIG = 1


def die_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Process:
    """A running process with a log and, once it listens, its ports."""

    running = []  # all that tests have started and not ended, for the report of a failed test

    def __init__(self, name, folder, command):
        self.name = name
        self.log_path = folder / f"{name}.log"
        self.port_path = folder / f"{name}.json"
        self.port_path.unlink(missing_ok=True)
        with open(self.log_path, "ab") as log:
            self.popen = subprocess.Popen([*map(str, command), "--port-file", str(self.port_path)], stdin=subprocess.DEVNULL,
                                          stdout=log, stderr=log, cwd=folder, preexec_fn=die_with_parent)
        Process.running.append(self)

    @property
    def pid(self):
        return self.popen.pid

    def log(self, last_lines=40):
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-last_lines:])

    def wait_until(self, condition, what, seconds=START_SECONDS):
        """Polls until condition() is true. The interval between polls is a wait for the process's death, which fails."""
        deadline = time.monotonic() + seconds
        while True:
            result = condition()
            if result:
                return result
            assert time.monotonic() < deadline, f"{self.name}: {what} took more than {seconds} s\n{self.log()}"
            try:
                code = self.popen.wait(timeout=0.02)
            except subprocess.TimeoutExpired:
                continue
            raise AssertionError(f"{self.name} ended with {code} before {what}\n{self.log()}")

    def ports(self):
        """The port file's content, once it is there."""
        self.wait_until(self.port_path.exists, "its ports were open")
        return json.loads(self.port_path.read_text())

    def metrics_port(self):
        """From the log, since the port file is written when the APIs are open, and /metrics answers before."""
        found = self.wait_until(lambda: re.search(r"metrics on \S+:(\d+)", self.log(10_000)), "its metrics port was open")
        return int(found[1])

    def wait_exit(self, seconds=STOP_SECONDS):
        """Waits for the process to end by itself; its exit code."""
        code = self.popen.wait(timeout=seconds)
        if self in Process.running:
            Process.running.remove(self)
        return code

    def kill(self):
        self.popen.kill()
        self.wait_exit()

    def stop(self):
        """SIGTERM, then SIGKILL for one that does not heed it; its exit code."""
        self.popen.terminate()
        try:
            return self.wait_exit()
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not end on SIGTERM\n{self.log()}") from None


def worker_command(stage, stages, tp, model=NANO, flags=(), backend="cpu"):
    program = {"cpu": "octet-worker", "cuda-emulated": "octet-worker-cuda-emulated", "simulated": "octet-worker"}[backend]
    # One thread a rank: the processes of a test share the machine's CPUs, and the nano model has no work for more.
    return [BIN / program, "--model", model, "--stage", stage, "--stages", stages, "--tp", tp, "--backend", backend,
            "--threads-per-rank", 1, "--host", "127.0.0.1", "--port", 0, "--link-port", 0, "--metrics-port", 0, *flags]


class ProcessGroup:
    """Ends its processes when its context does: in order and with exit code 0, or at once after a failure."""

    def in_order_of_their_end(self):
        """All processes that were started."""
        raise NotImplementedError

    def __exit__(self, *error):
        if any(error):
            self.kill()
            return
        codes = {process.name: process.stop() for process in self.in_order_of_their_end()}
        assert not any(codes.values()), f"exit codes {codes}"

    def kill(self):
        for process in self.in_order_of_their_end():
            if process.popen.poll() is None:
                process.kill()


class Deployment(ProcessGroup):
    """One router and one pipeline. Use as a context manager; `ready()` waits until it serves."""

    def __init__(self, folder, stages=1, tp=1, model=NANO, worker_flags=(), router_flags=(), backend="cpu"):
        self.folder = folder
        self.stages, self.tp, self.model, self.backend = stages, tp, model, backend
        self.worker_flags, self.router_flags = worker_flags, router_flags
        self.workers = []
        self.router = None
        folder.mkdir(parents=True, exist_ok=True)

    def __enter__(self):
        try:
            for stage in range(self.stages):
                self.workers.append(self.start_worker(stage))
            self.router = self.start_router()
            self.ready()
        except BaseException:
            self.kill()
            raise
        return self

    def in_order_of_their_end(self):
        return [*filter(None, [self.router]), *reversed(self.workers)]

    def lead_address(self):
        return f"127.0.0.1:{self.workers[0].ports()['port']}"

    def start_router(self, name="router"):
        return Process(name, self.folder, [
            BIN / "octet-router", "--tokenizer", self.model / "tokenizer.model", "--pipeline", self.lead_address(),
            "--host", "127.0.0.1", "--grpc-port", 0, "--http-port", 0, "--metrics-port", 0, *self.router_flags])

    def start_worker(self, stage, port=0):
        command = worker_command(stage, self.stages, self.tp, self.model, self.worker_flags, self.backend)
        if stage > 0:
            command += ["--lead", self.lead_address()]
        if port:
            command[command.index("--port") + 1] = port
        return Process(f"stage-{stage}", self.folder, command)

    def restart_worker(self, stage):
        """Kills a stage and starts another in its place; the lead keeps its port."""
        port = self.workers[stage].ports()["port"] if stage == 0 else 0
        self.workers[stage].kill()
        self.workers[stage] = self.start_worker(stage, port)

    def ready(self):
        """Waits until the router has a ready pipeline."""
        port = self.router.ports()["metrics_port"]
        self.router.wait_until(lambda: status_of(f"http://127.0.0.1:{port}/ready") == 200, "it was ready")

    @property
    def grpc_target(self):
        return f"127.0.0.1:{self.router.ports()['grpc_port']}"

    @property
    def url(self):
        return f"http://127.0.0.1:{self.router.ports()['http_port']}"

    def post(self, path, body, **more):
        return requests.post(self.url + path, json=body, timeout=REQUEST_SECONDS, **more)

    def generate(self, body):
        return requests.put(self.url + "/generate", json=body, timeout=REQUEST_SECONDS)

    def lead_metric(self, name):
        return metric(self.workers[0].ports()["metrics_port"], name)

    def router_metric(self, name):
        return metric(self.router.ports()["metrics_port"], name)

    def wait_until_blocks_are_free(self, seconds=10):
        """No sequence holds blocks and none waits."""
        self.workers[0].wait_until(
            lambda: self.lead_metric("octet_kv_cache_usage_ratio") == self.lead_metric("octet_sequences_running")
            == self.lead_metric("octet_sequences_waiting") == 0,
            "all blocks were free", seconds)


def make_key(tenant, **fields):
    """An API key, and its line for --api-keys with these fields."""
    made = subprocess.run([BIN / "octet-router", "--make-api-key", tenant], capture_output=True, text=True, check=True,
                          timeout=REQUEST_SECONDS)
    return made.stderr.split()[-1], json.dumps({**json.loads(made.stdout), **fields})


def status_of(url):
    """The HTTP status, or None while nobody answers."""
    try:
        return requests.get(url, timeout=5).status_code
    except (requests.ConnectionError, requests.Timeout):
        return None


def metrics_page(port):
    response = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=10)
    response.raise_for_status()
    return response.text


def metric(port, name):
    """The sum of a metric's series, "name" or 'name{label="value"}' as on the page."""
    values = [float(line.rsplit(" ", 1)[1]) for line in metrics_page(port).splitlines()
              if line.startswith((name + " ", name + "{")) or line.rsplit(" ", 1)[0] == name]
    assert values, f"no metric {name}"
    return sum(values)
