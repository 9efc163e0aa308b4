"""Makes the bench's prompts of the nano model from its golden greedy answers.

usage: golden_prompts.py tests/golden/greedy.json > tools/bench/prompts/nano.jsonl
"""
import json
import sys

END = "<extra_id_1>"

for case in json.load(open(sys.argv[1], encoding="utf-8")):
    messages = [{"role": "system", "content": case["system"]}] if case["system"] else []
    for question, answer in case["turns"]:
        messages.append({"role": "user", "content": question})
        if answer is not None:
            messages.append({"role": "assistant", "content": answer})
    row = {
        "prompt": case["prompt"],
        "messages": messages,
        "expected": case["output"].removesuffix(END),
        "prompt_tokens": len(case["prompt_ids"]),
    }
    print(json.dumps(row, ensure_ascii=False))
