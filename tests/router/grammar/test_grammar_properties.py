"""Grammars against those who know: regular expressions match as Python's re does, and whatever a random walk through the
allowed tokens of a random JSON schema says is JSON and validates with jsonschema."""
import json
import random
import re
import subprocess

import jsonschema
import pytest

from end_to_end.deployment import BIN

SEED = 20240614


class Walker:
    def __init__(self):
        self.process = subprocess.Popen([BIN / "grammar_walker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        encoding="utf-8")

    def ask(self, **question):
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"grammar_walker died on {question}"
        return json.loads(line)


@pytest.fixture(scope="module")
def walker():
    walker = Walker()
    yield walker
    walker.process.stdin.close()
    assert walker.process.wait(timeout=10) == 0


def random_regex(rng, depth=0):
    kind = rng.randrange(9 if depth < 3 else 4)
    if kind == 0:
        return rng.choice(["a", "b", "c", "é", "\\.", "\\\\", "日"])
    if kind == 1:
        return rng.choice(["[ab]", "[^a]", "[a-cé]", "\\d", "\\w", "\\s", ".", "[^\\w]", "[\\d.-]", "[]a]"])
    if kind in (2, 3):
        return rng.choice("abc") + rng.choice("ab1")
    if kind == 4:
        return "(" + "|".join(random_regex(rng, depth + 1) for _ in range(rng.randint(1, 3))) + ")"
    if kind in (5, 6):
        repetition = rng.choice(["*", "+", "?", "{2}", "{1,3}", "{0,2}", "{2,}", "{,2}", "*?", "+?"])
        return "(?:" + random_regex(rng, depth + 1) + ")" + repetition
    return random_regex(rng, depth + 1) + random_regex(rng, depth + 1)


def random_text(rng):
    return "".join(rng.choice("aaabbbccé日1.\\ \n-_") for _ in range(rng.randrange(8)))


def test_regular_expressions_match_as_pythons_do(walker):
    rng = random.Random(SEED)
    num_matches = 0
    for _ in range(400):
        source = random_regex(rng)
        texts = [random_text(rng) for _ in range(60)]
        expected = [re.fullmatch(source, text, re.ASCII) is not None for text in texts]
        answer = walker.ask(kind="regex", source=source, texts=texts)
        assert answer == {"matches": expected}, (source, texts)
        num_matches += sum(expected)
    assert num_matches > 500


def test_patterns_of_strings_match_as_pythons_search(walker):
    rng = random.Random(SEED + 1)
    for _ in range(200):
        source = rng.choice(["", "^"]) + random_regex(rng) + rng.choice(["", "$"])
        texts = [random_text(rng) for _ in range(40)]
        expected = [re.search(source.replace("$", "\\Z"), text, re.ASCII) is not None for text in texts]
        schema = json.dumps({"type": "string", "pattern": source})
        answer = walker.ask(kind="json_schema", source=schema,
                            texts=[json.dumps(text, ensure_ascii=False) for text in texts])
        assert answer == {"matches": expected}, (source, texts)


def random_schema(rng, depth=0):
    kind = rng.choice(["string", "number", "integer", "boolean", "null", "enum", "const", "any"] if depth > 2 else
                      ["string", "number", "object", "object", "object", "array", "array", "anyOf", "types", "ref"])
    if kind == "string":
        return {"type": "string", **rng.choice([{}, {"maxLength": rng.randrange(6)}, {"minLength": 2, "maxLength": 4},
                                               {"pattern": "^[a-f]+\\d{2}$"}, {"pattern": "x|y\"z"}, {"format": "date"},
                                               {"format": "uuid"}, {"format": "ipv4"}, {"format": "date-time"}])}
    if kind in ("number", "integer"):
        low = rng.choice([-200, -3, 0, 7])
        bounds = {"minimum": low, rng.choice(["maximum", "exclusiveMaximum"]): low + rng.choice([1, 5, 1000])}
        if kind == "number" and rng.random() < 0.5:
            bounds = {"exclusiveMinimum": low + 0.25, "maximum": low + 0.5}
        return {"type": kind, **rng.choice([{}, bounds, {"minimum": low}])}
    if kind == "object":
        names = rng.sample(["a", "ab", "name", "x\"y", "é", "b"], rng.randrange(4))
        schema = {"type": "object", "properties": {name: random_schema(rng, depth + 1) for name in names}}
        schema["required"] = [name for name in names if rng.random() < 0.5] + ["z"] * (rng.random() < 0.1)
        if rng.random() < 0.6:
            schema["additionalProperties"] = rng.choice([False, True, {"type": "integer"}])
        if schema.get("additionalProperties") is False:
            schema["required"] = [name for name in schema["required"] if name in names]
        return schema
    if kind == "array":
        low = rng.randrange(3)
        schema = {"type": "array", "items": random_schema(rng, depth + 1), "minItems": low, "maxItems": low + rng.randrange(3)}
        if rng.random() < 0.3:
            schema["prefixItems"] = [random_schema(rng, depth + 1) for _ in range(rng.randrange(3))]
        return schema
    if kind == "anyOf":
        return {"anyOf": [random_schema(rng, depth + 1) for _ in range(rng.randint(1, 3))]}
    if kind == "types":
        return {"type": rng.sample(["string", "number", "boolean", "null", "array", "object"], 2)}
    if kind == "enum":
        return {"enum": rng.sample([1, 2.5, "a\nb", None, True, [1, "x"], {"k": 1}], 3)}
    if kind == "const":
        return {"const": rng.choice([0, "q", [], {"a": [1]}])}
    if kind == "ref":
        return {"$ref": "#/$defs/tree"}
    return {} if kind == "any" else {"type": kind}


TREE = {"type": "object", "required": ["v"], "additionalProperties": False, "properties": {
    "v": {"type": "integer"}, "children": {"type": "array", "items": {"$ref": "#/$defs/tree"}, "maxItems": 2}}}
# A vocabulary as a model's: single characters and pieces across JSON's borders, parts of a character too.
TOKENS = [chr(c) for c in range(32, 127)] + [
    "\n", "é", "日", "{\"", "\":", "\": \"", "\",\"", "\", \"", "}}", "]}", "\"}", "[{", "true", "null", "12", "0.5", "name\"",
    "  ", "\n  ", "\\n", "\\u00", "ab", " ", "2024", "-0", "e+", "\t"]


def test_random_walks_through_random_schemas_validate(walker):
    rng = random.Random(SEED + 2)
    num_outputs = 0
    for round_number in range(150):
        schema = {**random_schema(rng), "$defs": {"tree": TREE}}
        answer = walker.ask(kind="json_schema", source=json.dumps(schema), tokens=TOKENS, walks=8, seed=round_number)
        assert "error" not in answer, (schema, answer)
        validator = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
        for output in answer["outputs"]:
            validator.validate(json.loads(output))
        num_outputs += len(answer["outputs"])
    assert num_outputs > 600


def test_constants_can_be_said_as_json_writes_them(walker):
    """What validates and is written in the schema's order is no dead end: examples of a schema's own making."""
    schema = {"type": "object", "required": ["id", "tags"], "properties": {
        "id": {"type": "integer", "minimum": 1}, "tags": {"type": "array", "items": {"type": "string"}},
        "score": {"type": "number", "minimum": 0, "maximum": 1}, "note": {"anyOf": [{"type": "string"}, {"type": "null"}]}}}
    values = [{"id": 7, "tags": []}, {"id": 1, "tags": ["x", "日本"], "score": 0.25}, {"id": 99, "tags": ["a"], "note": None},
              {"id": 12, "tags": [""], "score": 1, "note": "line\nbreak"}]
    texts = [json.dumps(value, ensure_ascii=False, **style) for value in values
             for style in ({}, {"indent": 2}, {"separators": (",", ":")})]
    assert walker.ask(kind="json_schema", source=json.dumps(schema), texts=texts) == {"matches": [True] * len(texts)}
