#!/usr/bin/env python3
"""What the router costs: octet-router alone on one core; on another a simulated lead, which answers at once, and octet-bench,
which compares every answer. Prompts are text of about 1 KiB with a shared beginning, answers 64 tokens at most.

usage: tools/bench/router/run.py [--bin build/release/bin] [--connections 1,64,256] [--requests 4000] [--step-time 5ms]
With a step time the lead takes that long for a step, as a model does, and the router is never behind: every token has an event
of its own. Without, tokens that came together are one event.
Prints a table: requests and streamed tokens a second, the router's CPU time for each, latencies, resident memory.
"""
import argparse
import ctypes
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[3]
NANO = ROOT / "deploy" / "nano"
PROMPTS, WORDS, MAX_TOKENS = 64, 180, 64
TICKS = os.sysconf("SC_CLK_TCK")
START_SECONDS = 60
PR_SET_PDEATHSIG = 1


def start(folder, name, cpu, command):
    """The process, and its ports once it has written them."""
    def prepare():
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        os.sched_setaffinity(0, {cpu})

    port_file = folder / f"{name}.json"
    with open(folder / f"{name}.log", "wb") as log:
        process = subprocess.Popen([*map(str, command), "--port-file", port_file], stdout=log, stderr=log, preexec_fn=prepare)
    deadline = time.monotonic() + START_SECONDS
    while not port_file.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"run.py: {name} did not start:\n{(folder / f'{name}.log').read_text()}")
        time.sleep(0.02)
    return process, json.loads(port_file.read_text())


def ask(port, body, path="/v1/completions"):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", json.dumps(body).encode(),
                                     {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def write_prompts(path, port, model):
    """With the answers that the pipeline gives to each alone; the model's made-up tokens depend on the prompt only."""
    draw = random.Random(1)
    words = re.findall(r"[a-z]{3,}", (ROOT / "README.md").read_text())
    shared = " ".join(draw.choice(words) for _ in range(WORDS // 2))
    with open(path, "w", encoding="utf-8") as file:
        for _ in range(PROMPTS):
            prompt = shared + " " + " ".join(draw.choice(words) for _ in range(WORDS // 2))
            text = ask(port, {"model": model, "prompt": prompt, "max_tokens": MAX_TOKENS, "temperature": 0})["choices"][0]["text"]
            file.write(json.dumps({"prompt": prompt, "expected": text, "max_tokens": MAX_TOKENS}) + "\n")


def cpu_seconds(process):
    fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident_mib(process):
    return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{process.pid}/status").read_text())[1]) / 1024


def load(options, folder, router, ports, api, connections, requests, cpu):
    figures = folder / "figures.json"
    target = ports["grpc_port" if api == "grpc" else "http_port"]
    before = cpu_seconds(router)
    subprocess.run(["taskset", "-c", str(cpu), options.bin / "octet-bench", "--api", api, "--target", f"127.0.0.1:{target}",
                    "--prompts", folder / "prompts.jsonl", "--clients", str(connections), "--requests", str(requests),
                    "--json", figures], check=True, stdout=subprocess.DEVNULL)
    result = json.loads(figures.read_text())
    assert result["verified"] == requests and not result["wrong"] and not result["failed"], result
    result["cpu_seconds"] = cpu_seconds(router) - before
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bin", default=ROOT / "build" / "release" / "bin", type=pathlib.Path)
    parser.add_argument("--connections", default="1,64,256")
    parser.add_argument("--requests", default=4000, type=int)
    parser.add_argument("--step-time", default="0ms")
    options = parser.parse_args()
    router_cpu, other_cpu = sorted(os.sched_getaffinity(0))[:2]
    folder = pathlib.Path(tempfile.mkdtemp())
    try:
        common = ["--host", "127.0.0.1", "--metrics-port", 0]
        lead, lead_ports = start(folder, "lead", other_cpu, [
            options.bin / "octet-worker", "--model", NANO, "--backend", "simulated",
            "--simulated-step-time", options.step_time, "--port", 0, "--link-port", 0, *common])
        router, ports = start(folder, "router", router_cpu, [
            options.bin / "octet-router", "--tokenizer", NANO / "tokenizer.model", "--pipeline", f"127.0.0.1:{lead_ports['port']}",
            "--grpc-port", 0, "--http-port", 0, *common])
        idle = resident_mib(router)
        with urllib.request.urlopen(f"http://127.0.0.1:{ports['http_port']}/v1/models", timeout=10) as models:
            model = json.load(models)["data"][0]["id"]
        write_prompts(folder / "prompts.jsonl", ports["http_port"], model)
        print("| API | connections | requests/s | tokens/s | router CPU us a request | router CPU us a token | TTFT p50, ms | ITL p50, ms |\n"
              "|---|---|---|---|---|---|---|---|")
        for api in ("openai", "grpc", "nemo"):
            for connections in map(int, options.connections.split(",")):
                requests = options.requests if connections > 1 else options.requests // 8
                result = load(options, folder, router, ports, api, connections, requests, other_cpu)
                tokens = result["output_tokens"]
                medians = [(result.get(name) or {}).get("p50") for name in ("ttft_seconds", "itl_seconds")]
                cells = [api + (", streamed" if api != "nemo" else ", whole"), connections, f"{result['answers_per_second']:.0f}",
                         f"{result['output_tokens_per_second']:.0f}" if tokens else "-", f"{1e6 * result['cpu_seconds'] / requests:.0f}",
                         f"{1e6 * result['cpu_seconds'] / tokens:.1f}" if tokens else "-",
                         *(f"{1e3 * median:.2f}" if median is not None else "-" for median in medians)]
                print("| " + " | ".join(map(str, cells)) + " |", flush=True)
        print(f"\nRouter RSS: {idle:.0f} MiB idle, {resident_mib(router):.0f} MiB at the end.")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
