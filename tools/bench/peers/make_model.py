"""Writes one Nemotron model of random weights three times: as a folder for Octet and as two files for llama.cpp.

usage: make_model.py OUT [--layers N --hidden H --heads Q --kv-heads KV --intermediate F --vocabulary V]

OUT/octet/{config.json, model.safetensors, tokenizer.model}   bf16
OUT/bf16.gguf, OUT/q8_0.gguf                                  architecture nemotron

All hold the same bf16 values; q8_0 rounds them once more, as llama-quantize does, in every matrix. gamma + 1 is folded into the
GGUF files in fp32, as llama.cpp's converter does. Weights are normal with a variance that keeps activations near 1, so that no
kernel meets infinities or denormals. Tensors are made one after the other; memory holds one at a time.
"""
import argparse
import json
import pathlib
import struct

import gguf
import numpy

from vocabulary import BEGIN, END, Vocabulary

HEAD_DIM = 128
NORM_EPSILON = 1e-5
ROTARY_FACTOR = 0.5
CONTEXT = 4096
SEED = 4
ROWS_AT_ONCE = 1024  # of a matrix, while it is made and rounded


def tensors_of(shape):
    """(HF name, GGUF name, shape, standard deviation) of every tensor, in the order in which both formats store them."""
    hidden, intermediate, vocabulary = shape.hidden, shape.intermediate, shape.vocabulary
    key_value = shape.kv_heads * HEAD_DIM

    def matrix(hf, name, rows, columns):
        return hf + ".weight", name + ".weight", (rows, columns), columns**-0.5

    def norm(hf, name):
        return [(hf + ".weight", name + ".weight", (hidden,), 0.1), (hf + ".bias", name + ".bias", (hidden,), 0.05)]

    yield "model.embed_tokens.weight", "token_embd.weight", (vocabulary, hidden), 1.0
    for layer in range(shape.layers):
        hf, name = f"model.layers.{layer}.", f"blk.{layer}."
        yield from norm(hf + "input_layernorm", name + "attn_norm")
        yield matrix(hf + "self_attn.q_proj", name + "attn_q", hidden, hidden)
        yield matrix(hf + "self_attn.k_proj", name + "attn_k", key_value, hidden)
        yield matrix(hf + "self_attn.v_proj", name + "attn_v", key_value, hidden)
        yield matrix(hf + "self_attn.o_proj", name + "attn_output", hidden, hidden)
        yield from norm(hf + "post_attention_layernorm", name + "ffn_norm")
        yield matrix(hf + "mlp.up_proj", name + "ffn_up", intermediate, hidden)
        yield matrix(hf + "mlp.down_proj", name + "ffn_down", hidden, intermediate)
    yield from norm("model.norm", "output_norm")
    yield matrix("lm_head", "output", vocabulary, hidden)


def to_bf16(values):
    """fp32 to the bits of bf16, rounded to nearest, ties to even."""
    bits = values.view(numpy.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(numpy.uint16)


def to_fp32(bits):
    return (bits.astype(numpy.uint32) << 16).view(numpy.float32)


def random_bits(random, shape, deviation):
    """Normal values as bf16, as [shape] uint16."""
    result = numpy.empty(shape, numpy.uint16)
    for first in range(0, shape[0], ROWS_AT_ONCE):
        part = result[first:first + ROWS_AT_ONCE]
        values = random.standard_normal(part.shape, numpy.float32)
        values *= numpy.float32(deviation)
        part[...] = to_bf16(values)
    return result


def quantise(bits):
    """bf16 [N, K] to the bytes of Q8_0: blocks of 32 values of a row, each an fp16 scale and 32 int8."""
    rows, columns = bits.shape
    result = numpy.empty((rows, columns // 32, 34), numpy.uint8)
    for first in range(0, rows, ROWS_AT_ONCE):
        values = to_fp32(bits[first:first + ROWS_AT_ONCE]).reshape(-1, columns // 32, 32)
        scales = numpy.maximum(values.max(-1), -values.min(-1)) / numpy.float32(127)
        inverse = numpy.divide(1, scales, out=numpy.zeros_like(scales), where=scales > 0)
        values *= inverse[..., None]
        # Half away from zero, as ggml's roundf().
        quantised = numpy.trunc(values + numpy.copysign(numpy.float32(0.5), values)).astype(numpy.int8)
        part = result[first:first + ROWS_AT_ONCE]
        part[..., :2] = scales.astype(numpy.float16).view(numpy.uint8).reshape(*scales.shape, 2)
        part[..., 2:] = quantised.view(numpy.uint8)
    return result


def write_config(folder, shape):
    config = {
        "architectures": ["NemotronForCausalLM"], "model_type": "nemotron", "vocab_size": shape.vocabulary,
        "hidden_size": shape.hidden, "intermediate_size": shape.intermediate, "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads, "num_key_value_heads": shape.kv_heads, "head_dim": HEAD_DIM,
        "max_position_embeddings": CONTEXT, "hidden_act": "relu2", "norm_eps": NORM_EPSILON, "rope_theta": 10000.0,
        "partial_rotary_factor": ROTARY_FACTOR, "attention_bias": False, "mlp_bias": False, "tie_word_embeddings": False,
        "bos_token_id": BEGIN, "eos_token_id": END, "torch_dtype": "bfloat16",
    }
    (folder / "config.json").write_text(json.dumps(config, indent=1))


def safetensors_header(tensors):
    header, offset = {}, 0
    for hf, _, shape, _ in tensors:
        end = offset + 2 * int(numpy.prod(shape))
        header[hf] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 64)  # so that tensors are aligned
    return struct.pack("<Q", len(text)) + text


def gguf_writer(path, shape, tensors, matrices, vocabulary):
    """A writer with everything but the tensors' bytes written. matrices: the type of tensors of two dimensions."""
    writer = gguf.GGUFWriter(path, "nemotron")
    writer.add_name("random")
    writer.add_vocab_size(shape.vocabulary)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(shape.hidden)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.intermediate)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_rope_dimension_count(int(HEAD_DIM * ROTARY_FACTOR))
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_scaling_type(gguf.RopeScalingType.NONE)
    writer.add_layer_norm_eps(NORM_EPSILON)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0 if matrices == gguf.GGMLQuantizationType.Q8_0 else
                         gguf.LlamaFileType.MOSTLY_BF16)
    vocabulary.add_to(writer)
    block, block_bytes = gguf.GGML_QUANT_SIZES[matrices]
    for _, name, sizes, _ in tensors:
        count = int(numpy.prod(sizes))
        if len(sizes) == 2:
            # The dtype only says that the sizes count values, not bytes.
            writer.add_tensor_info(name, sizes, numpy.dtype(numpy.float16), count // block * block_bytes, matrices)
        else:
            writer.add_tensor_info(name, sizes, numpy.dtype(numpy.float32), 4 * count)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    return writer


def write_tensors(tensors, checkpoint, bf16, q8_0):
    random = numpy.random.Generator(numpy.random.SFC64(SEED))
    for hf, _, sizes, deviation in tensors:
        bits = random_bits(random, sizes, deviation)
        checkpoint.write(bits.data)
        if len(sizes) == 2:
            bf16.write_tensor_data(bits)
            q8_0.write_tensor_data(quantise(bits))
            continue
        values = to_fp32(bits)
        if hf.endswith("norm.weight"):
            values += numpy.float32(1)
        bf16.write_tensor_data(values)
        q8_0.write_tensor_data(values)


def read_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    for name, value in {"layers": 16, "hidden": 2048, "heads": 16, "kv-heads": 4, "intermediate": 8192,
                        "vocabulary": 32000}.items():
        parser.add_argument("--" + name, type=int, default=value)
    shape = parser.parse_args()
    if shape.heads * HEAD_DIM != shape.hidden:
        parser.error(f"--hidden must be --heads x {HEAD_DIM}: llama.cpp's nemotron takes no other")
    return shape


def main():
    shape = read_arguments()
    folder = shape.out / "octet"
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = Vocabulary(shape.vocabulary)
    (folder / "tokenizer.model").write_bytes(vocabulary.sentencepiece())
    tensors = list(tensors_of(shape))
    types = gguf.GGMLQuantizationType
    bf16 = gguf_writer(shape.out / "bf16.gguf", shape, tensors, types.BF16, vocabulary)
    q8_0 = gguf_writer(shape.out / "q8_0.gguf", shape, tensors, types.Q8_0, vocabulary)
    with open(folder / "model.safetensors", "wb") as checkpoint:
        checkpoint.write(safetensors_header(tensors))
        write_tensors(tensors, checkpoint, bf16, q8_0)
    bf16.close()
    q8_0.close()
    write_config(folder, shape)  # last: a folder with a config.json is whole


if __name__ == "__main__":
    main()
