"""Checks that includes follow the dependency direction, and that every source file belongs to a target.

usage: check_includes.py [--compile-commands build/release/compile_commands.json]

The table RULES is the layering, lowest first: what a folder may include from the project, and which third-party families it
may know. A folder may always include itself and the C++ and system headers. The longest matching prefix counts.
Without --compile-commands only includes are checked.
"""
import argparse
import json
import pathlib
import re
import subprocess
import sys

# prefix of a path: (allowed prefixes of project headers, allowed third-party families)
RULES = {
    "base/check": ("", ""),
    "base/clock": ("", ""),
    "base/prefix_hash": ("base/check", ""),
    "base/grpc_server": ("base google/rpc grpc/health", "absl grpc"),
    "base/credential": ("base", "absl openssl prometheus spdlog"),
    "base/metrics_endpoint": ("base", "absl boost openssl prometheus spdlog"),
    "base/": ("base", "absl boost cli prometheus spdlog"),
    "kernels/": ("base/check", ""),
    "worker/batch/": ("base/check base/clock", ""),
    "worker/lead/": ("base/check base/clock base/prefix_hash worker/batch", ""),
    "worker/sampling/": ("base/byte_automaton base/check kernels/sample_row worker/batch", ""),
    "worker/checkpoint/": ("base/check base/status base/clock", "absl boost"),
    "worker/model/": ("base/check base/status kernels worker/batch worker/checkpoint", "absl boost"),
    "worker/link/": ("base/check base/status base/clock", "absl boost openssl"),
    "worker/stage/": (
        "base/check base/status base/clock base/log base/sentencepiece_model base/utf8 kernels worker/batch worker/checkpoint worker/link"
        " worker/model worker/sampling",
        "absl",
    ),
    "worker/simulated/": (
        "base/check base/status base/clock base/prefix_hash kernels worker/batch worker/link worker/model worker/stage",
        "absl",
    ),
    "worker/engine/": (
        "base/check base/status base/clock base/log kernels worker/batch worker/lead worker/link worker/metrics worker/model"
        " worker/sampling worker/stage",
        "absl prometheus spdlog",
    ),
    "worker/metrics": ("base worker/batch worker/lead", "absl prometheus"),
    "worker/": ("base kernels octet/v1 worker", "absl grpc prometheus spdlog"),
    "router/tokenizer/": ("base/check base/sentencepiece_model base/status base/utf8", "absl boost protobuf sentencepiece"),
    "router/grammar/": ("base/byte_automaton base/status base/utf8", "absl boost"),
    "router/request/": ("base/check base/status base/clock base/utf8 router/grammar router/tokenizer router/tracing/call_record", "absl"),
    "router/tracing/": ("base opentelemetry router/metrics router/request/random_bits", "absl boost grpc protobuf spdlog"),
    "router/queue/": ("base/check base/clock", ""),
    "router/access/api_keys": ("base/check base/status router/request", "absl boost openssl"),
    "router/access/": ("base router/generation router/metrics router/request", "absl boost spdlog"),
    "router/metrics": ("base", "absl prometheus"),
    "router/routing/": ("base octet/v1 router/metrics router/request", "absl boost grpc spdlog"),
    "router/generation/": (
        "base octet/v1 router/metrics router/queue router/request router/routing router/tokenizer"
        " router/tracing/call_record",
        "absl boost spdlog",
    ),
    "router/api/tls_session": ("base/check base/credentials", "absl openssl"),
    "router/api/": (
        "base octet/v1 router/access router/generation router/grammar router/metrics router/request router/tokenizer"
        " router/tracing/call_record router/tracing/call_recorder",
        "absl boost grpc protobuf spdlog",
    ),
    "router/": ("base octet/v1 router", "absl boost grpc prometheus protobuf spdlog"),
    "tools/bench/machine/": ("base/clock", ""),
    "tools/bench/kernels/": ("base kernels tools/bench/machine", "absl benchmark"),
    "tools/bench/constraints/": ("base router/grammar worker/batch worker/sampling", "absl"),
    "tools/bench/model/": ("base kernels/cpu/cpu_backend kernels/packed_weight tools/bench/process_memory worker/batch worker/stage", "absl"),
    "tools/gpu_check/": ("base/check kernels tests/kernels/oracle", ""),
    "tools/weight_error/": ("base kernels worker/checkpoint worker/model", "absl"),
    "tools/bench/": ("base octet/v1", "absl boost grpc"),
    "tests/": ("base google/rpc kernels octet/v1 opentelemetry router tests tools worker", "absl boost grpc gtest openssl prometheus protobuf sentencepiece"),
}

# Files that a family is kept to inside a folder that has it, so that heavy headers stay out of the rest.
GRPC_FILES = re.compile(
    r"^(base/grpc_server|worker/(rpc/|run_worker)|router/(api/(apis\.h|grpc_)|routing/|tracing/otlp_exporter|router\.cc|main)|tools/bench/grpc_client|tests/)"
)

FAMILIES = {
    "absl": r"absl/",
    "benchmark": r"benchmark/",
    "boost": r"boost/",
    "cli": r"CLI/",
    "grpc": r"grpc(pp)?/",
    "gtest": r"(gtest|gmock)/",
    "openssl": r"openssl/",
    "prometheus": r"prometheus/",
    "protobuf": r"google/protobuf/",
    "sentencepiece": r"sentencepiece",
    "spdlog": r"spdlog/",
}
MAX_HOMELESS = 20  # sources in no target that are named

# Headers of the compiler and of the system: no folder, or one of these.
SYSTEM = re.compile(r"^([A-Za-z0-9_.]+|(sys|netinet|arpa|linux)/[a-z0-9_.]+)$")
PROJECT = re.compile(r"^(base|google/rpc|grpc/health|kernels|octet/v1|opentelemetry|router|tests|tools|worker)/")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def rule_of(path):
    prefixes = [prefix for prefix in RULES if path.startswith(prefix)]
    return max(prefixes, key=len) if prefixes else None


def family_of(header):
    return next((name for name, pattern in FAMILIES.items() if re.match(pattern, header)), None)


def complaint(path, header):
    """Why `path` may not include `header`, or None."""
    rule = rule_of(path)
    if rule is None:
        return "its folder has no rule in tools/check_includes.py"
    projects, families = (part.split() for part in RULES[rule])
    family = None if PROJECT.match(header) else family_of(header)
    if family == "grpc" and not GRPC_FILES.match(path):
        return "only the files of the RPC layers know gRPC"
    if family:
        return None if family in families else f"{rule} may not use {family}"
    if PROJECT.match(header):
        allowed = projects + [rule]
        fits = any(header.startswith(prefix if prefix.endswith("/") else prefix + end)
                   for prefix in allowed for end in ("/", "."))
        return None if fits else f"{rule} may include {', '.join(sorted(allowed))} of the project"
    return None if SYSTEM.match(header) else "neither of the project, nor of the system, nor of a known family"


def check_includes(files):
    for path in files:
        for number, line in enumerate(pathlib.Path(path).read_text(encoding="utf-8").splitlines(), 1):
            match = INCLUDE.match(line)
            why = complaint(path, match.group(2)) if match else None
            if why:
                yield f"{path}:{number}: includes {match.group(2)}: {why}"


def check_targets(files, compile_commands):
    root = pathlib.Path.cwd().resolve()
    built = {pathlib.Path(entry["file"]).resolve() for entry in json.loads(pathlib.Path(compile_commands).read_text())}
    for path in files:
        if path.endswith(".cc") and root / path not in built:
            yield f"{path}: in no target; list it in a CMakeLists.txt"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--compile-commands")
    arguments = parser.parse_args()
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "*.h", "*.cc"],
                            check=True, capture_output=True, text=True).stdout
    files = [path for path in sorted(set(listed.split())) if pathlib.Path(path).exists()]
    complaints = list(check_includes(files))
    if arguments.compile_commands:
        homeless = list(check_targets(files, arguments.compile_commands))
        complaints += homeless[:MAX_HOMELESS]
        if len(homeless) > MAX_HOMELESS:
            complaints.append(f"and {len(homeless) - MAX_HOMELESS} more in no target; is {arguments.compile_commands} up to date?")
    print(*complaints, sep="\n", end="\n" if complaints else "")
    if not complaints:
        print(f"includes: {len(files)} files keep to the layers")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
