"""llama.cpp in one process that computes cases on demand, the counterpart of octet-bench-model.

usage: llama_program.py MODEL.gguf [--threads N]

Reads lines from standard input and answers each with one line of JSON (see cases.py, which holds the words of both programs):
  generate SEQUENCES PROMPT STEPS    prompts of so many tokens each, then so many tokens for every sequence
  logits PATH TOKENS                 the logits of one prompt, [TOKENS, vocabulary] fp32, into a file
Every case gets a context of its own, as large as it needs, made outside the clock; each sequence has its own part of the KV
cache (kv_unified off), which is what llama.cpp is fastest with. Tokens after the prompt are not sampled but given.
"""
import argparse
import ctypes
import json
import sys
import time

import llama_cpp
import numpy

from cases import token_at

BATCH, UBATCH = 2048, 512
FLASH_ATTENTION_ON = 1


class Batch:
    """A llama_batch of one sequence id a token."""

    def __init__(self, size):
        self.value = llama_cpp.llama_batch_init(size, 0, 1)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        llama_cpp.llama_batch_free(self.value)

    def fill(self, rows):
        """rows: (token, position, sequence, whether its logits are needed)."""
        batch = self.value
        batch.n_tokens = len(rows)
        for i, (token, position, sequence, needed) in enumerate(rows):
            batch.token[i], batch.pos[i], batch.logits[i] = token, position, needed
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, sequence
        return batch


class Program:
    def __init__(self, path, threads):
        self.threads = threads
        llama_cpp.llama_backend_init()
        self.log = llama_cpp.llama_log_callback(lambda level, text, data: None)  # kept alive
        llama_cpp.llama_log_set(self.log, ctypes.c_void_p())
        began = time.monotonic()
        self.model = llama_cpp.llama_model_load_from_file(path.encode(), llama_cpp.llama_model_default_params())
        if not self.model:
            sys.exit(f"llama_program.py: {path}: llama.cpp cannot load it")
        self.load_seconds = time.monotonic() - began
        self.vocabulary = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self.model))

    def context(self, sequences, tokens):
        """A new context with room for so many sequences of so many tokens."""
        parameters = llama_cpp.llama_context_default_params()
        padded = (tokens + 255) // 256 * 256
        parameters.n_ctx, parameters.n_seq_max = sequences * padded, sequences
        parameters.n_batch, parameters.n_ubatch = BATCH, UBATCH
        parameters.n_threads = parameters.n_threads_batch = self.threads
        parameters.flash_attn_type = FLASH_ATTENTION_ON
        parameters.kv_unified = False
        context = llama_cpp.llama_init_from_model(self.model, parameters)
        if not context:
            raise MemoryError("llama.cpp made no context")
        return context

    def decode(self, context, batch):
        if llama_cpp.llama_decode(context, batch) != 0:
            raise RuntimeError("llama_decode failed")
        llama_cpp.llama_synchronize(context)

    def generate(self, sequences, prompt, steps):
        rows = [(token_at(sequence, position, self.vocabulary), position, sequence, position + 1 == prompt)
                for sequence in range(sequences) for position in range(prompt)]
        context = self.context(sequences, prompt + steps)
        with Batch(max(BATCH, sequences)) as batch:
            began = time.monotonic()
            for first in range(0, len(rows), BATCH):
                self.decode(context, batch.fill(rows[first:first + BATCH]))
            prefilled = time.monotonic()
            step_seconds = []
            for step in range(steps):
                step_began = time.monotonic()
                position = prompt + step
                self.decode(context, batch.fill([(token_at(sequence, position, self.vocabulary), position, sequence, True)
                                                 for sequence in range(sequences)]))
                step_seconds.append(time.monotonic() - step_began)
        llama_cpp.llama_free(context)
        return {"prefill_tokens": len(rows), "prefill_seconds": prefilled - began, "decode_tokens": sequences * steps,
                "decode_seconds": sum(step_seconds), "least_step_seconds": min(step_seconds, default=0)}

    def logits(self, path, tokens):
        context = self.context(1, tokens)
        with Batch(tokens) as batch:
            self.decode(context, batch.fill([(token_at(0, position, self.vocabulary), position, 0, True)
                                             for position in range(tokens)]))
            logits = numpy.ctypeslib.as_array(llama_cpp.llama_get_logits(context), (tokens, self.vocabulary))
            logits.tofile(path)
        llama_cpp.llama_free(context)
        return {"rows": tokens, "vocabulary": self.vocabulary}


def resident_bytes():
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS:"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    program = Program(arguments.model, arguments.threads)

    def say(values):
        print(json.dumps(values), flush=True)

    features = llama_cpp.llama_print_system_info().decode()
    say({"load_seconds": program.load_seconds, "resident_bytes": resident_bytes(), "features": features})
    for line in sys.stdin:
        word, *rest = line.split()
        if word == "generate":
            say(program.generate(*map(int, rest)) | {"resident_bytes": resident_bytes()})
        elif word == "logits":
            say(program.logits(rest[0], int(rest[1])))
        else:
            sys.exit(f"llama_program.py: unknown word {word!r}")


if __name__ == "__main__":
    main()
