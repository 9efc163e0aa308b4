"""Octet beside llama.cpp: the same weights, threads and machine, turn by turn. Prints tables in Markdown.

usage: compare.py --models DIR --bin build/release/bin [--llama-server FILE] [--rounds 5] [--threads 2]

DIR is what make_model.py wrote. Each round runs every case on one program and then on the other; the program that does not
compute is stopped. A cell is the median of the rounds, a ratio the median of the rounds' ratios with the least and the largest.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys

import numpy

from cases import ROWS, Matrices, share
from program import Program
from server import compare_servers

HERE = pathlib.Path(__file__).resolve().parent
GGUF = {"bf16": "bf16.gguf", "int8": "q8_0.gguf"}
LOGIT_ROWS = 32


def octet_command(options, weights, activations="bf16"):
    return [options.bin / "octet-bench-model", "--model", options.models / "octet", "--threads-per-rank", options.threads,
            "--weights", weights, "--activations", activations, "--cpu-isa", options.cpu_isa]


def llama_command(options, weights):
    return [sys.executable, HERE / "llama_program.py", options.models / GGUF[weights], "--threads", options.threads]


def measure_machine(options):
    return json.loads(subprocess.check_output([options.bin / "octet-bench-machine", str(options.threads)]))


def better_of(first, second):
    """The larger of each rate of two measurements of the machine."""
    return {key: max(first[key], second[key]) for key in first if key != "read_pattern"}


def say(*words):
    print(*words, file=sys.stderr, flush=True)


# --- logits

def centred_logits(command, log, path):
    """[LOGIT_ROWS, vocabulary] with a mean of 0 a row, so that logits and log-probabilities compare."""
    program = Program(command, log)
    size = program.ask(f"logits {path} {LOGIT_ROWS}")
    program.end()
    logits = numpy.fromfile(path, numpy.float32).reshape(size["rows"], size["vocabulary"]).astype(numpy.float64)
    path.unlink()
    return logits - logits.mean(axis=1, keepdims=True)


def compare_logits(options):
    """Lines of Markdown: how far each program's logits are from Octet's with fp32 activations, and whether the best tokens agree."""
    path = options.out / "logits.f32"
    exact = centred_logits(octet_command(options, "bf16", "fp32"), options.log, path)
    commands = {f"llama.cpp {GGUF[weights].split('.')[0]}": llama_command(options, weights) for weights in options.weights}
    commands |= {f"Octet {weights}": octet_command(options, weights) for weights in (*options.weights, "fp8")}
    lines = [f"Logits of {LOGIT_ROWS} positions against Octet's with bf16 weights and fp32 activations:", "",
             "| | normalised squared error | best token agrees |", "|---|---|---|"]
    for name, command in commands.items():
        logits = centred_logits(command, options.log, path)
        error = ((logits - exact)**2).sum() / (exact**2).sum()
        agreeing = int((logits.argmax(1) == exact.argmax(1)).sum())
        lines.append(f"| {name} | {error:.1e} | {agreeing} of {LOGIT_ROWS} |")
        say(lines[-1])
        if not error < 0.05:
            raise SystemExit(f"compare.py: {name} computes another model: its error is {error:.2g}")
    return lines


# --- speed

def measure_cases(options, weights):
    """{program: {case: its answers, one a round}}, and what each program said when it had loaded."""
    programs = {"octet": Program(octet_command(options, weights), options.log),
                "llama": Program(llama_command(options, weights), options.log)}
    cases = list(dict.fromkeys(row.case for row in options.rows))
    answers = {name: {case: [] for case in cases} for name in programs}
    for program in programs.values():
        program.ask("generate 2 16 4")  # touches everything once
    for turn in range(options.rounds):
        order = list(programs) if turn % 2 == 0 else list(reversed(programs))
        for case in cases:
            for name in order:
                answers[name][case].append(programs[name].ask(case.line()))
        say(f"{weights}: round {turn + 1} of {options.rounds}")
    for program in programs.values():
        program.end()
    return answers, {name: program.loaded for name, program in programs.items()}


def ratio_text(ratios):
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def table_line(row, weights, rates, ratios, matrices, peaks):
    """rates: {program: tokens/s}."""
    cells = [row.name, weights]
    for name in ("llama", "octet"):
        part, bound = share(row, name, weights, rates[name], matrices, peaks)
        cells += [f"{rates[name]:.1f}", f"{part:.0%} of {bound}"]
    asked = row.asked.get(weights)
    return "| " + " | ".join([*cells, ratios, "-" if asked is None else f"{asked:g}"]) + " |"


def median_line(row, weights, answers, matrices, peaks):
    rates = {name: [row.rate(answer) for answer in answers[name][row.case]] for name in answers}
    ratios = [octet / llama for octet, llama in zip(rates["octet"], rates["llama"])]
    medians = {name: statistics.median(values) for name, values in rates.items()}
    return table_line(row, weights, medians, ratio_text(ratios), matrices, peaks)


def best_line(row, weights, answers, matrices, peaks):
    rates = {name: row.best_rate(answers[name][row.case]) for name in answers}
    return table_line(row, weights, rates, f"{rates['octet'] / rates['llama']:.2f}", matrices, peaks)


def speed_table(options, measured, matrices, peaks, make_line):
    """Lines of Markdown."""
    lines = ["| | weights | llama.cpp, tokens/s | share | Octet, tokens/s | share | ratio | asked |",
             "|---|---|---|---|---|---|---|---|"]
    for row in options.rows:
        lines += [make_line(row, weights, answers, matrices, peaks) for weights, (answers, _) in measured.items()]
    return lines


def compare_speed(options, matrices):
    """Sections of lines of Markdown."""
    peaks = measure_machine(options)
    measured = {weights: measure_cases(options, weights) for weights in options.weights}
    peaks = better_of(peaks, measure_machine(options))
    table = [f"Median of {options.rounds} rounds; ratio: median (least to largest) of the rounds' ratios.", "",
             *speed_table(options, measured, matrices, peaks, median_line)]
    best = ["The fastest decode step, or the fastest prefill, of all rounds, which other work on the machine moves least:", "",
            *speed_table(options, measured, matrices, peaks, best_line)]
    return [[peaks_line(options, peaks)], table, best, memory_lines(measured)]


def memory_lines(measured):
    lines = ["| | loaded in | resident after loading | resident at the end |", "|---|---|---|---|"]
    for weights, (answers, loaded) in measured.items():
        for name, title in (("llama", "llama.cpp"), ("octet", "Octet")):
            last = list(answers[name].values())[-1][-1]
            lines.append(f"| {title} {weights} | {loaded[name]['load_seconds']:.2f} s | {loaded[name]['resident_bytes'] >> 20} MiB |"
                         f" {last['resident_bytes'] >> 20} MiB |")
    return lines


def peaks_line(options, peaks):
    giga = {key: f"{value / 1e9:.0f}" for key, value in peaks.items()}
    return (f"{options.threads} threads; this machine at best, measured in the same run: {giga['read_bytes_per_second']} GB/s read, "
            f"{giga['fma_flops']} GFLOP/s fp32 FMA, {giga['bf16_flops']} GFLOP/s vdpbf16ps, {giga['int8_ops']} Gop/s VNNI.")


def read_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=pathlib.Path, required=True)
    parser.add_argument("--bin", type=pathlib.Path, required=True)
    parser.add_argument("--llama-server", type=pathlib.Path, help="without it the servers are not compared")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--server-rounds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--weights", default="bf16,int8")
    parser.add_argument("--cpu-isa", default="auto")
    parser.add_argument("--rows", help="only rows whose name contains this")
    parser.add_argument("--parts", default="logits,speed,server")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("build/peers/out"))
    options = parser.parse_args()
    options.weights, options.parts = options.weights.split(","), options.parts.split(",")
    options.rows = [row for row in ROWS if not options.rows or options.rows in row.name]
    options.out.mkdir(parents=True, exist_ok=True)
    options.log = options.out / "programs.log"
    return options


def main():
    options = read_arguments()
    matrices = Matrices.of(json.loads((options.models / "octet" / "config.json").read_text()))
    sections = []
    if "logits" in options.parts:
        sections.append(compare_logits(options))
    if "speed" in options.parts:
        sections += compare_speed(options, matrices)
    if "server" in options.parts and options.llama_server:
        sections.append(compare_servers(options))
    text = "\n\n".join("\n".join(section) for section in sections)
    (options.out / "report.md").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
