"""The page's pure functions, run by V8 (mini-racer) without a browser: the page's own elements are not covered here."""
import json
import math
import pathlib
import re

import pytest
from py_mini_racer import MiniRacer

PAGE = (pathlib.Path(__file__).resolve().parents[3] / "router" / "web" / "index.html").read_text()


@pytest.fixture(scope="module")
def page():
    (script,) = re.findall(r"<script[^>]*>(.*?)</script>", PAGE, re.DOTALL)
    with MiniRacer() as context:
        context.eval(script)
        yield lambda call: json.loads(context.eval(f"JSON.stringify({call})"))


def js(value):
    return json.dumps(value)


def test_everything_the_page_needs_is_in_it():
    assert not re.search(r"(?:src|href)=\"(?!data:,)", PAGE), "an outside asset"
    assert not re.search(r"\son\w+=|\sstyle=|javascript:|innerHTML|\beval\(", PAGE), "what the policy forbids"
    assert PAGE.count('nonce="{{nonce}}"') == 2 == len(re.findall(r"<(?:script|style)\b", PAGE))


def test_every_control_has_a_label_and_every_id_exists():
    used = set(re.findall(r'element\("(\w+)"\)', PAGE))
    assert used and used <= set(re.findall(r'\bid="(\w+)"', PAGE))
    for control in re.findall(r"<(?:input|textarea)[^>]*>", PAGE):
        before = PAGE[:PAGE.index(control)]
        assert before.rfind("<label") > before.rfind("</label>"), control


def test_events_are_split_wherever_the_stream_is_cut(page):
    stream = 'data: {"a": 1}\n\ndata: {"b": "\\n"}\n\ndata: [DONE]\n\n'
    for cut in range(len(stream) + 1):
        first = page(f"splitEvents({js(stream[:cut])})")
        second = page(f"splitEvents({js(first['rest'] + stream[cut:])})")
        assert first["events"] + second["events"] == ['{"a": 1}', '{"b": "\\n"}', "[DONE]"]
        assert second["rest"] == ""


def test_only_what_was_filled_in_is_sent(page):
    empty = {"system": " ", "temperature": "", "top_p": "", "top_k": "", "max_tokens": "", "seed": "", "stop_string": "",
             "logprobs": False}
    messages = [{"role": "user", "content": "Hi"}]
    assert page(f"requestBody({js(messages)}, {js(empty)})") == {
        "messages": messages, "stream": True, "stream_options": {"include_usage": True}}
    full = {"system": "Be brief.", "temperature": "0", "top_p": "0.5", "top_k": "3", "max_tokens": "9", "seed": "7",
            "stop_string": "x", "logprobs": True}
    assert page(f"requestBody({js(messages)}, {js(full)})") == {
        "messages": [{"role": "system", "content": "Be brief."}, *messages], "stream": True,
        "stream_options": {"include_usage": True}, "temperature": 0, "top_p": 0.5, "top_k": 3, "max_tokens": 9, "seed": 7,
        "stop": "x", "logprobs": True, "top_logprobs": 5}


def chunk(text="", tokens=(), **choice):
    logprobs = {"content": list(tokens)} if tokens else None
    return js({"seed": 5, "choices": [{"index": 0, "delta": {"content": text}, "logprobs": logprobs, **choice}]})


def token(text, logprob, *top):
    return {"token": text, "logprob": logprob, "top_logprobs": [{"token": t, "logprob": p} for t, p in top]}


def test_an_answer_is_put_together_with_its_tokens_and_times(page):
    events = [(chunk(), 50), (chunk("Hi", [token("Hi", -0.1)]), 100), (chunk("", [token("\ufffd", -1)]), 200),
              (chunk("\u00e9", [token("\ufffd", -2)]), 300), (chunk(finish_reason="stop", stop_reason=None), 300),
              (js({"choices": [], "usage": {"completion_tokens": 4, "prompt_tokens": 9}}), 310), ("[DONE]", 310)]
    calls = ", ".join(f"...takeEvent(answer, {js(data)}, {ms})" for data, ms in events)
    answer, spans = page(f"((answer) => {{ const spans = [{calls}]; return [answer, spans]; }})(newAnswer(40))")
    assert answer["text"] == "Hi\u00e9"
    assert [(span["text"], len(span["tokens"])) for span in spans] == [("Hi", 1), ("\u00e9", 2)]
    assert page(f"counters({js(answer)})") == (
        "4 tokens · first after 60 ms · 10.0 tokens/s · prompt 9 tokens · seed 5 · ended by stop")


def test_an_error_within_the_stream_is_kept(page):
    data = js({"error": {"message": "the pipeline is lost"}})
    assert page(f"((a) => {{ takeEvent(a, {js(data)}, 1); return a.error; }})(newAnswer(0))") == "the pipeline is lost"


def test_a_deadline_is_told(page):
    data = chunk(finish_reason="length", stop_reason="deadline")
    assert page(f"((a) => {{ takeEvent(a, {js(data)}, 1); return a.finish; }})(newAnswer(0))") == "deadline"


def test_probabilities_read_well(page):
    tokens = [token(" a", math.log(0.25), (" b", math.log(0.5)), (" a", math.log(0.25)))]
    assert page(f"describeTokens({js(tokens)})") == '" a" 25.0 %; likeliest: " b" 50.0 %, " a" 25.0 %'
    assert [page(f"surprise({js([token('a', math.log(p))])})") for p in (0.9, 0.3, 0.05, 0.001)] == ["", "p1", "p2", "p3"]
    assert [page(f"percent({p})") for p in (0, -9999)] == ["100 %", "<0.1 %"]
