"""What a simulated pipeline answers: worker/simulated/simulated_tokens.h and base/prefix_hash.h in Python."""

WORD = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15
ROOT = 0x6F637465742F7631


def _chained(hash_, value):
    x = (hash_ + GOLDEN + value) & WORD
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & WORD
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & WORD
    return x ^ (x >> 31)


def prefix_root(salt):
    hash_ = _chained(ROOT, len(salt.encode()))
    for byte in salt.encode():
        hash_ = _chained(hash_, byte)
    return hash_


def prefix_hash(parent, block):
    hash_ = _chained(parent, len(block))
    for token in block:
        hash_ = _chained(hash_, token)
    return hash_


def simulated_answer(prompt, max_tokens, vocab_size, eos, stops=True):
    """Token ids of the answer, its end included. stops=False: the end does not stop it (ignore_eos)."""
    name = prefix_hash(prefix_root("simulated"), prompt)
    answer = []
    for position in range(len(prompt), len(prompt) + max_tokens):
        draw = prefix_hash(name, [position])
        if draw % 128 == 0:
            answer.append(eos)
            if stops:
                break
        else:
            answer.append(vocab_size // 2 + (draw // 256) % (vocab_size - vocab_size // 2))
    return answer
