"""Who may ask: the key, the names of the server, and pages of other origins."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from click.testing import CliRunner

from jlocal.cli import cli
from support.servers import Running, running

KEY = "a-key-of-its-own"


@pytest.fixture(scope="module")
def locked() -> Iterator[Running]:
    options = ("-m", "starter", "--lazy", "--cors", "app://obsidian.md")
    with running(*options, environment={"JLOCAL_API_KEY": KEY}) as server:
        yield server


@pytest.mark.slow
def test_a_key_is_asked_for(locked: Running) -> None:
    def status(headers: dict[str, str]) -> int:
        return httpx.get(f"{locked.url}/v1/models", headers=headers).status_code

    assert status({}) == 401
    assert status({"Authorization": "Bearer another"}) == 401
    assert status({"Authorization": KEY}) == 401
    assert status({"Authorization": f"Basic {KEY}"}) == 401
    assert status({"Authorization": f"Bearer {KEY}"}) == 200
    assert status({"x-api-key": KEY}) == 200
    answer = httpx.get(f"{locked.url}/v1/models")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["error"]["code"] == "invalid_api_key"


@pytest.mark.parametrize("path", ["/health", "/ping", "/metrics"])
def test_what_watches_a_server_needs_no_key(locked: Running, path: str) -> None:
    assert httpx.get(f"{locked.url}{path}").status_code == 200


def test_the_key_is_in_no_log(locked: Running) -> None:
    httpx.get(f"{locked.url}/v1/models?key={KEY}", headers={"Authorization": f"Bearer {KEY}"})
    assert not any(KEY in line for line in locked.log)


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "", "127.0.0.1.evil.example", "localhost.evil", "["]
)
def test_a_name_that_is_not_the_servers_is_refused(server: Running, host: str) -> None:
    assert httpx.get(f"{server.url}/v1/models", headers={"Host": host}).status_code in (400, 403)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9", "127.0.0.1", "[::1]:8080"])
def test_names_of_this_machine_are_answered(server: Running, host: str) -> None:
    assert httpx.get(f"{server.url}/v1/models", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "file://", "http://127.0.0.1:1"])
def test_pages_of_other_origins_are_refused(server: Running, origin: str) -> None:
    answer = httpx.get(f"{server.url}/v1/models", headers={"Origin": origin})
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers


def test_a_page_of_the_server_itself_may_ask(server: Running) -> None:
    answer = httpx.get(f"{server.url}/v1/models", headers={"Origin": server.url})
    assert answer.status_code == 200


def test_a_browser_may_ask_from_an_allowed_origin(locked: Running) -> None:
    preflight = httpx.options(
        f"{locked.url}/v1/embeddings",
        headers={
            "Origin": "app://obsidian.md",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type,x-stainless-os",
        },
    )
    assert preflight.status_code == 200
    assert "x-stainless-os" in preflight.headers["access-control-allow-headers"]
    answer = httpx.post(
        f"{locked.url}/v1/embeddings",
        json={"model": "starter", "input": "a"},
        headers={"Origin": "app://obsidian.md", "Authorization": f"Bearer {KEY}"},
    )
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "app://obsidian.md"


def test_each_answer_has_the_security_headers(server: Running) -> None:
    for path in ("/v1/models", "/nothing", "/health"):
        headers = httpx.get(f"{server.url}{path}").headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "server" not in headers


def test_another_address_needs_a_key() -> None:
    for host in ("0.0.0.0", "::", "192.0.2.1", "example.org"):
        done = CliRunner().invoke(cli, ["serve", "--host", host])
        assert done.exit_code == 2
        assert "--no-auth" in done.output


@pytest.mark.parametrize("key", ["", "é", "a\nb"])
def test_a_key_is_printable_ascii(key: str) -> None:
    done = CliRunner().invoke(cli, ["serve", "--api-key", key])
    assert done.exit_code == 2
    assert "printable ASCII" in done.output


def test_request_ids_are_those_of_the_client_or_new(server: Running) -> None:
    given = httpx.get(f"{server.url}/v1/models", headers={"x-request-id": "abc-1"})
    assert given.headers["x-request-id"] == "abc-1"
    for bad in ("a b", "x" * 129, "<b>"):
        made = httpx.get(f"{server.url}/v1/models", headers={"x-request-id": bad})
        assert made.headers["x-request-id"] != bad
