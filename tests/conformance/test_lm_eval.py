"""EleutherAI's lm-eval, unmodified, over both of OpenAI's APIs: it counts the right answers that transformers gives, and reads
transformers' log-likelihoods. It has no tokenizer of its own, but asks the router's."""
import collections
import json

import pytest

from end_to_end.deployment import ROOT

GOLDEN = ROOT / "tests" / "golden"
END = "<extra_id_1>"
LOGPROB_TOLERANCE = 1e-3  # of a whole answer, which has up to 120 tokens

GENERATION = {
    "output_type": "generate_until", "doc_to_target": "{{answer}}",
    "generation_kwargs": {"until": [END], "max_gen_toks": 100, "temperature": 0, "do_sample": False},
    "filter_list": [{"name": "stripped", "filter": [{"function": "regex", "regex_pattern": r"(?s)^\s*(.*?)\s*$"},
                                                    {"function": "take_first"}]}],
    "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
}
LIKELIHOOD = {
    "output_type": "loglikelihood", "doc_to_text": "{{prompt}}", "doc_to_target": "{{output}}", "target_delimiter": "",
    "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True},
                    {"metric": "perplexity", "aggregation": "perplexity", "higher_is_better": False}],
}


@pytest.fixture(scope="module")
def evaluate(deployment, tmp_path_factory):
    """evaluate(api, task, rows, chat=False): what lm-eval found, and its samples."""
    folder = tmp_path_factory.mktemp("lm-eval")
    with pytest.MonkeyPatch.context() as environment:
        for name, value in {"HF_HOME": str(folder / "cache"), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}.items():
            environment.setenv(name, value)
        import lm_eval
        from lm_eval.tasks import TaskManager

        def run(api, task, rows, chat=False):
            data = folder / "rows.jsonl"
            data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
            task = {"task": "nano", "dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(data)}},
                    "test_split": "test", "num_fewshot": 0, **task}
            path = "chat/completions" if chat else "completions"
            result = lm_eval.simple_evaluate(
                model=api, model_args={"model": "nano", "base_url": f"{deployment.url}/v1/{path}", "num_concurrent": 32,
                                       "max_retries": 1, "timeout": 60, "max_length": 4096},
                tasks=[task], apply_chat_template=chat, bootstrap_iters=0, task_manager=TaskManager(include_defaults=False))
            return result["results"]["nano"], result["samples"]["nano"]

        yield run


@pytest.fixture(scope="module")
def heldout():
    return [json.loads(line) for line in (GOLDEN / "heldout.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("api, field", [("local-completions", "prompt"), ("local-chat-completions", "question")])
def test_accuracy_is_that_of_transformers(evaluate, heldout, api, field):
    reference = json.loads((GOLDEN / "eval.json").read_text(encoding="utf-8"))
    task = {"doc_to_text": "{{%s}}" % field, **GENERATION}
    found, samples = evaluate(api, task, heldout, chat=field == "question")
    assert len(samples) == reference["of"]
    assert found["exact_match,stripped"] == reference["right"] / reference["of"]
    right = collections.Counter({name: 0 for name in reference["by_task"]})
    for sample in samples:
        right[sample["doc"]["task"]] += sample["exact_match"]
    assert right == {name: number for name, (number, _) in reference["by_task"].items()}


def test_log_likelihoods_are_those_of_transformers(deployment, evaluate, golden):
    """Of greedy answers but their first word, read from the log-probabilities of an echoed prompt."""
    rows = []
    for case in golden:
        first, space, rest = case["output"].partition(" ")
        if not space:
            continue
        row = {"prompt": case["prompt"] + first, "output": space + rest}
        known = deployment.post("/tokenize", {"prompt": row["prompt"]}).json()["tokens"]
        assert known == (case["prompt_ids"] + case["output_ids"])[:len(known)]
        rows.append({**row, "logprob": sum(case["logprobs"][len(known) - 1:])})
    assert len(rows) > 60
    found, samples = evaluate("local-completions", LIKELIHOOD, rows)
    assert found["acc,none"] == 1, "every greedy answer is the likeliest"
    for sample in samples:
        ((logprob, _),) = sample["filtered_resps"]
        assert logprob == pytest.approx(sample["doc"]["logprob"], abs=LOGPROB_TOLERANCE)
    shuffled = [{**row, "output": other["output"]} for row, other in zip(rows, [*rows[1:], rows[0]], strict=True)]
    found, _ = evaluate("local-completions", LIKELIHOOD, shuffled)
    assert found["acc,none"] < 0.1, "another question's answer is not"
