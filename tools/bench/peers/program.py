"""Processes that answer lines with JSON, and stand still while the other one computes."""
import ctypes
import json
import os
import signal
import subprocess

PR_SET_PDEATHSIG = 1


def die_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Program:
    """A process of llama_program.py or octet-bench-model. Stopped by SIGSTOP except while it answers, so that neither spinning
    threads nor anything else of it take time from the other program."""

    def __init__(self, command, log_path):
        self.name = os.path.basename(str(command[-1] if "python" in str(command[0]) else command[0]))
        self.log_path = log_path
        with open(log_path, "ab") as log:
            self.process = subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                            stderr=log, text=True, preexec_fn=die_with_parent)
        self.loaded = self._answer()  # what it says once the model is loaded

    def ask(self, line):
        """The answer to one line, as a dict. Raises RuntimeError when the process has died."""
        os.kill(self.process.pid, signal.SIGCONT)
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            self._fail()
        return self._answer()

    def end(self):
        os.kill(self.process.pid, signal.SIGCONT)
        self.process.stdin.close()
        self.process.wait(timeout=60)

    def _answer(self):
        line = self.process.stdout.readline()
        if not line:
            self._fail()
        os.kill(self.process.pid, signal.SIGSTOP)
        return json.loads(line)

    def _fail(self):
        code = self.process.wait(timeout=60)
        last = "\n".join(open(self.log_path, encoding="utf-8", errors="replace").read().splitlines()[-10:])
        raise RuntimeError(f"{self.name} ended with {code}:\n{last}")
