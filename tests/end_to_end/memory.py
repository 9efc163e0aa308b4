"""What bytes from a client cost a process in resident memory."""
import re

KIB, MIB = 1 << 10, 1 << 20
NOISE = MIB  # what any request may take, however small


class Memory:
    """Of a process, in bytes."""

    def __init__(self, pid):
        self.folder = f"/proc/{pid}"

    def _read(self, name):
        with open(f"{self.folder}/status", encoding="ascii") as file:
            return int(re.search(rf"{name}:\s+(\d+) kB", file.read())[1]) * KIB

    def now(self):
        return self._read("VmRSS")

    def growth(self, action):
        """By how much it grew at most while the action ran, and what the action gave. The peak is the kernel's own."""
        with open(f"{self.folder}/clear_refs", "w", encoding="ascii") as file:
            file.write("5")
        before = self.now()
        given = action()
        return self._read("VmHWM") - before, given


class FreshRouter:
    """The deployment's router, started again when it has grown: what it has kept would hide what the next row takes."""

    def __init__(self, deployment):
        self.deployment = deployment
        self.fresh = Memory(deployment.router.pid).now()

    def get(self):
        deployment = self.deployment
        if Memory(deployment.router.pid).now() > self.fresh + NOISE:
            assert deployment.router.stop() == 0
            deployment.router = deployment.start_router()
            deployment.ready()
        return deployment.router


class GrowthTable:
    """Rows of what was sent and what it took at most, printed as a table."""

    def __init__(self):
        self.rows = []

    def add(self, name, size, growth):
        """How many times its size it took, what is noise aside."""
        times = max(0, growth - NOISE) / size
        self.rows.append((times, name, size, growth))
        return times

    def print(self):
        print("\n| what is sent | MiB | takes, MiB | times |\n|---|---|---|---|")
        for times, name, size, growth in sorted(self.rows, reverse=True):
            print(f"| {name} | {size / MIB:.2f} | {growth / MIB:.1f} | {times:.1f} |")
