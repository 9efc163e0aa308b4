"""What all Python tests share: generated gRPC stubs, the golden answers, and the processes' logs beside a failure."""
import json
import os
import sys

# Before gRPC is loaded: in a child that is about to become another program, its handlers of fork() now and then abort.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"

import pytest
from grpc_tools import protoc

from end_to_end.deployment import ROOT, Process


@pytest.fixture(scope="session", autouse=True)
def stubs(tmp_path_factory):
    """Makes octet.v1.generation_pb2 and generation_pb2_grpc importable."""
    folder = tmp_path_factory.mktemp("stubs")
    failed = protoc.main(["protoc", f"-I{ROOT / 'proto'}", f"--python_out={folder}", f"--grpc_python_out={folder}",
                          "octet/v1/generation.proto"])
    assert not failed
    sys.path.insert(0, str(folder))
    yield
    sys.path.remove(str(folder))


@pytest.fixture(scope="session")
def golden():
    """Greedy answers of the nano model, from transformers."""
    return json.loads((ROOT / "tests" / "golden" / "greedy.json").read_text(encoding="utf-8"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed:
        report.sections += [(f"log of {process.name}", process.log()) for process in Process.running]
    return report
