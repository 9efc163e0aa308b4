"""nvcc compiles every CUDA kernel for the GPUs we ship for, from the files that the emulator runs: no kernel spills a register to
memory, and none takes more registers than is said here, which bounds how many of its threads a multiprocessor holds."""
import pathlib
import re
import subprocess

import nvidia
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOOLKIT = next(path for folder in nvidia.__path__ for path in pathlib.Path(folder).glob("cu*") if (path / "bin/nvcc").exists())
SOURCES = sorted((ROOT / "kernels/cuda").glob("*.cu"))
ARCHITECTURES = ["sm_80", "sm_90"]
# Registers of a thread; a multiprocessor has 65,536 for at most 2,048 threads, so 32 fill it.
MAX_REGISTERS = {"paged_attention": 64}
OTHERS = 32


def run(*command):
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=250)
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_there_are_kernels():
    assert {"embedding", "layer_norm", "linear", "paged_attention", "rotary_and_kv_write"} <= {source.stem for source in SOURCES}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_kernels_compile_without_spills(source, architecture, tmp_path):
    said = run(TOOLKIT / "bin/nvcc", "-std=c++20", "-I", ROOT, "-isystem", TOOLKIT / "cccl", f"-arch={architecture}", "-Werror", "all-warnings",
               "-Xptxas", "-v", "-c", source, "-o", tmp_path / "kernel.o")
    kernels = said.count("Compiling entry function")
    spills = re.findall(r"(\d+) bytes spill stores, (\d+) bytes spill loads", said)
    registers = [int(count) for count in re.findall(r"Used (\d+) registers", said)]
    assert kernels > 0 and len(registers) == kernels, said
    assert set(spills) == {("0", "0")}, said
    assert max(registers) <= MAX_REGISTERS.get(source.stem, OTHERS), said


@pytest.mark.parametrize("name", ["cuda_backend", "pack_weight"])
def test_host_code_compiles_with_the_real_headers(name, tmp_path):
    run("g++", "-std=c++20", "-Wall", "-Wextra", "-Werror", "-I", ROOT, "-isystem", TOOLKIT / "include", "-c",
        ROOT / f"kernels/cuda/{name}.cc", "-o", tmp_path / "host.o")
