"""What both programs compute, and the words they are told it with."""
import dataclasses

FIRST_TOKEN = 300  # of prompts, past the vocabulary's special pieces


def token_at(sequence, position, vocabulary):
    """The token of a sequence at a position: any but special ones, the same in both programs."""
    return FIRST_TOKEN + (sequence * 7919 + position * 104729) % (vocabulary - FIRST_TOKEN)


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    sequences: int
    prompt: int  # tokens of each
    steps: int   # tokens generated for each

    def line(self):
        return f"generate {self.sequences} {self.prompt} {self.steps}"


CASES = [
    Case("decode", 1, 1, 64),
    Case("decode after 512", 1, 512, 64),
    Case("16 sequences", 16, 128, 64),
    Case("prefill 128", 1, 128, 0),
]
