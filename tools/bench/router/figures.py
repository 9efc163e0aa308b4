#!/usr/bin/env python3
"""What clients notice of a router, with simulated pipelines behind it and every answer compared: one command for each figure, which
prints its rows.

usage: tools/bench/router/figures.py latency|memory|overload|neighbour|flood|cluster [--requests N] [--bin build/release/bin]

  latency     what a router adds to a direct call of the lead, over gRPC, one call after the other (needs .venv's grpcio)
  memory      resident memory over 200,000 requests of 64 clients
  overload    requests at 1, 2 and 10 times what the pipeline takes
  neighbour   a tenant that sends half its share of a pipeline, beside one that sends 1, 2 and 50 times its own
  flood       running streams beside a flood of prompts of 2,000 tokens
  cluster     two routers before three pipelines, under three APIs at once: 6 times 20,000 requests

Pipelines of overload, neighbour and flood are paced, far below what router and load can do, so that a busy machine moves them
little (`nice -n -15` helps); latency wants a quiet one.
"""
import argparse
import asyncio
import contextlib
import itertools
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

from run import MAX_TOKENS, NANO, ROOT, ask, resident_mib, start, write_prompts

SHORT, VARIED, LONG = "prompts.jsonl", "varied.jsonl", "long.jsonl"
LONG_TOKENS, NUM_LONG = 2000, 96  # more than the prefix cache holds
SECONDS = 60  # of each load of overload, neighbour and flood
SLOTS = 64
# About 45 answers a second, of 1 to 256 tokens: answers of one length that began together would end together, again and again.
VARIED_TOKENS, VARIED_MEAN, STEP_SECONDS = 256, 110, 0.012
PACE = ("--simulated-step-time", f"{1000 * STEP_SECONDS:.0f}ms", "--max-sequences", SLOTS)
RAMP_SECONDS, FULL_SECONDS = 5, 20
# About that of 340B on eight GPUs, so that a whole chunk of a prompt takes as long as a step without one.
FLOOD_PACE = ("--simulated-step-time", "17.5ms", "--simulated-token-time", "0.07ms")


class Bench:
    """Processes of a figure, all of them ended at its end; the router has a core for itself."""

    def __init__(self, binaries):
        self.bin = binaries
        self.router_cpu, self.other_cpu = sorted(os.sched_getaffinity(0))[:2]
        self.folder = pathlib.Path(tempfile.mkdtemp())
        self.processes = []
        self.numbers = itertools.count()

    def start(self, name, cpu, command):
        process, ports = start(self.folder, f"{name}-{next(self.numbers)}", cpu, command)
        self.processes.append(process)
        return process, ports

    def lead(self, *flags):
        return self.start("lead", self.other_cpu, [
            self.bin / "octet-worker", "--model", NANO, "--backend", "simulated", "--host", "127.0.0.1", "--port", 0,
            "--link-port", 0, "--metrics-port", 0, *flags])

    def router(self, leads, *flags):
        pipelines = ",".join(f"127.0.0.1:{ports['port']}" for _, ports in leads)
        return self.start("router", self.router_cpu, [
            self.bin / "octet-router", "--tokenizer", NANO / "tokenizer.model", "--pipeline", pipelines, "--host", "127.0.0.1",
            "--grpc-port", 0, "--http-port", 0, "--metrics-port", 0, *flags])

    def end(self):
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait(timeout=60)
        self.processes.clear()

    def write_prompts(self):
        """Short ones with the answers of a lead that answers at once, which depend on the prompt only; and long ones, each with a
        beginning of its own."""
        _, ports = self.router([self.lead()])
        write_prompts(self.folder / SHORT, ports["http_port"], model_of(ports))
        prompts = [json.loads(line)["prompt"] for line in (self.folder / SHORT).read_text(encoding="utf-8").splitlines()]
        with open(self.folder / VARIED, "w", encoding="utf-8") as file:
            for prompt in prompts:
                body = {"prompt": prompt, "max_tokens": VARIED_TOKENS, "temperature": 0}
                text = ask(ports["http_port"], body)["choices"][0]["text"]
                file.write(json.dumps({"prompt": prompt, "expected": text, "max_tokens": VARIED_TOKENS}) + "\n")
        words = prompts[0].split()
        with open(self.folder / LONG, "w", encoding="utf-8") as file:
            for i in range(NUM_LONG):
                text = " ".join([f"{i}", *(words[(i + j) % len(words)] for j in range(LONG_TOKENS))])
                tokens = ask(ports["http_port"], {"prompt": text}, "/tokenize")["tokens"][:LONG_TOKENS]
                text = ask(ports["http_port"], {"tokens": tokens}, "/detokenize")["prompt"]
                file.write(json.dumps({"prompt": text, "max_tokens": 1}) + "\n")
        self.end()

    def load(self, ports, *flags, api="openai", prompts=SHORT, key=None):
        """octet-bench, started: call the result for its figures."""
        target = f"127.0.0.1:{ports['grpc_port' if api == 'grpc' else 'http_port']}"
        figures = self.folder / f"figures-{time.monotonic_ns()}.json"
        bench = subprocess.Popen(
            ["taskset", "-c", str(self.other_cpu), self.bin / "octet-bench", "--api", api, "--target", target, "--prompts",
             self.folder / prompts, "--allow-errors", "--json", figures, *map(str, flags)],
            stdout=subprocess.DEVNULL, env={**os.environ, **({"OCTET_API_KEY": key} if key else {})})

        def result():
            assert bench.wait() == 0, "wrong answers, or octet-bench could not run"
            return json.loads(figures.read_text())
        return result


def model_of(ports):
    with urllib.request.urlopen(f"http://127.0.0.1:{ports['http_port']}/v1/models", timeout=10) as models:
        return json.load(models)["data"][0]["id"]


def metric(ports, name):
    with urllib.request.urlopen(f"http://127.0.0.1:{ports['metrics_port']}/metrics", timeout=10) as page:
        return sum(float(value) for value in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", page.read().decode(), re.MULTILINE))


def ms(figures, name, quantile):
    value = (figures.get(name) or {}).get(quantile)
    return f"{1000 * value:.1f}" if value is not None else "-"


def row(*cells):
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def head(*cells):
    row(*cells)
    print("|" + "---|" * len(cells), flush=True)


@contextlib.contextmanager
def stubs(folder):
    from grpc_tools import protoc
    failed = protoc.main(["protoc", f"-I{ROOT / 'proto'}", f"--python_out={folder}", f"--grpc_python_out={folder}",
                          "octet/v1/generation.proto", "octet/v1/pipeline.proto"])
    assert not failed
    sys.path.insert(0, str(folder))
    yield
    sys.path.remove(str(folder))


async def time_calls(bench, lead_ports, router_ports, rounds):
    """(whole answers of one token, first tokens of 64): {"direct": seconds, "through": seconds} each."""
    import grpc.aio
    from octet.v1 import generation_pb2, generation_pb2_grpc, pipeline_pb2, pipeline_pb2_grpc
    options = [("grpc.enable_http_proxy", 0)]
    prompts = [json.loads(line)["prompt"] for line in (bench.folder / SHORT).read_text(encoding="utf-8").splitlines()]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{router_ports['grpc_port']}", options) as to_router, \
            grpc.aio.insecure_channel(f"127.0.0.1:{lead_ports['port']}", options) as to_lead:
        router = generation_pb2_grpc.GenerationStub(to_router)
        pipeline = pipeline_pb2_grpc.PipelineStub(to_lead)
        ids = [list((await router.Tokenize(generation_pb2.TokenizeRequest(text=text))).token_ids) for text in prompts]

        async def direct(i, max_tokens):
            begin, times = time.perf_counter(), []
            sampling = pipeline_pb2.SequenceSampling(temperature=0, top_p=1, repetition_penalty=1)
            sequence = pipeline_pb2.StartSequence(sequence_id=1, prompt_tokens=ids[i], max_tokens=max_tokens, stop_token_ids=[3],
                                                  sampling=sampling)
            call = pipeline.Submit()
            await call.write(pipeline_pb2.SubmitRequest(start=sequence))
            async for message in call:
                times.append(time.perf_counter() - begin)
                if message.outputs[0].finish_reason:
                    break
            call.cancel()
            return times

        async def through(i, max_tokens):
            begin, times = time.perf_counter(), []
            request = generation_pb2.GenerateRequest(text=prompts[i], sampling=generation_pb2.SamplingParams(temperature=0),
                                                     stop=generation_pb2.StopConditions(max_tokens=max_tokens))
            async for message in router.Generate(request):
                if message.token_ids:
                    times.append(time.perf_counter() - begin)
            return times

        whole, first = ({"direct": [], "through": []} for _ in range(2))
        for i in range(rounds):
            for call in direct, through:
                whole[call.__name__].append((await call(i % len(prompts), 1))[-1])
                first[call.__name__].append((await call(i % len(prompts), MAX_TOKENS))[0])
        return whole, first


def latency(bench, rounds=500):
    """The same client, the same number of messages: a stream for each call, to the router and to the lead in turn."""
    lead = bench.lead()
    _, ports = bench.router([lead])
    os.sched_setaffinity(0, {bench.other_cpu})
    with stubs(bench.folder):
        measured = asyncio.run(time_calls(bench, lead[1], ports, rounds))
    head("one call at a time, p50 and p99, ms", "direct", "through the router", "added")
    for name, times in zip(("whole answer of a token", f"first token of {MAX_TOKENS}"), measured, strict=True):
        direct, through = (statistics.quantiles(times[call][rounds // 10:], n=100) for call in ("direct", "through"))
        row(name, *(f"{1000 * of(49):.2f}, {1000 * of(98):.2f}" for of in (
            direct.__getitem__, through.__getitem__, lambda q, a=direct, b=through: b[q] - a[q])))


def memory(bench, requests=200_000):
    router, ports = bench.router([bench.lead()])
    idle = resident_mib(router)
    figures = bench.load(ports, "--clients", 64, "--requests", requests, "--watch-pid", router.pid)()
    assert figures["verified"] == requests
    early, final = (figures["processes"][0][name] / 2**20 for name in ("resident_bytes_early", "resident_bytes_final"))
    head("requests", "idle, MiB", f"after {requests // 10:,}, MiB", "at the end, MiB", "growth")
    row(f"{requests:,}", f"{idle:.1f}", f"{early:.1f}", f"{final:.1f}", f"{100 * (final / early - 1):+.1f} %")


def capacity(bench, lead_ports, ports, key=None):
    """Requests a second that the pipeline ends while it is full."""
    per_second = 3 * SLOTS / (VARIED_MEAN * STEP_SECONDS)  # about three times as many as it takes
    load = bench.load(ports, "--rate", per_second, "--requests", int(per_second * (2 * RAMP_SECONDS + FULL_SECONDS)),
                      prompts=VARIED, key=key)
    time.sleep(RAMP_SECONDS)
    before = metric(lead_ports, "octet_sequences_ended_total")
    time.sleep(FULL_SECONDS)
    ended = metric(lead_ports, "octet_sequences_ended_total") - before
    load()
    return ended / FULL_SECONDS


def make_keys(bench, *tenants):
    """Their API keys by name, and the file for --api-keys."""
    keys = {}
    path = bench.folder / "keys.jsonl"
    with open(path, "w", encoding="utf-8") as file:
        for name in tenants:
            made = subprocess.run([bench.bin / "octet-router", "--make-api-key", name], capture_output=True, text=True, check=True)
            file.write(made.stdout)
            keys[name] = made.stderr.split()[-1]
    return keys, path


def overload(bench):
    lead = bench.lead(*PACE)
    _, ports = bench.router([lead], "--pipeline-max-sequences", SLOTS, "--max-queue-wait", "500ms")
    rate = capacity(bench, lead[1], ports)
    head("load", "requests/s", "answered", "refused", "TTFT p50, ms", "TTFT p99, ms", "refusal p99, ms", "goodput, tokens/s")
    for times in (1, 2, 10):
        result = bench.load(ports, "--rate", times * rate, "--requests", int(times * rate * SECONDS), prompts=VARIED)()
        assert not result["wrong"] and result["verified"] + result["failed"] == result["requests"]
        assert set(result["failures"]) <= {"http 429"}, result["failures"]
        row(f"{times} x", f"{times * rate:.0f}", result["verified"], result["failed"], ms(result, "ttft_seconds", "p50"),
            ms(result, "ttft_seconds", "p99"), ms(result, "refusal_seconds", "p99"), f"{result['output_tokens_per_second']:.0f}")


def neighbour(bench):
    keys, path = make_keys(bench, "light", "heavy")
    lead = bench.lead(*PACE)
    _, ports = bench.router([lead], "--pipeline-max-sequences", SLOTS, "--api-keys", path, "--max-queue-wait", "5s")
    rate = capacity(bench, lead[1], ports, keys["heavy"])
    head("the other tenant sends", "requests/s", "it is answered", "its TTFT p50, ms", "p99, ms", "this tenant's TTFT p50, ms", "p99, ms")
    for times in (0, 1, 2, 50):
        heavy = None
        if times:
            heavy = bench.load(ports, "--rate", times * rate / 2, "--requests", int(times * rate / 2 * SECONDS),
                               prompts=VARIED, key=keys["heavy"])
        light = bench.load(ports, "--rate", rate / 4, "--requests", int(rate / 4 * SECONDS), prompts=VARIED,
                           key=keys["light"])()
        other = heavy() if heavy else {}
        assert not light["wrong"] and not light["failed"], light
        row(f"{times} x its share" if times else "nothing", f"{times * rate / 2:.0f}", other.get("verified", "-"),
            ms(other, "ttft_seconds", "p50"), ms(other, "ttft_seconds", "p99"), ms(light, "ttft_seconds", "p50"),
            ms(light, "ttft_seconds", "p99"))


def flood(bench):
    """Twice as many long prompts as the pipeline can compute, of another tenant."""
    keys, path = make_keys(bench, "streams", "flood")
    _, ports = bench.router([bench.lead(*FLOOD_PACE)], "--api-keys", path, "--max-queue-wait", "5s",
                            "--pipeline-max-prompt-tokens", 512)  # twice a micro-batch
    head("beside", "ITL p50, ms", "ITL p99, ms", "TTFT p50, ms", "TTFT p99, ms", "long prompts answered", "refused")
    for rate in (0, 7):
        long = None
        if rate:
            long = bench.load(ports, "--rate", rate, "--requests", rate * SECONDS, prompts=LONG, key=keys["flood"])
        result = bench.load(ports, "--clients", 8, "--requests", 8 * SECONDS // 4, key=keys["streams"])()
        assert not result["wrong"] and not result["failed"], result
        other = long() if long else None
        assert other is None or set(other["failures"]) <= {"http 429"}, other["failures"]
        row(f"{rate} prompts/s of {LONG_TOKENS:,} tokens" if rate else "nothing", *(
            ms(result, name, quantile) for name in ("itl_seconds", "ttft_seconds") for quantile in ("p50", "p99")),
            *((other["requests"] - other["failed"], other["failed"]) if other else ("-", "-")))


def cluster(bench, requests=20_000):
    leads = [bench.lead() for _ in range(3)]
    routers = [bench.router(leads)[1] for _ in range(2)]
    loads = [(0, "openai"), (1, "grpc"), (0, "grpc"), (1, "openai"), (0, "nemo"), (1, "nemo")]
    running = [bench.load(routers[router], "--clients", 16, "--requests", requests, api=api) for router, api in loads]
    head("router", "API", "answers", "verified", "wrong", "failed", "answers/s")
    for (router, api), result in zip(loads, running, strict=True):
        figures = result()
        row(router, api, figures["requests"], figures["verified"], figures["wrong"], figures["failed"],
            f"{figures['answers_per_second']:.0f}")
        assert figures["verified"] == requests
    served = [metric(ports, "octet_sequences_ended_total") for _, ports in leads]
    print("\nSequences of each pipeline: " + ", ".join(f"{number:,.0f}" for number in served))


FIGURES = {figure.__name__: figure for figure in (latency, memory, overload, neighbour, flood, cluster)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figure", choices=FIGURES)
    parser.add_argument("--requests", type=int, help="of memory, and of each load of cluster")
    parser.add_argument("--bin", default=ROOT / "build" / "release" / "bin", type=pathlib.Path)
    options = parser.parse_args()
    bench = Bench(options.bin)
    try:
        bench.write_prompts()
        FIGURES[options.figure](bench, *([options.requests] if options.requests else []))
    finally:
        bench.end()
        shutil.rmtree(bench.folder, ignore_errors=True)


if __name__ == "__main__":
    main()
