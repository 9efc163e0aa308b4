"""What both programs compute, how fast a machine could do it, and which ratios Octet is asked for."""
import dataclasses

FIRST_TOKEN = 300  # of prompts, past the vocabulary's special pieces
UBATCH = 512       # rows of a prefill step, in both programs


def token_at(sequence, position, vocabulary):
    """The token of a sequence at a position: any but special ones, the same in both programs."""
    return FIRST_TOKEN + (sequence * 7919 + position * 104729) % (vocabulary - FIRST_TOKEN)


@dataclasses.dataclass(frozen=True)
class Case:
    """Sequences of so many prompt tokens each, and so many generated for each."""
    sequences: int
    prompt: int
    steps: int

    def line(self):
        return f"generate {self.sequences} {self.prompt} {self.steps}"


FROM_EMPTY, LONG, PARALLEL, SHORT = Case(1, 1, 64), Case(1, 512, 64), Case(16, 128, 64), Case(1, 128, 0)


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of the table: one phase of a case. asked: the least ratio Octet / llama.cpp, by weights; None: not asked for."""
    name: str
    case: Case
    phase: str  # "prefill" or "decode"
    asked: dict

    def rate(self, answer):
        """Tokens/s from a program's answer to the case."""
        return answer[self.phase + "_tokens"] / answer[self.phase + "_seconds"]

    def best_rate(self, answers):
        """Tokens/s of the fastest decode step, or of the fastest prefill, of all rounds."""
        if self.phase == "prefill":
            return max(map(self.rate, answers))
        return self.case.sequences / min(answer["least_step_seconds"] for answer in answers)

    def rows_at_once(self):
        if self.phase == "decode":
            return self.case.sequences
        return min(UBATCH, self.case.sequences * self.case.prompt)

    def head_rows_at_once(self):
        """Rows whose logits are needed: the last one of each prompt, and every decode."""
        return self.rows_at_once() if self.phase == "decode" else self.rows_at_once() / self.case.prompt


ROWS = [
    Row("decode, batch 1", FROM_EMPTY, "decode", {"bf16": 1.0, "int8": 1.25}),
    Row("decode, batch 1, after 512", LONG, "decode", {}),
    Row("16 sequences decoding", PARALLEL, "decode", {"bf16": 2.0, "int8": 2.5}),
    Row("prefill 512", LONG, "prefill", {"bf16": 1.2, "int8": 2.0}),
    Row("prefill 128", SHORT, "prefill", {}),
    Row("prefill 16 x 128", PARALLEL, "prefill", {}),
]

# Bytes that a weight takes in memory: 16-bit scales of 32 weights in q8_0 and in int8.
BYTES_PER_WEIGHT = {("llama", "bf16"): 2, ("llama", "int8"): 34 / 32, ("octet", "bf16"): 2, ("octet", "int8"): 34 / 32,
                    ("octet", "fp8"): 1}


@dataclasses.dataclass(frozen=True)
class Matrices:
    """Weights that a step multiplies with; the embedding is only looked up."""
    layers: int
    head: int

    @staticmethod
    def of(config):
        hidden, head_dim = config["hidden_size"], config["head_dim"]
        query, key_value = config["num_attention_heads"] * head_dim, config["num_key_value_heads"] * head_dim
        layer = 2 * hidden * query + 2 * hidden * key_value + 2 * hidden * config["intermediate_size"]
        return Matrices(config["num_hidden_layers"] * layer, config["vocab_size"] * hidden)


def least_seconds(row, program, weights, matrices, peaks):
    """(seconds, "read" or "bf16", "int8", "fma"): what one step must take at the machine's peaks, and which one bounds it.

    Counts the matrices alone, not attention, KV cache and activations.
    """
    reading = (matrices.layers + matrices.head) * BYTES_PER_WEIGHT[program, weights] / peaks["read_bytes_per_second"]
    unit = {"int8": "int8_ops"}.get(weights, "bf16_flops")
    unit = unit if peaks[unit] > 0 else "fma_flops"
    operations = 2 * (matrices.layers * row.rows_at_once() + matrices.head * row.head_rows_at_once())
    computing = operations / peaks[unit]
    return (reading, "read") if reading > computing else (computing, unit.split("_")[0])


def share(row, program, weights, rate, matrices, peaks):
    """(part of the peak that bounds the row, its name) for a rate in tokens/s."""
    seconds, bound = least_seconds(row, program, weights, matrices, peaks)
    return seconds * rate / row.rows_at_once(), bound
