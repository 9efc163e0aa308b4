"""The page at / as it is served."""
import re


def test_the_page_may_run_only_its_own_script(deployment, http):
    replies = [http.get(deployment.url + "/") for _ in range(2)]
    nonces = []
    for reply in replies:
        assert reply.status_code == 200
        assert reply.headers["Content-Type"] == "text/html; charset=utf-8"
        policy = dict(part.split(" ", 1) for part in reply.headers["Content-Security-Policy"].split("; "))
        (nonce,) = re.findall(r"^'nonce-([0-9a-f]{32})'$", policy["script-src"])
        assert policy == {"default-src": "'none'", "script-src": f"'nonce-{nonce}'", "style-src": f"'nonce-{nonce}'",
                          "img-src": "data:", "connect-src": "'self'", "base-uri": "'none'", "form-action": "'none'",
                          "frame-ancestors": "'none'"}
        assert reply.text.count(f'nonce="{nonce}"') == 2 and "{{" not in reply.text
        assert (reply.headers["X-Content-Type-Options"], reply.headers["Referrer-Policy"]) == ("nosniff", "no-referrer")
        nonces.append(nonce)
    assert nonces[0] != nonces[1]


def test_only_get_and_head(deployment, http):
    assert http.head(deployment.url + "/").text == ""
    assert http.post(deployment.url + "/").status_code == 405
