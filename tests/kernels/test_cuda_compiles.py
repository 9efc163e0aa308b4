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
MAX_REGISTERS = {"paged_attention": 64, "paged_attention_mma": 255, "sample": 64}
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
    said = run(TOOLKIT / "bin/nvcc", "-std=c++20", "-I", ROOT, "-I", ROOT / "kernels/cuda/ptx", "-isystem", TOOLKIT / "cccl", f"-arch={architecture}", "-Werror", "all-warnings",
               "-Xptxas", "-v", "-c", source, "-o", tmp_path / "kernel.o")
    kernels = said.count("Compiling entry function")
    spills = re.findall(r"(\d+) bytes spill stores, (\d+) bytes spill loads", said)
    registers = [int(count) for count in re.findall(r"Used (\d+) registers", said)]
    assert kernels > 0 and len(registers) == kernels, said
    assert set(spills) == {("0", "0")}, said
    assert max(registers) <= MAX_REGISTERS.get(source.stem, OTHERS), said


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_attention_uses_tensor_cores_and_wide_loads(architecture, tmp_path):
    run(TOOLKIT / "bin/nvcc", "-std=c++20", "-I", ROOT, "-I", ROOT / "kernels/cuda/ptx", "-isystem", TOOLKIT / "cccl", f"-arch={architecture}",
        "-cubin", ROOT / "kernels/cuda/paged_attention_mma.cu", "-o", tmp_path / "kernel.cubin")
    kernels = run(TOOLKIT / "bin/cuobjdump", "-sass", tmp_path / "kernel.cubin").split("Function : ")[1:]
    attention = [code for code in kernels if "paged_attention_mma_kernel" in code.splitlines()[0]]
    assert len(attention) == 6, [code.splitlines()[0] for code in kernels]  # three head_dims, two tiles
    for code in attention:
        assert "HMMA.16816.F32.BF16" in code  # mma.sync m16n8k16
        assert re.search(r"LDGSTS\.\S*128", code)  # cp.async of 16 bytes
        assert re.search(r"LDG\.E\.128", code)  # queries
        assert "LDSM.16.M88.4" in code and "LDSM.16.MT88.4" in code  # ldmatrix, as it is and transposed
        assert not re.search(r"\b(LDL|STL)\b", code)  # nothing in local memory


@pytest.mark.parametrize("name", ["attention_plan", "cuda_backend", "gemm", "nccl_peer", "pack_weight", "rank_group", "sample_plan"])
def test_host_code_compiles_with_the_real_headers(name, tmp_path):
    run("g++", "-std=c++20", "-Wall", "-Wextra", "-Werror", "-I", ROOT, "-isystem", TOOLKIT / "include",
        "-isystem", TOOLKIT.parent / "nccl/include", "-c",
        ROOT / f"kernels/cuda/{name}.cc", "-o", tmp_path / "host.o")
