"""Ways to ask a router, each giving the same Answer, so that tests can compare them."""
import dataclasses

import grpc

END = "<extra_id_1>"  # ends a turn of the nano model


@dataclasses.dataclass
class Answer:
    text: str = ""
    token_ids: list = dataclasses.field(default_factory=list)
    logprobs: list = dataclasses.field(default_factory=list)  # of the tokens, when asked for
    prompt_logprobs: list = dataclasses.field(default_factory=list)
    finish_reason: int = 0
    seed: int = 0
    usage: object = None


def channel_to(deployment):
    return grpc.insecure_channel(deployment.grpc_target, options=[("grpc.enable_http_proxy", 0)])


def generate_request(case=None, **fields):
    """A GenerateRequest for a golden case: greedy, to the end of its turn. Fields given by name replace these."""
    from octet.v1 import generation_pb2 as pb
    if case is not None:
        fields = {"text": case["prompt"], "sampling": pb.SamplingParams(temperature=0),
                  "stop": pb.StopConditions(max_tokens=128), **fields}
    return pb.GenerateRequest(**fields)


def grpc_generate(channel, request, timeout=60, on_message=lambda message: None):
    """The answers of all choices, by index; on_message is called with each message as it comes."""
    from octet.v1 import generation_pb2_grpc
    answers = {}
    seed = None
    for message in generation_pb2_grpc.GenerationStub(channel).Generate(request, timeout=timeout):
        on_message(message)
        answer = answers.setdefault(message.index, Answer())
        answer.text += message.text
        answer.token_ids += message.token_ids
        answer.logprobs += message.logprobs
        answer.prompt_logprobs += message.prompt_logprobs
        answer.finish_reason = message.finish_reason or answer.finish_reason
        if message.HasField("usage"):
            answer.usage = message.usage
        if message.HasField("seed"):
            seed = message.seed
    for answer in answers.values():
        answer.seed = seed
    return answers


def nemo_body(case, **fields):
    return {"sentences": [case["prompt"]], "tokens_to_generate": 128, "temperature": 1.0, "add_BOS": False, "top_k": 0,
            "top_p": 1.0, "greedy": True, "all_probs": False, "repetition_penalty": 1.0, "min_tokens_to_generate": 1,
            "end_strings": ["<|endoftext|>", END], **fields}


def chat_messages(case):
    messages = [{"role": "system", "content": case["system"]}] if case["system"] else []
    for question, answer in case["turns"]:
        messages.append({"role": "user", "content": question})
        if answer is not None:
            messages.append({"role": "assistant", "content": answer})
    return messages


def text_of(case):
    """The golden answer as APIs that drop the end string give it."""
    return case["output"].removesuffix(END)
