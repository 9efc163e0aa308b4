"""A process that cannot start ends at once, with exit code 1 and one line that names the file, the tensor or the flag."""
import json
import re
import shutil
import socket
import struct

import pytest

from end_to_end.deployment import BIN, NANO, Process, worker_command


@pytest.fixture
def model(tmp_path):
    """A copy of the nano model that a test may break."""
    return shutil.copytree(NANO, tmp_path / "model")


def failure_of(name, folder, command):
    """What a process that must fail says: its last line, the only one that is an error."""
    (folder / f"{name}.log").unlink(missing_ok=True)
    process = Process(name, folder, command)
    code = process.wait_exit(60)
    lines = process.log().splitlines()
    errors = [line for line in lines if re.match(rf"octet-{name}: |\S+ error {name}", line)]
    assert code == 1, lines
    assert errors == lines[-1:], lines
    return errors[0]


def worker_failure(folder, model=NANO, stage=0, stages=1, tp=1, flags=()):
    return failure_of("worker", folder, worker_command(stage, stages, tp, model, flags))


def router_failure(folder, *flags):
    return failure_of("router", folder, [BIN / "octet-router", "--host", "127.0.0.1", "--metrics-port", 0, *flags])


def read_safetensors(path):
    data = path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8:8 + size]), data[8 + size:]


def write_safetensors(path, header, body):
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # the tensors stay aligned
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)


def test_missing_model_folder(tmp_path):
    assert "/no/such/model" in worker_failure(tmp_path, "/no/such/model")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_missing_file(tmp_path, model, name):
    (model / name).unlink()
    assert name in worker_failure(tmp_path, model)


@pytest.mark.parametrize("keep", [0, 7, 8, 1000, 2_000_000])
def test_truncated_weights(tmp_path, model, keep):
    path = model / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    assert "model.safetensors" in worker_failure(tmp_path, model)


def test_header_length_that_is_a_lie(tmp_path, model):
    path = model / "model.safetensors"
    path.write_bytes(struct.pack("<Q", 2**63) + path.read_bytes()[8:])
    assert "model.safetensors" in worker_failure(tmp_path, model)


def break_tensor(path, name, **fields):
    header, body = read_safetensors(path)
    header[name].update(fields)
    write_safetensors(path, header, body)


@pytest.mark.parametrize("change", [{"shape": [512, 127]}, {"shape": [128, 512]}, {"dtype": "I64"}, {"shape": [2**40, 2**40]},
                                    {"data_offsets": [0, 2**60]}, {"data_offsets": [10, 2]}], ids=str)
def test_wrong_tensor_is_named(tmp_path, model, change):
    name = "model.layers.3.mlp.up_proj.weight"
    break_tensor(model / "model.safetensors", name, **change)
    assert name in worker_failure(tmp_path, model)


def test_missing_tensor_is_named(tmp_path, model):
    path = model / "model.safetensors"
    header, body = read_safetensors(path)
    del header["model.norm.weight"]
    write_safetensors(path, header, body)
    assert "model.norm.weight" in worker_failure(tmp_path, model)


@pytest.mark.parametrize("key, value", [
    ("hidden_size", 0), ("hidden_size", "128"), ("num_hidden_layers", -1), ("num_attention_heads", 2**40), ("head_dim", -1),
    ("hidden_act", "gelu"), ("partial_rotary_factor", 2), ("norm_eps", -1), ("model_type", "llama"),
    ("architectures", ["LlamaForCausalLM"]), ("vocab_size", None),
])
def test_bad_config_is_named(tmp_path, model, key, value):
    path = model / "config.json"
    config = json.loads(path.read_text())
    config[key] = value
    path.write_text(json.dumps(config))
    message = worker_failure(tmp_path, model)
    assert "config.json" in message and key in message


def test_broken_config_is_named(tmp_path, model):
    (model / "config.json").write_text("{")
    assert "config.json" in worker_failure(tmp_path, model)


@pytest.mark.parametrize("flags, flag", [
    ({"stage": 2, "stages": 2}, "--stage"), ({"stages": 9}, "--stages"), ({"tp": 3}, "--tp"), ({"tp": 0}, "--tp"),
    ({"flags": ("--frobnicate", 1)}, "--frobnicate"), ({"flags": ("--backend", "gpu")}, "--backend"),
    ({"flags": ("--backend", "cuda")}, "--backend: this octet-worker was built without CUDA"),
    ({"stage": 1, "stages": 2}, "--lead"), ({"flags": ("--weights", "int4")}, "--weights"),
    ({"flags": ("--activations", "fp32", "--weights", "int8")}, "--activations"),
], ids=str)
def test_bad_worker_flags_are_named(tmp_path, flags, flag):
    assert flag in worker_failure(tmp_path, **flags)


def test_bad_router_flags_are_named(tmp_path):
    tokenizer = ("--tokenizer", NANO / "tokenizer.model")
    assert "--tokenizer" in router_failure(tmp_path, "--pipeline", "127.0.0.1:1")
    assert "--pipeline" in router_failure(tmp_path, *tokenizer)
    assert "--pipeline" in router_failure(tmp_path, *tokenizer, "--pipeline", "nonsense")
    assert "--grpc-port" in router_failure(tmp_path, *tokenizer, "--pipeline", "127.0.0.1:1", "--grpc-port", 70000)


@pytest.mark.parametrize("content", [None, b"", b"not a model", b"\x00" * 4096])
def test_bad_tokenizer_is_named(tmp_path, content):
    path = tmp_path / "some.model"
    if content is not None:
        path.write_bytes(content)
    assert "some.model" in router_failure(tmp_path, "--tokenizer", path, "--pipeline", "127.0.0.1:1")


@pytest.fixture
def taken_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("flag", ["--port", "--metrics-port"])
def test_worker_names_a_port_in_use(tmp_path, taken_port, flag):
    command = worker_command(0, 1, 1)
    command[command.index(flag) + 1] = taken_port
    assert str(taken_port) in failure_of("worker", tmp_path, command)


@pytest.mark.parametrize("flag", ["--grpc-port", "--http-port", "--metrics-port"])
def test_router_names_a_port_in_use_before_any_pipeline_is_there(tmp_path, taken_port, flag):
    ports = {"--grpc-port": 0, "--http-port": 0, "--metrics-port": 0, flag: taken_port}
    flags = [word for pair in ports.items() for word in pair]
    command = [BIN / "octet-router", "--host", "127.0.0.1", "--tokenizer", NANO / "tokenizer.model", "--pipeline", "127.0.0.1:1",
               *flags]
    assert str(taken_port) in failure_of("router", tmp_path, command)


def test_stage_of_another_model_shape_or_arithmetic_is_refused_and_the_lead_goes_on(tmp_path, model):
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"rope_theta": 20000.0}))
    lead = Process("lead", tmp_path, worker_command(0, 2, 1))
    try:
        address = f"127.0.0.1:{lead.ports()['port']}"
        message = failure_of("worker", tmp_path, worker_command(1, 2, 1, model, ("--lead", address)))
        assert "model" in message
        message = failure_of("worker", tmp_path, worker_command(1, 2, 2, NANO, ("--lead", address)))
        assert "--tp" in message or "tensor" in message
        for other in (("--weights", "int8"), ("--activations", "fp32"), ("--kv-cache-dtype", "fp32"), ("--deterministic",)):
            message = failure_of("worker", tmp_path, worker_command(1, 2, 1, NANO, ("--lead", address, *other)))
            assert " ".join(other) in message
        assert lead.popen.poll() is None
    finally:
        assert lead.stop() == 0
