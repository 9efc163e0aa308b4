"""What is done to a process while the load runs, and how it is measured."""
import dataclasses
import datetime
import random
import re
import signal
import time

from faults.cluster import Cluster, vocabulary
from faults.load import Load, Tally

STEP_TIMEOUT_SECONDS = 2
WORKER_FLAGS = ("--step-timeout", f"{STEP_TIMEOUT_SECONDS}s", "--join-timeout", "10s", "--drain-timeout", "500ms",
                "--simulated-step-time", "3ms")
ROUTER_FLAGS = ("--pipeline-timeout", f"{STEP_TIMEOUT_SECONDS}s", "--drain-timeout", "5s")
WAIT_SECONDS = 60
SEED = 1


@dataclasses.dataclass
class Result:
    """One row of the table."""
    what: str
    tally: Tally
    detected_ms: float | None  # from the fault to the first process that says so; None: nobody has to
    pause_ms: float            # the longest time without a token of any stream, from the fault to a second after its end
    moves: int                 # sequences that went on elsewhere
    epochs: int                # that ended in a lead

    def row(self):
        tally = self.tally
        detected = "-" if self.detected_ms is None else f"{self.detected_ms:.0f}"
        return (f"| {self.what} | {tally.sent} | {tally.right} | {tally.lost} | {tally.changed} | {tally.asked_again} | "
                f"{self.moves} | {self.epochs} | {detected} | {self.pause_ms:.0f} |")


HEADER = ("| fault | requests | right | lost | changed | asked again | moves | epochs ended | detected after, ms | longest pause, ms |\n"
          "|---|---|---|---|---|---|---|---|---|---|")


def log_time(line):
    found = re.match(r"(\S+T\S+)", line)
    return datetime.datetime.fromisoformat(found[1]).timestamp() if found else 0


class Scene:
    """A cluster, a fault, and who has to notice it."""

    def __init__(self, cluster, requests, clients):
        self.cluster, self.requests, self.clients = cluster, requests, clients
        self.load = None  # while one runs
        self.draw = random.Random(SEED)

    def noticed_since(self, moment, target):
        """When the first log line that tells of the target's end was written, after the moment."""
        if "router" in target:
            return None
        lead = target.endswith("stage-0")
        pipeline = target.split("-stage-")[0]
        watchers, says = (self.cluster.routers, "is lost with") if lead else ([f"{pipeline}-stage-0"], " has ended: ")
        times = [log_time(line) for name in watchers for line in self.cluster.processes[name].log(100_000).splitlines()
                 if says in line]
        return min((when for when in times if when >= moment), default=None)

    def await_noticed(self, moment, target):
        process = self.cluster.processes["router-0" if "router" not in target else "router-1"]
        return process.wait_until(lambda: self.noticed_since(moment, target), f"the fault of {target} was noticed", WAIT_SECONDS)

    def kill(self, target):
        self.cluster.restart(target)

    def hang(self, target):
        """Stopped until its peers have noticed, or, where nobody has to, for as long as they would take."""
        moment = time.time()
        self.cluster.signal(target, signal.SIGSTOP)
        try:
            if "router" in target:
                time.sleep(STEP_TIMEOUT_SECONDS)
            else:
                self.await_noticed(moment, target)
        finally:
            self.cluster.signal(target, signal.SIGCONT)

    def terminate(self, target):
        self.cluster.signal(target, signal.SIGTERM)
        code = self.cluster.processes[target].wait_exit()
        assert code == 0, f"{target} ended with {code}\n{self.cluster.processes[target].log()}"
        self.cluster.start(target)

    def roll(self, _):
        """Every pipeline and then every router is told to end and started again, one after the other."""
        for pipeline in range(self.cluster.num_pipelines):
            names = [name for name in self.cluster.workers if name.startswith(f"pipeline-{pipeline}-")]
            for name in names:
                self.cluster.signal(name, signal.SIGTERM)
            for name in names:
                assert self.cluster.processes[name].wait_exit() == 0, name
            for name in names:
                self.cluster.start(name)
            self.cluster.wait_until_ready()
        for name in self.cluster.routers:
            self.terminate(name)
            self.cluster.wait_until_ready()

    def at_random(self, _):
        """One worker after the other, drawn with its fault, until most of the load is done."""
        num_faults = 0
        while self.load.num_done() < self.requests * 9 // 10:
            fault = self.draw.choice([self.kill, self.kill, self.terminate, self.pause])
            fault(self.draw.choice(self.cluster.workers))
            num_faults += 1
            self.cluster.wait_until_ready()
            time.sleep(self.draw.uniform(0, 0.5))
        return f": {num_faults} faults"

    def pause(self, target):
        """For less or more than the others take to notice."""
        with self.cluster.stopped(target):
            time.sleep(self.draw.uniform(0.5, 1.5) * STEP_TIMEOUT_SECONDS)

    def may_ask_again(self, do, target):
        """Routers lose their streams; without a lead newcomers are refused, and told when to come again."""
        return do == self.roll or "router" in target or self.cluster.leads == [target]

    def play(self, what, do, target=""):
        """Does it after a third of the load; `do` is one of the methods above."""
        cluster = self.cluster
        moves = cluster.router_metric("octet_moves_total")
        epochs = self.epochs_ended()
        targets = [cluster.target(i) for i in range(cluster.num_routers)]
        with Load(targets, vocabulary(cluster.model), self.requests, self.clients,
                  may_ask_again=self.may_ask_again(do, target)) as load:
            self.load = load
            watched = cluster.processes[next(name for name in cluster.routers if name != target)]
            watched.wait_until(lambda: load.num_done() >= self.requests // 3, "a third was done", WAIT_SECONDS * 10)
            moment = time.time()
            what += do(target) or ""
            end = time.time() + 1
            finished_before = load.is_done()
        assert not finished_before, f"{what}: the load was over before the fault was; ask for more requests"
        detected = None
        if target and do != self.terminate and "router" not in target:
            detected = (self.noticed_since(moment, target) - moment) * 1000
        cluster.wait_until_ready()
        cluster.wait_until_blocks_are_free()
        return Result(what, load.tally, detected, load.longest_gap(moment, end) * 1000,
                      int(max(cluster.router_metric("octet_moves_total") - moves, 0)),
                      int(max(self.epochs_ended() - epochs, 0)))

    def epochs_ended(self):
        return sum(self.cluster.metric(lead, "octet_epochs_ended_total") for lead in self.cluster.leads)

    def faults(self):
        """(what, method, target) of every row."""
        routers, lead, later = self.cluster.routers, *[self.cluster.workers[i] for i in (0, 1)]
        for target, name in ((lead, "lead"), (later, "later stage"), (routers[0], "router")):
            if "router" in target and len(routers) < 2:
                continue
            yield f"{name}: kill -9", self.kill, target
            yield f"{name}: SIGSTOP, SIGCONT", self.hang, target
            yield f"{name}: SIGTERM", self.terminate, target
        if self.cluster.num_pipelines > 1:
            yield "every pipeline and router in turn: SIGTERM", self.roll, ""
            yield "workers at random, kill -9, SIGSTOP or SIGTERM", self.at_random, ""


def simulated_cluster(folder, model, pipelines=2):
    return Cluster(folder, pipelines=pipelines, stages=2, routers=2, model=model, worker_flags=WORKER_FLAGS,
                   router_flags=ROUTER_FLAGS)
