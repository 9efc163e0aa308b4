"""The nano model's output keeps to JSON schemas, regular expressions, grammars and choices, over every API that has them, and
is the same whether it is streamed, preempted, computed by other stages, or beside requests without any."""
import concurrent.futures
import json
import re
import shutil

import grpc
import jsonschema
import pytest

from end_to_end.clients import channel_to, generate_request, grpc_generate
from end_to_end.deployment import NANO, Deployment

SCHEMA = {"type": "object", "required": ["name", "age", "tags"], "additionalProperties": False, "properties": {
    "name": {"type": "string", "maxLength": 12}, "age": {"type": "integer", "minimum": 0, "maximum": 130},
    "tags": {"type": "array", "items": {"enum": ["red", "green"]}, "maxItems": 3},
    "next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}}
LIST = 'root ::= "- " item ("\\n- " item){2}\nitem ::= [a-z]{3,8}'
BODY = {"messages": [{"role": "user", "content": "Describe a person."}], "max_tokens": 120, "seed": 5}
BY_SCHEMA = {"type": "json_schema", "json_schema": {"name": "person", "schema": SCHEMA}}


@pytest.fixture(scope="module")
def deployment(tmp_path_factory):
    with Deployment(tmp_path_factory.mktemp("structured"), stages=2) as running:
        yield running


@pytest.fixture(scope="module")
def tight(tmp_path_factory):
    """A KV cache for little more than one sequence, so that sequences are preempted."""
    folder = tmp_path_factory.mktemp("tight-structured")
    model = shutil.copytree(NANO, folder / "model")
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 256}))
    flags = ("--kv-cache-mib", 1, "--kv-cache-dtype", "fp32", "--max-batch-tokens", 16)
    with Deployment(folder / "run", stages=2, model=model, worker_flags=flags) as running:
        yield running


def chat(deployment, **fields):
    answer = deployment.post("/v1/chat/completions", BODY | fields)
    assert answer.status_code == 200, answer.text
    return answer.json()["choices"]


def streamed(deployment, **fields):
    """The texts of all choices, by index."""
    texts = {}
    answer = deployment.post("/v1/chat/completions", BODY | fields | {"stream": True}, stream=True)
    assert answer.status_code == 200, answer.text
    for line in answer.iter_lines():
        if line.startswith(b"data: {"):
            for choice in json.loads(line[6:])["choices"]:
                texts[choice["index"]] = texts.get(choice["index"], "") + (choice["delta"].get("content") or "")
    return texts


@pytest.mark.parametrize("sampling", [{"temperature": 0}, {"temperature": 1.5}, {"frequency_penalty": 2, "top_k": 20},
                                      {"logit_bias": {"300": 100}, "bad_words": ["name"], "min_tokens": 5}])
def test_a_schema_is_kept_whatever_the_sampling(deployment, sampling):
    for choice in chat(deployment, response_format=BY_SCHEMA, n=2, **sampling):
        if choice["finish_reason"] == "stop":
            jsonschema.validate(json.loads(choice["message"]["content"]), SCHEMA)
        else:
            assert choice["message"]["content"].lstrip().startswith("{")


def test_choices_of_one_request_are_streamed_alike(deployment):
    whole = chat(deployment, response_format=BY_SCHEMA, n=2)
    texts = streamed(deployment, response_format=BY_SCHEMA, n=2)
    assert [choice["message"]["content"] for choice in whole] == [texts[0], texts[1]]
    assert texts[0] != texts[1]


@pytest.mark.parametrize("fields, pattern", [
    ({"guided_regex": r"\d{4}-\d{2}"}, r"\d{4}-\d{2}"),
    ({"guided_choice": ["yes", "no", "perhaps"]}, "yes|no|perhaps"),
    ({"guided_grammar": LIST}, "- [a-z]{3,8}\n- [a-z]{3,8}\n- [a-z]{3,8}"),
    ({"structured_outputs": {"regex": "[ab]{3}日"}}, "[ab]{3}日"),
])
def test_regular_expressions_grammars_and_choices_are_kept(deployment, fields, pattern):
    for choice in chat(deployment, n=3, **fields):
        assert choice["finish_reason"] == "stop"
        assert re.fullmatch(pattern, choice["message"]["content"])


def test_json_objects_are_json_objects(deployment):
    for choice in chat(deployment, response_format={"type": "json_object"}, n=4, temperature=0.7):
        if choice["finish_reason"] == "stop":
            assert isinstance(json.loads(choice["message"]["content"]), dict)


def test_output_at_max_tokens_is_the_beginning_of_a_match(deployment):
    (choice,) = chat(deployment, guided_regex="[0-9]{300}", max_tokens=7)
    assert choice["finish_reason"] == "length"
    assert re.fullmatch("[0-9]{1,300}", choice["message"]["content"])


def test_grpc_has_them_too(deployment):
    from octet.v1 import generation_pb2 as pb
    with channel_to(deployment) as channel:
        for kind, pattern in (({"regex": "[xyz]{5}"}, "[xyz]{5}"), ({"grammar": LIST}, "(- [a-z]{3,8}\n?){3}"),
                              ({"choices": pb.OutputChoices(texts=["left", "right"])}, "left|right"),
                              ({"json_schema": '{"type": "boolean"}'}, r"\s*(true|false)")):
            request = generate_request(text="Hello", structured_output=pb.StructuredOutput(**kind), n=2)
            for answer in grpc_generate(channel, request).values():
                assert re.fullmatch(pattern, answer.text), kind


def test_text_from_its_very_beginning(deployment):
    """After <s> alone the tokenizer drops the first space; what the client sees matches all the same."""
    answer = deployment.post("/v1/completions", {"prompt": [2], "guided_regex": "(ab|cd){4}", "n": 4, "seed": 1})
    assert answer.status_code == 200, answer.text
    for choice in answer.json()["choices"]:
        assert re.fullmatch("(ab|cd){4}", choice["text"])


def test_requests_without_any_are_not_touched(deployment, golden):
    """Golden tokens, computed in batches with constrained sequences."""
    cases = golden[:6]
    with channel_to(deployment) as channel, concurrent.futures.ThreadPoolExecutor(max_workers=12) as pool:
        constrained = [pool.submit(chat, deployment, response_format=BY_SCHEMA, seed=i) for i in range(6)]
        answers = list(pool.map(lambda case: grpc_generate(channel, generate_request(case))[0], cases))
        for future in constrained:
            future.result()
    assert [answer.token_ids for answer in answers] == [case["output_ids"] for case in cases]


def test_preempted_sequences_give_the_same_tokens(tight):
    fields = [{"response_format": BY_SCHEMA, "seed": i, "max_tokens": 150} for i in range(6)]
    alone = [chat(tight, **each)[0]["message"]["content"] for each in fields]
    before = tight.lead_metric("octet_preemptions_total")
    with concurrent.futures.ThreadPoolExecutor(max_workers=len(fields)) as pool:
        together = list(pool.map(lambda each: chat(tight, **each)[0]["message"]["content"], fields))
    assert together == alone
    assert tight.lead_metric("octet_preemptions_total") > before


class WithoutTokenizer(Deployment):
    """The workers' model folder has no tokenizer.model; the router's has."""

    def start_worker(self, stage, port=0):
        bare = self.folder / "bare"
        if not bare.exists():
            shutil.copytree(self.model, bare, ignore=shutil.ignore_patterns("tokenizer.model"))
        whole, self.model = self.model, bare
        try:
            return super().start_worker(stage, port)
        finally:
            self.model = whole


def test_without_a_tokenizer_in_the_last_stages_folder_they_are_refused(tmp_path):
    with WithoutTokenizer(tmp_path / "run") as running:
        answer = running.post("/v1/chat/completions", BODY | {"guided_regex": "a"})
        assert answer.status_code == 400
        assert "tokenizer.model in the last stage's model folder: not found" in answer.text
        assert chat(running, max_tokens=3)


def test_bad_ones_are_refused_over_grpc(deployment):
    from octet.v1 import generation_pb2 as pb
    with channel_to(deployment) as channel, pytest.raises(grpc.RpcError) as error:
        grpc_generate(channel, generate_request(text="Hi", structured_output=pb.StructuredOutput(regex="(a")))
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "structured_output.regex: " in error.value.details()
