"""The Python client of the Nemotron-4-340B-Instruct model card, with the server's address as an argument.

usage: call_server.py HOST PORT [QUESTION]
"""
import json
import sys

import requests

headers = {"Content-Type": "application/json"}


def text_generation(data, ip="localhost", port=None):
    resp = requests.put(f"http://{ip}:{port}/generate", data=json.dumps(data), headers=headers)
    return resp.json()


def get_generation(prompt, greedy, add_BOS, token_to_gen, min_tokens, temp, top_p, top_k, repetition, batch=False,
                   ip="localhost", port=1424):
    data = {
        "sentences": [prompt] if not batch else prompt,
        "tokens_to_generate": int(token_to_gen),
        "temperature": temp,
        "add_BOS": add_BOS,
        "top_k": top_k,
        "top_p": top_p,
        "greedy": greedy,
        "all_probs": False,
        "repetition_penalty": repetition,
        "min_tokens_to_generate": int(min_tokens),
        "end_strings": ["<|endoftext|>", "<extra_id_1>", "\x11", "<extra_id_1>User"],
    }
    sentences = text_generation(data, ip, port)["sentences"]
    return sentences[0] if not batch else sentences


PROMPT_TEMPLATE = """<extra_id_0>System

<extra_id_1>User
{prompt}
<extra_id_1>Assistant
"""


def ask(question, ip, port):
    prompt = PROMPT_TEMPLATE.format(prompt=question)
    response = get_generation(prompt, greedy=True, add_BOS=False, token_to_gen=1024, min_tokens=1, temp=1.0, top_p=1.0,
                              top_k=0, repetition=1.0, batch=False, ip=ip, port=port)
    response = response[len(prompt):]
    if response.endswith("<extra_id_1>"):
        response = response[:-len("<extra_id_1>")]
    return response


if __name__ == "__main__":
    print(ask(sys.argv[3] if len(sys.argv) > 3 else "Write a poem on NVIDIA in the style of Shakespeare",
              sys.argv[1], int(sys.argv[2])))
