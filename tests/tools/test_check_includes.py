"""tools/check_includes.py complains about what it should, and only about that."""
import importlib.util
import pathlib

import pytest

TOOL = pathlib.Path(__file__).resolve().parents[2] / "tools" / "check_includes.py"
spec = importlib.util.spec_from_file_location("check_includes", TOOL)
check_includes = importlib.util.module_from_spec(spec)
spec.loader.exec_module(check_includes)


@pytest.mark.parametrize("path, header", [
    ("kernels/cpu/add.cc", "kernels/tensor.h"),
    ("kernels/cpu/add.cc", "base/check.h"),
    ("kernels/cpu/add.cc", "sys/mman.h"),
    ("worker/lead/scheduler.cc", "worker/batch/batch_plan.h"),
    ("worker/lead/scheduler.cc", "cstdint"),
    ("worker/rpc/stage_service.cc", "grpcpp/grpcpp.h"),
    ("worker/main.cc", "worker/metrics.h"),
    ("router/metrics.cc", "prometheus/counter.h"),
    ("router/api/openai_api.cc", "boost/json.hpp"),
    ("base/grpc_server.cc", "grpcpp/grpcpp.h"),
    ("tests/router/api/openai_test.cc", "gtest/gtest.h"),
])
def test_allows_what_the_layers_allow(path, header):
    assert check_includes.complaint(path, header) is None


@pytest.mark.parametrize("path, header", [
    ("kernels/cpu/add.cc", "worker/model/weights.h"),
    ("kernels/cpu/add.cc", "base/log.h"),
    ("kernels/cpu/add.cc", "absl/status/status.h"),
    ("worker/lead/scheduler.cc", "kernels/tensor.h"),
    ("worker/lead/scheduler.cc", "grpcpp/grpcpp.h"),
    ("worker/lead/scheduler.cc", "worker/stage/stage.h"),
    ("worker/stage/stage.cc", "octet/v1/stage.pb.h"),
    ("worker/rpc/convert.cc", "router/metrics.h"),
    ("router/main.cc", "worker/batch/tokens.h"),
    ("router/api/openai_api.cc", "grpcpp/grpcpp.h"),
    ("router/request/validate.cc", "router/api/apis.h"),
    ("base/log.cc", "router/metrics.h"),
    ("base/flags.cc", "grpcpp/grpcpp.h"),
    ("router/metrics.cc", "unknown/library.h"),
    ("new_folder/file.cc", "vector"),
])
def test_refuses_what_they_do_not(path, header):
    assert check_includes.complaint(path, header)


def test_names_a_source_in_no_target(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "compile_commands.json").write_text(f'[{{"file": "{tmp_path}/base/log.cc"}}]')
    complaints = list(check_includes.check_targets(["base/log.cc", "base/log.h", "base/new.cc"], "compile_commands.json"))
    assert complaints == ["base/new.cc: in no target; list it in a CMakeLists.txt"]
