"""The OpenAPI description says what the code takes and refuses; a fuzzer that reads it agrees."""

import html
import json
import re
import shlex

from hypothesis import HealthCheck, given, settings
import pytest
import schemathesis
from schemathesis import GenerationMode

from rearec_jax.serve.guard import OPEN
from tests.serve.conftest import LIMITS

BODIES = {"/recommend": {"histories": [["i1"]]}, "/explain": {"history": ["i1"]}}


@pytest.fixture(scope="module")
def described(client):
    return client.ask("/openapi.json").json()


def fields(described, path):
    content = described["paths"][path]["post"]["requestBody"]["content"]
    assert list(content) == ["application/json"]
    return content["application/json"]["schema"]["properties"]


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize(
    ("field", "bound", "value"),
    [
        ("k", "maximum", lambda n: n),
        ("k", "minimum", lambda n: n),
        ("exclude", "maxItems", lambda n: ["i1"] * n),
        ("candidates", "maxItems", lambda n: ["i1"] * n),
        ("candidates", "minItems", lambda n: ["i1"] * n),
        ("model", "minLength", lambda n: "one"[:n]),
        ("steps", "minimum", lambda n: n),
    ],
)
def test_bounds_are_those_of_the_code(client, described, path, field, bound, value):
    schema = fields(described, path)[field]
    schema = schema["anyOf"][0] if "anyOf" in schema else schema
    limit = schema[bound]
    if field != "model":
        assert client.ask(path, BODIES[path] | {field: value(limit)}).status_code == 200
    beyond = limit + (1 if bound.startswith("max") else -1)
    assert client.ask(path, BODIES[path] | {field: value(beyond)}).status_code == 422


def test_bounds_of_histories(client, described):
    many = fields(described, "/recommend")["histories"]
    assert (many["maxItems"], many["items"]["maxItems"]) == (LIMITS.histories, LIMITS.history)
    assert fields(described, "/explain")["history"]["maxItems"] == LIMITS.history


@pytest.mark.parametrize("path", ["/items", "/samples"])
def test_models_are_named(client, described, path):
    names = {"enum": ["one", "cloze"], "minLength": 1, "type": "string"}
    parameters = {one["name"]: one for one in described["paths"][path]["get"]["parameters"]}
    assert parameters["model"]["schema"]["anyOf"][0] == names
    assert fields(described, "/explain")["model"]["anyOf"][0] == names
    assert client.ask(f"{path}?model=cloze").status_code == 200


@pytest.mark.parametrize("key", ["", "secret"])
def test_the_key_is_described(limited, key):
    described = limited(key=key).ask("/openapi.json").json()
    schemes = described["components"]["securitySchemes"]
    assert {one["type"] for one in schemes.values()} == {"apiKey", "http"}
    for path, methods in described["paths"].items():
        for operation in methods.values():
            assert ("security" in operation) == (path not in OPEN)
            assert ({} in operation.get("security", ())) == (not key and path not in OPEN)
            assert ("401" in operation["responses"]) == (path not in OPEN)


def test_answers_are_described(client, described):
    ready, metrics = (described["paths"][path]["get"]["responses"] for path in READ)
    assert "503" in ready and list(metrics["200"]["content"]) == ["text/plain"]
    assert client.ask("/metrics").headers["content-type"].startswith("text/plain")


READ = ("/ready", "/metrics")


# 422: whether an item or a step exists depends on the model.
TAKEN = {"expected-statuses": ["2xx", "422", "429"]}
ALL = list(HealthCheck)


def test_a_fuzzer_finds_nothing(live):
    """Requests made from the description, right and wrong ones, a few for each operation."""
    server = live(seconds=5.0)
    url = f"http://127.0.0.1:{server.port}/openapi.json"
    config = schemathesis.Config.from_dict({"checks": {"positive_data_acceptance": TAKEN}})
    schema = schemathesis.openapi.from_url(url, config=config)
    seen = set()
    for found in schema.get_all_operations():
        operation = found.ok()
        has_fields = {"parameters", "requestBody"} & set(operation.definition.raw)
        for mode in GenerationMode if has_fields else [GenerationMode.POSITIVE]:

            @given(case=operation.as_strategy(generation_mode=mode))
            @settings(max_examples=6, deadline=None, database=None, suppress_health_check=ALL)
            def holds(case):
                answer = case.call_and_validate()
                seen.add((case.operation.path, answer.status_code))

            holds()
    assert ("/recommend", 200) in seen and ("/recommend", 422) in seen


def test_the_page_shows_every_endpoint_with_an_example_that_works(client, described):
    page = client.ask("/docs").text
    commands = [
        shlex.split(html.unescape(one)) for one in re.findall(r"<code>(curl.*?)</code>", page)
    ]
    assert len(commands) == len(described["paths"])
    for command in commands:
        address = next(word for word in command if word.startswith("localhost:8000/"))
        body = json.loads(command[command.index("-d") + 1]) if "-d" in command else None
        assert client.ask(address.removeprefix("localhost:8000"), body).status_code == 200
    for path in BODIES:
        for name in fields(described, path):
            assert f"<dt><code>{name}</code></dt>" in page


def test_the_page_fetches_only_from_the_server_and_fits_a_phone(client):
    page = client.ask("/docs").text
    fetched = re.findall(r'(?:src|href)="([^"#]+)"', page)
    assert "static/page.css" in fetched and "openapi.json" in fetched
    assert all(client.ask(f"/{name.removeprefix('./')}").status_code == 200 for name in fetched)
    assert "width=device-width" in page and "style=" not in page


@pytest.mark.parametrize("key", ["", "secret"])
def test_the_page_says_whether_and_how_a_key_is_shown(limited, key):
    page = limited(key).ask("/docs").text
    assert "X-API-Key: KEY" in page and "Authorization: Bearer KEY" in page
    assert ("asks for a key" in page) == ("-H &#x27;X-API-Key: KEY&#x27;" in page) == bool(key)
