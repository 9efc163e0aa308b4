"""tools/gpu_check: the program on an emulated device, and its own build, which needs nothing but a CUDA toolkit and NCCL."""
import json
import os
import pathlib
import subprocess

import nvidia
import pytest

from end_to_end.deployment import BIN

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOOLKIT = next(path for folder in nvidia.__path__ for path in pathlib.Path(folder).glob("cu*") if (path / "bin/nvcc").exists())
EMULATED = BIN / "octet-gpu-check-emulated"


def run(*command, **options):
    return subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)


def test_checks_and_times_an_emulated_device(tmp_path):
    done = run(EMULATED, "--shape", "nano", "--seed", 5, "--json", tmp_path / "result.json", timeout=110)
    assert done.returncode == 0, done.stdout
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["device"] == "emulated GPU" and result["shape"] == "nano" and result["seed"] == 5
    assert len(result["checks"]) > 50 and all(check["problem"] == "" for check in result["checks"])
    names = {measurement["name"] for measurement in result["measurements"]}
    assert {"sample, greedy x 2", "sample, drawn x 2"} <= names
    for weights in ("bf16", "fp8"):
        assert {
            f"step, decode, {weights}, 20 tokens x 2",
            f"step, decode by graph, {weights}, 20 tokens x 2",
            f"step, prefill, {weights} x 8",
        } <= names
    assert all(measurement["seconds"] > 0 and measurement["share"] > 0 for measurement in result["measurements"])


@pytest.mark.parametrize("flags", [("--frobnicate",), ("--seed",), ("--seed", "x"), ("--shape", "7b"), ("--device", "1x")])
def test_refuses_flags_it_does_not_know(flags):
    done = run(EMULATED, *flags, timeout=20)
    assert done.returncode == 2 and "usage:" in done.stdout


def test_says_that_there_is_no_such_device():
    done = run(EMULATED, "--device", 3, timeout=20)
    assert done.returncode == 1
    assert done.stdout == "octet-gpu-check: CUDA device 3 is asked for, and this process sees 1\n"


@pytest.mark.timeout(900)
def test_builds_without_any_other_package(tmp_path):
    environment = dict(os.environ, CUDACXX=str(TOOLKIT / "bin/nvcc"), CCACHE_BASEDIR=str(ROOT), CCACHE_NOHASHDIR="true")
    build = ROOT / "build/gpu_check-packages"
    configured = run("cmake", "-S", ROOT / "tools/gpu_check", "-B", build, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release",
                     "-DCMAKE_CUDA_ARCHITECTURES=90", env=environment, timeout=120)
    assert configured.returncode == 0, configured.stdout
    assert "grpc" not in (build / "CMakeCache.txt").read_text().lower()
    built = run("ninja", "-C", build, env=environment, timeout=700)
    assert built.returncode == 0, built.stdout[-4000:]
    done = run(build / "bin/octet-gpu-check", env=dict(os.environ, CUDA_VISIBLE_DEVICES=""), timeout=60)
    assert done.returncode == 1 and "this machine has no GPU that can be used" in done.stdout, done.stdout
