"""Closed-loop load of an OpenAI server with prompts of token ids, over /v1/completions with streaming."""
import http.client
import json
import math
import threading
import time

from cases import token_at

TIMEOUT_SECONDS = 600


class Request:
    """One request and what became of it: seconds to its first token and to its end."""

    def __init__(self, port, index, prompt_tokens, output_tokens, vocabulary):
        self.port, self.output_tokens = port, output_tokens
        self.prompt = [token_at(index, position, vocabulary) for position in range(prompt_tokens)]
        self.first_token = self.end = None

    def run(self):
        """Raises RuntimeError for an answer of another length or a status other than 200."""
        body = {"prompt": self.prompt, "max_tokens": self.output_tokens, "temperature": 0, "ignore_eos": True, "stream": True,
                "stream_options": {"include_usage": True}}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_SECONDS)
        began = time.monotonic()
        connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        if response.status != 200:
            raise RuntimeError(f"status {response.status}: {response.read(500)}")
        usage = None
        for line in response:
            if not line.startswith(b"data: {"):
                continue
            chunk = json.loads(line[len(b"data: "):])
            if chunk.get("choices") and self.first_token is None:
                self.first_token = time.monotonic() - began
            usage = chunk.get("usage") or usage
        self.end = time.monotonic() - began
        connection.close()
        counted = usage and (usage["prompt_tokens"], usage["completion_tokens"])
        if counted != (len(self.prompt), self.output_tokens):
            raise RuntimeError(f"prompt and output have {counted} tokens, not {len(self.prompt)} and {self.output_tokens}")


def run_load(port, clients, requests, prompt_tokens, output_tokens, vocabulary, first_prompt=0):
    """Runs the requests, `clients` at a time, and returns figures. Raises the first error of a request."""
    waiting = [Request(port, first_prompt + index, prompt_tokens, output_tokens, vocabulary) for index in range(requests)]
    done, errors, lock = [], [], threading.Lock()

    def client():
        while not errors:
            with lock:
                if not waiting:
                    return
                request = waiting.pop(0)
            try:
                request.run()
            except (OSError, RuntimeError, http.client.HTTPException) as error:
                errors.append(error)
                return
            done.append(request)

    began = time.monotonic()
    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - began
    if errors:
        raise errors[0]
    first_tokens = sorted(request.first_token for request in done)
    return {"tokens_per_second": requests * output_tokens / seconds, "ttft_p50": quantile(first_tokens, 0.5),
            "ttft_p99": quantile(first_tokens, 0.99), "seconds": seconds}


def quantile(ordered, part):
    """The smallest value with at least this part of the values at or below it."""
    return ordered[math.ceil(len(ordered) * part) - 1]
