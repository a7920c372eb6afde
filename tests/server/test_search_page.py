"""The search page in a browser: what it shows, what a person does there, and that it is safe."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from jlocal import Collection, Embedder
from support.browser import CHROMIUM, DRIVER, Browser, browser
from support.servers import Running, running

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="no Chromium is installed"),
]

HOSTILE = (
    "# </script><script>window.hacked = 1</script>\n\nThe quay <img src=x "
    "onerror='window.hacked=2'> has </textarea> "
    "\x1b[31mred\x1b[0m paint, \x07 and \u202egnp.exe\u202c too.\n"
)
HOSTILE_NAME = "<img src=x onerror=window.hacked=3> &amp; `${1}`.md"
LONG = "\n\n".join(f"Paragraph {n} of the log speaks of winch number {n}." for n in range(400))
DEADLINE = 30


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, starter: Embedder) -> Iterator[Running]:
    home = tmp_path_factory.mktemp("home")
    files = {
        "harbour/ferry.md": "# Ferry\n\nThe ferry to the island leaves at noon.\n",
        "harbour/old ferry.md": "# Ferry\n\nThe ferry to the island leaves at noon.\n",
        "harbour/log.md": LONG,
        "kitchen/stove.md": "# Stove\n\nThe stove burns beech wood.\n",
        "kitchen/oven.py": "def bake(bread):\n\treturn bread.hot  # the oven\n",
        "odd/hostile.md": HOSTILE,
        f"odd/{HOSTILE_NAME}": "A lantern hangs there.\n",
        "odd/rtl.md": "# ميناء\n\nقواعد الميناء معلقة على لوحة خلف المكتب lantern.\n",
    }
    for name, text in files.items():
        file = home / "notes" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (home / "collections").mkdir()
    with Collection(home / "collections" / "notes.db", starter) as collection:
        collection.index(home / "notes")
    with Collection(home / "collections" / "texts.db", starter) as collection:
        collection.add("A gale is forecast; the ferry stays.", "gale", {"year": 2024})
    (home / "notes" / "kitchen" / "stove.md").unlink()
    with running("-m", "starter", environment={"JLOCAL_HOME": str(home)}) as server:
        yield server


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture
def page(started: Browser, served: Running) -> Iterator[Browser]:
    """Check after each test that the page asked only its server, and that nothing went wrong."""
    yield started
    assert started.complaints() == []
    assert started.run("window.hacked") is None
    asked = [url for url in started.requests() if not url.startswith(("about:", "data:"))]
    assert {url.split("/")[2] for url in asked} <= {served.url.split("/")[2]}


def open_at(page: Browser, served: Running, hash: str = "", **window: object) -> None:
    page.open(f"{served.url}/#{hash}", **window)
    until(page, "catalogue.length === 2 && document.activeElement === query")
    if "q=" in hash:
        until(page, "answer !== null && running !== null")


def until(page: Browser, condition: str) -> None:
    """Wait until a condition holds, with a generous deadline."""
    end = time.monotonic() + DEADLINE
    while not page.run(condition):
        assert time.monotonic() < end, condition
        time.sleep(0.05)
    page.frame()


def type_keys(page: Browser, *keys: str) -> None:
    ActionChains(page.driver).send_keys(*keys).perform()
    page.frame()


def hits(page: Browser) -> list[str]:
    return page.run("[...list.querySelectorAll('.name')].map((name) => name.textContent)")


def searched(page: Browser, text: str) -> None:
    """Type a query, and wait for its answer."""
    type_keys(page, text)
    until(page, f"answer?.query === {text!r}")


def test_hits_come_while_one_types(page: Browser, served: Running) -> None:
    open_at(page, served, width=1300)
    assert "9 documents" in page.text("#empty")
    searched(page, "ferry to the island")
    assert hits(page)[0] in ("notes/harbour/ferry.md", "notes/harbour/old ferry.md")
    assert "ferry" in page.run("[...list.querySelectorAll('mark')].map((one) => one.textContent)")
    assert page.text(".hit .headings") == "Ferry"
    assert "also in notes/harbour/" in page.text(".hit .also")
    assert "hits in" in page.text("#said")
    # Letters that follow cancel the search before them: the last answer is shown.
    for letters in ("x", Keys.BACKSPACE, " beech"):
        page.find("#query").send_keys(letters)
    until(page, "answer.query === 'ferry to the island beech'")
    assert page.run("document.title").startswith("ferry to the island beech")
    page.find("#query").send_keys(Keys.CONTROL, "a")
    type_keys(page, Keys.DELETE)
    until(page, "answer === null")
    assert hits(page) == []


def test_only_the_last_answer_is_shown(page: Browser, served: Running) -> None:
    open_at(page, served)
    # The answer to the first query comes after that to the second.
    page.run(
        "(window.slow = ask, ask = async (route, fields, signal) => {"
        " const found = await slow(route, fields);"  # it is not even cancelled
        " if (fields?.query === 'stove') await new Promise((done) => setTimeout(done, 700));"
        " return found; }, 0)"
    )
    type_keys(page, "stove")
    page.run("(search(), query.value = 'gale', state.query = 'gale', search(), 0)")
    until(page, "answer?.query === 'gale'")
    time.sleep(0.4)  # the first search would say after 0.15 s that it waits
    assert page.run("document.body.classList.contains('waiting')") is False
    time.sleep(0.6)
    assert page.run("answer.query") == "gale"
    assert page.run("document.body.classList.contains('waiting')") is False


def test_modes_and_their_keys(page: Browser, served: Running) -> None:
    open_at(page, served, "q=winch+stove")
    assert page.run("answer.mode") == "both"
    page.run("(list.focus(), 0)")
    type_keys(page, "m")
    until(page, "answer.mode === 'words'")
    assert page.run("answer.score.name") == "bm25"
    assert page.find("#modes [aria-checked=true]").text == "Words"
    page.find("#modes [data-mode=meaning]").click()
    until(page, "answer.mode === 'meaning'")
    type_keys(page, Keys.ARROW_RIGHT)
    until(page, "answer.mode === 'both'")
    assert page.run("location.hash") == "#q=winch+stove"


def test_keys_choose_and_read_hits(page: Browser, served: Running) -> None:
    open_at(page, served, "q=winch+number+200", width=900)
    assert not page.find("#side").is_displayed()
    type_keys(page, Keys.ARROW_DOWN, Keys.ARROW_DOWN, Keys.ARROW_UP)
    assert page.run("[selected, query.getAttribute('aria-activedescendant')]") == [0, "hit-0"]
    assert page.find("#hit-0").get_attribute("aria-selected") == "true"
    type_keys(page, Keys.ENTER)
    until(page, "document.activeElement === reader && reader.querySelector('.passage')")
    assert "winch number 200." in page.text("#reader .passage")
    assert "200" in page.run("[...reader.querySelectorAll('mark')].map((one) => one.textContent)")
    # The passage can be seen, and the text around it is there.
    box = page.run(
        "(({top, bottom}, frame) => [top, bottom, frame.top, frame.bottom])("
        "reader.querySelector('.passage').getBoundingClientRect(), reader.getBoundingClientRect())"
    )
    assert box[2] <= box[0] < box[3]
    assert "Paragraph 1" in page.text("#reader")
    # The next hit is read at once.
    first = page.text("#reader .title")
    type_keys(page, "j")
    until(page, f"selected === 1 && reader.querySelector('.title')?.textContent !== {first!r}")
    type_keys(page, Keys.ESCAPE)
    assert not page.find("#side").is_displayed()
    assert page.run("document.activeElement === query")
    # Escape clears the field, and a slash comes back to it.
    type_keys(page, Keys.ESCAPE)
    until(page, "query.value === '' && answer === null")
    page.run("(query.blur(), 0)")
    type_keys(page, "/")
    assert page.run("document.activeElement === query && query.value === ''")
    page.run("(query.blur(), 0)")
    type_keys(page, "?")
    assert "choose a hit" in page.text("#help")
    type_keys(page, Keys.ESCAPE, "s")
    until(page, "server.open && document.querySelector('.models .loaded')")
    assert "starter-embedding" in page.text("#server")
    assert "Each second" in page.text("#server")


def test_a_document_is_read_to_both_ends(page: Browser, served: Running) -> None:
    open_at(page, served, "q=winch+number+200&in=notes", width=1300)
    page.find("#hit-0").click()
    until(page, "reader.querySelector('.passage')")
    for direction in ("Earlier text", "Later text"):
        button = (
            f"[...reader.querySelectorAll('.grow')].find((b) => b.textContent === {direction!r})"
        )
        end = time.monotonic() + DEADLINE
        while not page.run(f"{button}.hidden"):
            assert time.monotonic() < end
            page.run(f"({button}.click(), 0)")
            until(page, f"!{button}.disabled")
    text = page.text("#reader .text")
    assert "".join(text.split()) == "".join(LONG.split())


def test_filters_limit_the_search(page: Browser, served: Running) -> None:
    open_at(page, served, "q=ferry+stove", width=1300)
    everything = set(hits(page))
    assert "gale" in everything

    def press(name: str) -> None:
        page.run(
            "([...document.querySelectorAll('#filters .name')]"
            ".find((one) => one.textContent === arguments[0]).closest('button').click(), 0)",
            name,
        )

    press("kitchen/")
    until(page, "answer.hits.every((hit) => hit.document.startsWith('notes/kitchen/'))")
    assert "deleted" in page.text("#hits")
    assert page.run("location.hash") == "#q=ferry+stove&folder=notes%2Fkitchen"
    press("kitchen/")
    press("texts")
    until(page, "answer.collections.join() === 'texts'")
    assert hits(page) == ["gale"]
    page.find("#path").send_keys("*.md", Keys.ENTER)
    until(page, "answer.hits.length === 0")
    assert "limited by filters" in page.text("#empty")
    page.find("#empty .action").click()
    until(page, "answer.hits.length > 1")
    assert set(hits(page)) == everything
    # Each step can be taken back.
    page.driver.back()
    until(page, "answer.hits.length === 0 && document.getElementById('path').value === '*.md'")
    page.driver.back()
    until(page, "answer.hits.length === 1")


def test_a_search_can_be_shared(page: Browser, served: Running) -> None:
    open_at(page, served, "q=winch+number+200&mode=words&in=notes", width=1300)
    page.find("#hit-0").click()
    until(page, "reader.querySelector('.passage')")
    address = page.run("location.href")
    passage = page.text("#reader .passage")
    page.open(address, width=1300)
    until(page, "answer && reader.querySelector('.passage')")
    assert page.text("#reader .passage") == passage
    assert page.find("#query").get_attribute("value") == "winch number 200"
    assert page.run("answer.mode") == "words"
    until(page, "list.querySelector('.open') !== null")
    # No log has the query.
    assert not any("winch" in line for line in served.log)


@pytest.mark.parametrize("query", ["quay paint", "lantern"])
def test_hostile_documents_are_only_text(page: Browser, served: Running, query: str) -> None:
    open_at(page, served, f"q={quote(query)}&folder={quote('notes/odd')}", width=1300)
    assert len(hits(page)) == 3
    for index in range(3):
        page.run("(openHit(arguments[0]), 0)", index)
        until(page, "document.activeElement === reader && reader.querySelector('.passage')")
        assert (
            page.run("[...document.body.querySelectorAll('img, iframe, object, a[href^=java]')]")
            == []
        )
    shown = page.run("document.body.innerText")
    assert "</script>" in shown
    assert HOSTILE_NAME in shown
    assert (
        page.run("/[\\x00-\\x08\\x0b-\\x1f\\u202a-\\u202e]/.test(document.body.textContent)")
        is False
    )
    rtl = page.run(
        "[...list.querySelectorAll('.excerpt p')].filter((p) => p.textContent.startsWith('قواعد'))"
        ".map((p) => getComputedStyle(p).direction)"
    )
    assert rtl == ["rtl"]


def test_the_map_shines_where_the_hits_are(page: Browser, served: Running) -> None:
    open_at(page, served, "q=ferry&in=notes", width=1300)
    until(page, "drawn?.data.collection === 'notes' && drawn.picture.lit.length > 0")
    lit = page.run(
        "drawn.picture.lit.map(([index]) => drawn.data.documents[drawn.data.document[index]])"
    )
    assert any("ferry" in name for name in lit)
    before = page.run("canvas.toDataURL()")
    type_keys(page, Keys.ARROW_DOWN)
    assert page.run("drawn.picture.chosen") == page.run("pointOf(answer.hits[0])")
    page.frame()
    assert page.run("canvas.toDataURL()") != before
    # A click on a point reads its passage.
    index = page.run("drawn.data.documents.indexOf('notes/odd/hostile.md')")
    index = page.run("drawn.data.document.indexOf(arguments[0])", index)
    x, y = page.run(
        "[drawn.picture.screenX(drawn.data.x[arguments[0]]),"
        " drawn.picture.screenY(drawn.data.y[arguments[0]])]",
        index,
    )
    page.point_at(x, y)
    assert "hostile.md" in page.text("#card")
    page.point_at(x, y, click=True)
    until(page, "reader.querySelector('.title')?.textContent === 'notes/odd/hostile.md'")
    # Back on the map, as wide as the window is.
    type_keys(page, Keys.ESCAPE)
    assert page.find("#canvas").is_displayed()
    page.run("(list.focus(), 0)")
    type_keys(page, "v")
    assert not page.find("#side").is_displayed()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 768, 1600])
def test_it_fits_every_width(page: Browser, served: Running, width: int, scheme: str) -> None:
    fits: Callable[[], bool] = lambda: page.run(  # noqa: E731
        "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    )
    open_at(page, served, width=width, height=700, scheme=scheme)
    assert fits()
    searched(page, "quay paint lantern ferry")
    assert fits()
    page.run("(openHit(0), 0)")
    until(page, "reader.querySelector('.passage')")
    assert fits()
    page.run("(showSide('map'), 0)")
    until(page, "drawn !== null")
    assert fits()
    assert page.run("element('map').scrollWidth <= element('map').clientWidth")
    paper = page.run("getComputedStyle(document.body).backgroundColor")
    assert paper == {"light": "rgb(251, 251, 250)", "dark": "rgb(20, 23, 27)"}[scheme]
    # The header's controls do not lie on each other.
    assert page.run(
        "(boxes => boxes.every((a, i) => boxes.every((b, j) => i <= j || a.right <= b.left + 1 ||"
        " b.right <= a.left + 1 || a.bottom <= b.top + 1 || b.bottom <= a.top + 1)))("
        "['find', 'modes', 'tools'].map((id) => element(id).getBoundingClientRect()))"
    )


def test_the_theme_can_be_chosen(page: Browser, served: Running) -> None:
    open_at(page, served, scheme="light")
    colour = "getComputedStyle(document.body).backgroundColor"
    light = page.run(colour)
    page.find("#to-theme").click()
    page.find("#to-theme").click()
    assert page.run("document.documentElement.dataset.theme") == "dark"
    dark = page.run(colour)
    assert dark != light
    page.driver.refresh()
    until(page, "catalogue.length === 2")
    assert page.run(colour) == dark
    page.find("#to-theme").click()
    assert page.run(colour) == light


def test_without_a_collection_it_says_what_to_type(started: Browser, tmp_path: Path) -> None:
    with running("-m", "starter", environment={"JLOCAL_HOME": str(tmp_path)}) as server:
        started.open(f"{server.url}/")
        until(started, "element('empty').textContent.includes('jlocal index')")
        (tmp_path / "collections").mkdir()
        with Collection(tmp_path / "collections" / "new.db", "starter") as collection:
            collection.add("A gale is forecast.", "one")
        # It is noticed without a click.
        until(started, "element('empty').textContent.includes('1 document')")
        started.find("#query").send_keys("gale")
        until(started, "answer?.hits.length === 1")
    # The server has gone.
    started.find("#query").send_keys("s")
    until(started, "element('empty').textContent.includes('does not answer')")


def test_a_server_with_a_key_asks_for_it_once(
    started: Browser, tmp_path: Path, served: Running
) -> None:
    del served
    environment = {"JLOCAL_HOME": str(tmp_path), "JLOCAL_API_KEY": "open-sesame"}
    with running("-m", "starter", environment=environment) as server:
        assert httpx.get(f"{server.url}/").status_code == 200
        assert httpx.get(f"{server.url}/collections").status_code == 401
        started.open(f"{server.url}/")
        until(started, "document.querySelector('#key[open] input') !== null")
        type_keys(started, "wrong", Keys.ENTER)
        until(started, "document.querySelector('#key[open] .wrong') !== null")
        type_keys(started, "open-sesame", Keys.ENTER)
        until(started, "element('empty').textContent.includes('jlocal index')")
        assert not started.find("#key").is_displayed()
        started.driver.refresh()
        until(started, "element('empty').textContent.includes('jlocal index')")
        assert not started.find("#key").is_displayed()


def test_the_policy_of_the_page_allows_nothing_else(served: Running) -> None:
    answer = httpx.get(f"{served.url}/")
    policy = dict(
        part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert policy["frame-ancestors"] == "'none'"
    assert policy["connect-src"] == "'self'"
    assert policy["script-src"].startswith("'sha256-")
    assert policy["style-src"].startswith("'sha256-")
    assert " " not in policy["script-src"] + policy["style-src"]
    assert answer.headers["x-frame-options"] == "DENY"
    assert " style=" not in answer.text
    assert not [part for part in ("http://", "https://") if part in answer.text.replace(
        "http://www.w3.org/2000/svg", "")]  # fmt: skip
