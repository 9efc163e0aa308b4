"""The cuda preset builds the real octet-worker on a machine with no GPU, and the worker says that it lacks one."""
import os
import pathlib
import re
import subprocess

import nvidia
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOOLKIT = next(path for folder in nvidia.__path__ for path in pathlib.Path(folder).glob("cu*") if (path / "bin/nvcc").exists())
BUILD = ROOT / "build/cuda-packages"


@pytest.fixture(scope="module")
def worker():
    """octet-worker, linked with the toolkit of tests/requirements.txt whatever else the machine has."""
    environment = dict(os.environ, CUDACXX=str(TOOLKIT / "bin/nvcc"), CCACHE_BASEDIR=str(ROOT), CCACHE_NOHASHDIR="true")
    for command in (["cmake", "--preset", "cuda", "-B", BUILD], ["ninja", "-C", BUILD, "octet-worker"]):
        done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=900)
        assert done.returncode == 0, done.stdout[-4000:]
    return BUILD / "bin/octet-worker"


@pytest.mark.timeout(1800)
def test_links_cublas_and_nccl(worker):
    needed = subprocess.run(["readelf", "-d", worker], capture_output=True, text=True, check=True).stdout
    assert "libcublasLt.so.13" in needed and "libnccl.so.2" in needed


def test_holds_code_for_both_architectures_and_ptx(worker):
    listed = subprocess.run([TOOLKIT / "bin/cuobjdump", "-lelf", "-lptx", worker], capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"(sm_\d+)\.cubin", listed)) == {"sm_80", "sm_90"}, listed
    assert re.search(r"sm_90\.ptx", listed), listed


def test_says_that_there_is_no_gpu(worker):
    command = [worker, "--model", ROOT / "deploy/nano", "--backend", "cuda", "--host", "127.0.0.1", "--port", "0", "--metrics-port", "0"]
    # A machine that has GPUs shows none of them.
    done = subprocess.run(command, env=dict(os.environ, CUDA_VISIBLE_DEVICES=""), capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    lines = (done.stdout + done.stderr).splitlines()
    assert len(lines) == 1 and "--backend: this machine has no GPU that can be used" in lines[0], lines
