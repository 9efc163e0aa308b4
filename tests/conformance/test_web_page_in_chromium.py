"""The page at / in Debian's Chromium, headless, as a user meets it. What its script does in detail is tested in tests/router/web."""
import json
import re

import pytest
from playwright.sync_api import expect, sync_playwright

from end_to_end.clients import text_of

SECONDS = 60
GIBBERISH = {"Temperature": "100", "Seed": "18"}  # with this seed it goes on for 2951 tokens
PHONE = {"width": 360, "height": 640}
# Notes each text that elements have had.
RECORD = """selectors => {
  window.texts = selectors.map((selector) => {
    const element = document.querySelector(selector), texts = [];
    new MutationObserver(() => { if (element.textContent) texts.push(element.textContent); })
        .observe(element, { childList: true, subtree: true, characterData: true });
    return texts;
  });
}"""


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-proxy-server"])
        yield opened
        opened.close()


@pytest.fixture
def page(deployment, browser):
    """The page, opened. It may neither fail in its script, nor break its own policy, nor ask another host."""
    complaints, hosts = [], set()
    page = browser.new_page()
    page.set_default_timeout(1000 * SECONDS)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("request", lambda request: hosts.add(re.match(r"\w+:(//[^/]+|)", request.url)[0]))
    page.goto(deployment.url)
    yield page
    page.close()
    # What a test makes fail, the console tells too.
    assert [text for text in complaints if not text.startswith("Failed to load resource: ")] == []
    assert hosts == {deployment.url}


def open_parameters(page, **values):
    page.get_by_text("Parameters", exact=True).click()
    for label, value in values.items():
        page.get_by_label(label.replace("_", " ")).fill(value)


def send(page, text):
    """Sends a message; the body of its request."""
    page.get_by_label("Message", exact=True).fill(text)
    with page.expect_request("**/v1/chat/completions") as request:
        page.get_by_role("button", name="Send").click()
    return json.loads(request.value.post_data)


def wait_for_end(page):
    expect(page.get_by_role("button", name="Stop")).to_be_disabled(timeout=1000 * SECONDS)


def question(case):
    assert len(case["turns"]) == 1 and not case["system"]
    return case["turns"][0][0]


def test_a_chat_goes_on(page, golden):
    expect(page.locator("#model")).to_have_text("nano")
    open_parameters(page, Temperature="0", Seed="7")
    body = send(page, question(golden[0]))
    wait_for_end(page)
    assert body["messages"] == [{"role": "user", "content": question(golden[0])}]
    assert page.locator(".assistant").text_content() == "Assistant" + text_of(golden[0])
    tokens, prompt_tokens = len(golden[0]["output_ids"]), len(golden[0]["prompt_ids"])
    expect(page.locator("#counters")).to_have_text(re.compile(
        rf"^{tokens} tokens · first after \d+ ms · \d+\.\d tokens/s · prompt {prompt_tokens} tokens · seed 7 · ended by stop$"))
    body = send(page, "And who are you?")
    wait_for_end(page)
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "user"]
    assert body["messages"][1]["content"] == text_of(golden[0])


def test_text_and_counters_grow_while_the_answer_comes(page):
    open_parameters(page, **GIBBERISH, Most_tokens="2000")  # long, for a browser may take what has come at once
    page.evaluate(RECORD, ["#chat", "#counters"])
    send(page, "Hi")
    wait_for_end(page)
    texts, counters = page.evaluate("window.texts")
    assert len(texts) > 5 and len(counters) > 5, "in pieces"
    assert all(after.startswith(before) for before, after in zip(texts, texts[1:]))
    counted = [int(text.split()[0]) for text in counters]
    assert counted == sorted(counted) and counted[-1] == 2000


def test_parameters_change_the_request_and_the_answer(page, golden):
    open_parameters(page, System_message="Be brief.", Temperature="0.5", Top_p="0.9", Top_k="3", Most_tokens="4", Seed="11",
                    Stop_string="zebra", API_key="octet-key")
    page.get_by_label("Probabilities of tokens").uncheck()
    page.get_by_label("Message", exact=True).fill(question(golden[0]))
    with page.expect_request("**/v1/chat/completions") as sent:
        page.get_by_label("Message", exact=True).press("Enter")
    wait_for_end(page)
    assert json.loads(sent.value.post_data) == {
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": question(golden[0])}],
        "stream": True, "stream_options": {"include_usage": True}, "temperature": 0.5, "top_p": 0.9, "top_k": 3, "max_tokens": 4,
        "seed": 11, "stop": "zebra"}
    assert sent.value.headers["authorization"] == "Bearer octet-key"
    expect(page.locator("#counters")).to_have_text(re.compile(r"^4 tokens .* seed 11 · ended by length$"))
    assert page.locator(".token").count() == 0


def test_a_token_tells_its_probability_on_hover(page, golden):
    open_parameters(page, Temperature="0")
    send(page, question(golden[0]))
    wait_for_end(page)
    token = page.locator(".token").first
    assert token.evaluate("element => getComputedStyle(element).outlineStyle") == "none"
    token.hover()
    assert token.evaluate("element => getComputedStyle(element).outlineStyle") == "solid"
    found = re.fullmatch(r'("\w+") (\S+) %; likeliest: (.*)', token.get_attribute("title"))
    assert json.loads(found[1]) == token.text_content()
    assert float(found[2]) > 99, "golden: the first token's log-probability is nearly 0"
    assert found[3].startswith(f"{found[1]} {found[2]} %, ") and found[3].count("%") == 5
    token.click()  # where there is no hovering
    expect(page.get_by_role("status")).to_have_text(token.get_attribute("title"))


def test_what_the_router_refuses_is_shown(page):
    open_parameters(page, Stop_string="x" * 257)
    send(page, "Hi")
    expect(page.get_by_role("status")).to_have_text(re.compile("^stop.*256"))
    assert "error" in page.locator(".assistant").get_attribute("class")
    assert page.locator(".assistant").evaluate("element => getComputedStyle(element).color") == "rgb(179, 38, 30)"
    page.get_by_label("Stop string").fill("")
    body = send(page, "Who are you?")
    wait_for_end(page)
    assert [message["content"] for message in body["messages"]] == ["Who are you?"]
    expect(page.get_by_role("status")).to_be_empty()


def test_a_value_out_of_range_is_told_although_the_parameters_are_closed(page):
    open_parameters(page, Temperature="101")
    page.get_by_text("Parameters", exact=True).click()
    page.get_by_label("Message", exact=True).fill("Hi")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("status")).to_have_text(re.compile("^temperature.*100"))


def test_a_connection_that_breaks_is_told(page):
    page.route("**/v1/chat/completions", lambda route: route.abort())
    send(page, "Hi")
    expect(page.get_by_role("status")).not_to_be_empty()
    assert "error" in page.locator(".assistant").get_attribute("class")
    expect(page.get_by_role("button", name="Send")).to_be_enabled()


def test_stop_ends_the_answer_here_and_in_the_pipeline(deployment, page):
    open_parameters(page, **GIBBERISH)
    send(page, "Hi")
    expect(page.locator(".token").nth(20)).to_be_attached()
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#counters")).to_have_text(re.compile("ended by you$"))
    deployment.wait_until_blocks_are_free()
    page.get_by_role("button", name="New chat").click()
    expect(page.locator(".turn")).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(page, golden, scheme):
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size(PHONE)
    send(page, "x" * 200)
    wait_for_end(page)
    page.get_by_text("Parameters", exact=True).click()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    for name in ("Send", "Stop", "New chat"):
        box = page.get_by_role("button", name=name).bounding_box()
        assert box["height"] >= 44 and box["x"] + box["width"] <= PHONE["width"]
