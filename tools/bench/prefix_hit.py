#!/usr/bin/env python3
"""How much sooner the first token comes when the beginning of a prompt is cached: pairs of a new prompt of random tokens and one
that differs from it in its last ten, one request at a time, over OpenAI's completions.

usage: prefix_hit.py [--url http://127.0.0.1:1424] [--tokens 2000] [--rounds 15] [--vocabulary 1600]
"""
import argparse
import http.client
import json
import random
import statistics
import time
import urllib.parse

DIFFERENT = 10


def first_token(url, model, prompt):
    """Seconds to the first event, and how many of the prompt's tokens were cached."""
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=120)
    body = {"model": model, "prompt": prompt, "max_tokens": 2, "temperature": 0, "ignore_eos": True, "stream": True,
            "stream_options": {"include_usage": True}}
    began = time.perf_counter()
    connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    if answer.status != 200:
        raise SystemExit(f"prefix_hit.py: {answer.status}: {answer.read().decode()}")
    seconds, cached = None, None
    for line in answer:
        if not line.startswith(b"data: {"):
            continue
        seconds = seconds if seconds is not None else time.perf_counter() - began
        usage = json.loads(line[6:]).get("usage")
        if usage:
            cached = usage["prompt_tokens_details"]["cached_tokens"]
    connection.close()
    return seconds, cached


def model_of(url):
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=10)
    connection.request("GET", "/v1/models")
    return json.load(connection.getresponse())["data"][0]["id"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--url", default="http://127.0.0.1:1424", type=urllib.parse.urlsplit)
    parser.add_argument("--tokens", default=2000, type=int)
    parser.add_argument("--rounds", default=15, type=int)
    parser.add_argument("--vocabulary", default=1600, type=int)
    options = parser.parse_args()
    source, model = random.Random(), model_of(options.url)
    misses, hits, num_cached = [], [], []
    for _ in range(options.rounds):
        prompt = [source.randrange(300, options.vocabulary) for _ in range(options.tokens)]
        seconds, cached = first_token(options.url, model, prompt)
        assert cached == 0, f"{cached} tokens of a new prompt were cached"
        misses.append(seconds)
        prompt[-DIFFERENT:] = [source.randrange(300, options.vocabulary) for _ in range(DIFFERENT)]
        seconds, cached = first_token(options.url, model, prompt)
        hits.append(seconds)
        num_cached.append(cached)
    miss, hit = statistics.median(misses), statistics.median(hits)
    print(f"{options.tokens} tokens, {min(num_cached)} cached; time to the first token, median of {options.rounds}: "
          f"new {1000 * miss:.1f} ms, cached {1000 * hit:.1f} ms, ratio {hit / miss:.3f}")


if __name__ == "__main__":
    main()
