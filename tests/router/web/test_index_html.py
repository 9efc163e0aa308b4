"""The page's script, run by V8 (mini-racer) without a browser: its pure functions, and what it does with the elements of a stub."""
import json
import math
import pathlib
import re

import pytest
from py_mini_racer import MiniRacer

PAGE = (pathlib.Path(__file__).resolve().parents[3] / "router" / "web" / "index.html").read_text()
STUB = pathlib.Path(__file__).with_name("page_stub.js").read_text()


def run_script(stub):
    """The page's script after the stub's; a function that evaluates an expression there."""
    (script,) = re.findall(r"<script[^>]*>(.*?)</script>", PAGE, re.DOTALL)
    with MiniRacer() as context:
        context.eval(stub)
        context.eval(script)
        yield lambda call: json.loads(context.eval(f"JSON.stringify(({call}) ?? null)"))


@pytest.fixture(scope="module")
def page():
    yield from run_script("")


@pytest.fixture
def opened():
    """The page in the stub, opened."""
    yield from run_script(STUB)


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


def send(opened, text, pieces, **settings):
    for name, value in {"pieces": pieces, **settings}.items():
        opened(f"{name} = {js(value)}")
    opened(f"(elements.message.value = {js(text)}, elements.form.listeners.submit({{ preventDefault() {{}} }}))")


def turns(opened):
    return opened("elements.chat.children.map((turn) => [turn.className, turn.text])")


def test_a_chat_goes_on(opened):
    opened("elements.logprobs.checked = true")
    event = f"data: {chunk('Hello', [token('Hello', -3)])}\n\n"
    send(opened, "Hi", [event[:10], event[10:] + "data: [DONE]\n\n"])
    assert turns(opened) == [["turn user", "YouHi"], ["turn assistant", "AssistantHello"]]
    assert opened("elements.chat.children[1].children[1].className") == "token p2"
    assert opened("elements.counters.textContent") == "1 tokens · first after 10 ms · seed 5"
    assert opened("[elements.send.disabled, elements.stop.disabled, elements.model.textContent]") == [False, True, "nano"]

    opened("elements.api_key.value = 'secret'")
    send(opened, "And?", [event])
    assert opened("sent.at(-1).body.messages.map((message) => message.content)") == ["Hi", "Hello", "And?"]
    assert opened("sent.at(-1).headers.Authorization") == "Bearer secret"


def test_an_error_is_shown_and_its_question_is_not_sent_again(opened):
    send(opened, "Hi", [], status=400)
    assert turns(opened)[1] == ["turn assistant error", "Assistanttemperature: must be from 0 to 100"]
    assert opened("elements.status.textContent") == "temperature: must be from 0 to 100"
    send(opened, "Again", [], status=200)
    assert opened("sent.at(-1).body.messages.map((message) => message.content)") == ["Again"]


def test_stop_keeps_what_has_come(opened):
    send(opened, "Hi", [f"data: {chunk('Hel')}\n\n"], hangs=True)
    assert opened("[elements.send.disabled, elements.stop.disabled]") == [True, False]
    send(opened, "Ignored while an answer is coming", [])
    assert len(turns(opened)) == 2
    opened("elements.stop.listeners.click()")
    assert opened("[elements.send.disabled, elements.stop.disabled]") == [False, True]
    assert turns(opened)[1] == ["turn assistant", "AssistantHel"]
    assert opened("elements.counters.textContent").endswith("ended by you")


def test_a_new_chat_forgets_the_old_one(opened):
    send(opened, "Hi", [f"data: {chunk('Hel')}\n\n"], hangs=True)
    opened("elements.clear.listeners.click()")
    send(opened, "New", [f"data: {chunk('Hel')}\n\n"], hangs=False)
    assert [text for _, text in turns(opened)] == ["YouNew", "AssistantHel"]
    assert opened("sent.at(-1).body.messages.map((message) => message.content)") == ["New"]
