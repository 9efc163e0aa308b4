"""Several pipelines and routers as real processes, each of which can be killed, stopped, told to end and started again."""
import contextlib
import json
import signal

import grpc

from end_to_end.deployment import BIN, NANO, Process, ProcessGroup, metric, status_of, worker_command


class Cluster(ProcessGroup):
    """Processes by name: "router-R" and "pipeline-P-stage-S". Use as a context manager; __enter__ waits until all is ready."""

    def __init__(self, folder, pipelines=2, stages=2, routers=2, model=NANO, backend="simulated", worker_flags=(),
                 router_flags=()):
        self.folder = folder
        self.num_pipelines, self.num_stages, self.num_routers = pipelines, stages, routers
        self.model, self.backend = model, backend
        self.worker_flags, self.router_flags = worker_flags, router_flags
        self.ports = {}  # by name, from the first start on: who comes again is found where it was
        self.processes = {}
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def leads(self):
        return [f"pipeline-{i}-stage-0" for i in range(self.num_pipelines)]

    @property
    def routers(self):
        return [f"router-{i}" for i in range(self.num_routers)]

    @property
    def workers(self):
        return [f"pipeline-{i}-stage-{j}" for i in range(self.num_pipelines) for j in range(self.num_stages)]

    def __enter__(self):
        try:
            for name in [*self.workers, *self.routers]:
                self.start(name)
            self.wait_until_ready()
        except BaseException:
            self.kill()
            raise
        return self

    def in_order_of_their_end(self):
        return [self.processes[name] for name in [*self.routers, *reversed(self.workers)] if name in self.processes]

    def address(self, lead):
        return f"127.0.0.1:{self.ports[lead]['port']}"

    def command(self, name):
        if name in self.routers:
            return [BIN / "octet-router", "--tokenizer", self.model / "tokenizer.model",
                    "--pipeline", ",".join(self.address(lead) for lead in self.leads), "--host", "127.0.0.1",
                    "--grpc-port", 0, "--http-port", 0, "--metrics-port", 0, *self.router_flags]
        pipeline, stage = name.removeprefix("pipeline-").split("-stage-")
        command = worker_command(stage, self.num_stages, 1, self.model, self.worker_flags, self.backend)
        return command + (["--lead", self.address(f"pipeline-{pipeline}-stage-0")] if stage != "0" else [])

    def start(self, name):
        """Starts a process, or another one in its place. A router's ports are known once a pipeline is ready."""
        command = [str(part) for part in self.command(name)]
        for key, port in self.ports.get(name, {}).items():
            flag = "--" + key.replace("_", "-")
            if flag in command:
                command[command.index(flag) + 1] = str(port)
        self.processes[name] = Process(name, self.folder, command)
        if name not in self.ports and name in self.workers:
            self.ports[name] = self.processes[name].ports()

    def restart(self, name):
        """In place of one that has ended, or is killed now."""
        if self.processes[name].popen.poll() is None:
            self.processes[name].kill()
        self.processes[name].wait_exit()
        self.start(name)

    def signal(self, name, number):
        self.processes[name].popen.send_signal(number)

    @contextlib.contextmanager
    def stopped(self, name):
        self.signal(name, signal.SIGSTOP)
        try:
            yield
        finally:
            self.signal(name, signal.SIGCONT)

    def wait_until_ready(self, pipelines=None):
        """Every router runs and sees so many pipelines, by default all."""
        pipelines = self.num_pipelines if pipelines is None else pipelines
        for name in self.routers:
            process = self.processes[name]
            self.ports[name] = process.ports()
            port = self.ports[name]["metrics_port"]
            process.wait_until(lambda port=port: status_of(f"http://127.0.0.1:{port}/ready") == 200, "it was ready")
            process.wait_until(lambda port=port: metric(port, "octet_pipelines_ready") == pipelines,
                               f"{pipelines} pipelines were ready")

    def metric(self, name, series):
        return metric(self.ports[name]["metrics_port"], series)

    def router_metric(self, series):
        return sum(self.metric(name, series) for name in self.routers)

    def wait_until_blocks_are_free(self, seconds=20):
        """No sequence holds blocks and none waits, on any pipeline."""
        for name in self.leads:
            self.processes[name].wait_until(
                lambda name=name: self.metric(name, "octet_kv_cache_usage_ratio")
                == self.metric(name, "octet_sequences_running") == self.metric(name, "octet_sequences_waiting") == 0,
                "all blocks were free", seconds)

    def target(self, router=0):
        return f"127.0.0.1:{self.ports[f'router-{router}']['grpc_port']}"

    def url(self, router=0):
        return f"http://127.0.0.1:{self.ports[f'router-{router}']['http_port']}"

    def channel(self, router=0):
        return grpc.insecure_channel(self.target(router), options=[("grpc.enable_http_proxy", 0)])


def weightless_model(folder):
    """What a simulated worker needs, and the router's tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ["config.json", *(path.name for path in NANO.glob("tokenizer*"))]:
        (folder / name).write_bytes((NANO / name).read_bytes())
    return folder


def vocabulary(model):
    """Size, and the id that ends a sequence."""
    config = json.loads((model / "config.json").read_text())
    return config["vocab_size"], config["eos_token_id"]
