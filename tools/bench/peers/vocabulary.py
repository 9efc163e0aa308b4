"""A vocabulary of any size without meaning, the same for Octet (SentencePiece) and llama.cpp (GGUF). Prompts are token ids."""
import struct

BEGIN, END = 2, 3
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE = 1, 2, 3, 4, 6  # types of pieces, in both formats
BPE = 2  # model type of a SentencePiece trainer_spec


def bytes_field(number, value):
    """A protobuf field of bytes."""
    return varint(number << 3 | 2) + varint(len(value)) + value


def number_field(number, value):
    return varint(number << 3) + varint(value)


def float_field(number, value):
    return varint(number << 3 | 5) + struct.pack("<f", value)


def varint(value):
    result = b""
    while value >= 128:
        result += bytes([value & 127 | 128])
        value >>= 7
    return result + bytes([value])


class Vocabulary:
    def __init__(self, size):
        self.pieces = [("<unk>", UNKNOWN), ("<pad>", CONTROL), ("<s>", CONTROL), ("</s>", CONTROL)]
        self.pieces += [(f"<extra_id_{index}>", USER_DEFINED) for index in range(3)]  # the chat format needs them
        self.pieces += [(f"<0x{byte:02X}>", BYTE) for byte in range(256)]
        self.pieces += [(f"\u2581w{index}", NORMAL) for index in range(size - len(self.pieces))]

    def scores(self):
        return [-float(index) if kind == NORMAL else 0.0 for index, (_, kind) in enumerate(self.pieces)]

    def sentencepiece(self):
        """The bytes of a tokenizer.model (sentencepiece_model.proto)."""
        model = b""
        for (text, kind), score in zip(self.pieces, self.scores()):
            model += bytes_field(1, bytes_field(1, text.encode()) + float_field(2, score) + number_field(3, kind))
        trainer = number_field(3, BPE) + number_field(35, 1)  # model_type, byte_fallback
        normalizer = b"".join(number_field(number, 0) for number in (3, 4)) + number_field(5, 1)
        return model + bytes_field(2, trainer) + bytes_field(3, normalizer)

    def add_to(self, writer):
        """As metadata of a gguf.GGUFWriter."""
        writer.add_tokenizer_model("llama")
        writer.add_token_list([text for text, _ in self.pieces])
        writer.add_token_scores(self.scores())
        writer.add_token_types([kind for _, kind in self.pieces])
        writer.add_bos_token_id(BEGIN)
        writer.add_eos_token_id(END)
        writer.add_unk_token_id(0)
        writer.add_pad_token_id(1)
        writer.add_add_bos_token(False)
        writer.add_add_space_prefix(False)
