"""The page of `jlocal map` in a browser: what it shows, and that it does nothing else."""

from __future__ import annotations

import contextlib
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.actions.wheel_input import ScrollOrigin
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from jlocal.map.page import render
from jlocal.map.picture import Passage, Picture
from support.browser import CHROMIUM, DRIVER, Browser, browser
from support.maps import HOSTILE, data_of, made, write

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="no Chromium is installed"),
]

# What the page shows instead of characters that act on text or cannot be seen.
SHOWN_AS_MARK = re.compile("[\0-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    made(folder / "c.db")
    write(folder / "c.db", folder / "map.html", title="A few notes")
    return folder / "map.html"


def location(chromium: Browser, index: int) -> tuple[float, float]:
    """Where a point is on the canvas."""
    return tuple(
        chromium.run("[screenX(data.x[arguments[0]]), screenY(data.y[arguments[0]])]", index)
    )


def alone(chromium: Browser) -> int:
    """A point that is far enough from all others to be pointed at."""
    return chromium.run(
        "data.x.findIndex((x, one) => data.x.every((other, index) => index === one ||"
        " Math.hypot(x - other, data.y[one] - data.y[index]) * camera.scale > 15))"
    )


def paint(chromium: Browser) -> str:
    """What is drawn, as the address of a PNG file."""
    return chromium.run("canvas.toDataURL()")


def ink(chromium: Browser) -> float:
    """How many pixels are drawn on; half transparent ones count half."""
    return chromium.driver.execute_script(
        """
        const copy = document.createElement("canvas");
        [copy.width, copy.height] = [canvas.width, canvas.height];
        const context = copy.getContext("2d", { willReadFrequently: true });
        context.drawImage(canvas, 0, 0);
        const { data } = context.getImageData(0, 0, copy.width, copy.height);
        return data.reduce((sum, value, place) => (place % 4 === 3 ? sum + value / 255 : sum), 0);
        """
    )


def search(chromium: Browser, text: str) -> str:
    """Type a text into the box, and return what is said of it."""
    box = chromium.find("#query")
    box.send_keys(Keys.CONTROL, "a")
    box.send_keys(text or Keys.DELETE)
    chromium.frame()
    return chromium.text("#count")


def test_nothing_is_asked_for_and_nothing_goes_wrong(chromium: Browser, page: Path) -> None:
    chromium.open(page)
    chromium.point_at(*location(chromium, alone(chromium)), click=True)
    assert search(chromium, "folder a") == "40 of 120 points found"
    assert chromium.complaints() == []
    assert set(chromium.requests()) <= {page.as_uri(), "about:blank"}
    assert chromium.driver.title == chromium.text("h1") == "A few notes"
    assert chromium.text("#about").startswith("120 passages. PCA: the axes show ")


def test_a_point_that_is_pointed_at(chromium: Browser, page: Path) -> None:
    chromium.open(page)
    assert not chromium.find("#card").is_displayed()
    index = alone(chromium)
    data = data_of(page.read_bytes())
    chromium.point_at(*location(chromium, index))
    assert chromium.find("#card").is_displayed()
    assert chromium.text("#card .group") == data["groups"][data["group"][index]]
    expected = data["paths"][data["path"][index]] + data["where"][index]
    assert chromium.text("#card .place") == expected
    assert re.fullmatch(rf"[abc]/{index}\.md:{index + 1}", expected)
    assert chromium.text("#card .passage") == data["text"][index]
    # It goes with the mouse, and stays when it was clicked.
    chromium.point_at(5, 5)
    assert not chromium.find("#card").is_displayed()
    chromium.point_at(*location(chromium, index), click=True)
    chromium.point_at(5, 5)
    assert chromium.find("#card").is_displayed()
    ActionChains(chromium.driver).send_keys(Keys.ESCAPE).perform()
    assert not chromium.find("#card").is_displayed()


def test_the_search_box(chromium: Browser, page: Path) -> None:
    chromium.open(page)
    assert chromium.text("#count") == "120 points"
    before = ink(chromium)
    ActionChains(chromium.driver).send_keys("/pASSAGE 7 ").perform()
    chromium.frame()
    assert chromium.find("#query").get_attribute("value") == "pASSAGE 7 "
    assert chromium.text("#count") == "1 of 120 points found"
    sizes = [button.text.split("\n")[-1] for button in buttons(chromium)]
    assert sizes == ["0 / 40", "1 / 40", "0 / 40"]
    assert 0 < ink(chromium) < before / 2
    # Enter goes from one that was found to the next, and with Shift to the one before.
    assert search(chromium, "/11") == "11 of 120 points found"
    seen = []
    for _ in range(12):
        chromium.find("#query").send_keys(Keys.ENTER)
        seen.append(chromium.text("#card .passage")[:11].strip())
    assert seen == [f"Passage {n}" for n in (11, *range(110, 120), 11)]
    chromium.find("#query").send_keys(Keys.SHIFT, Keys.ENTER)
    assert chromium.text("#card .passage").startswith("Passage 119 ")
    assert search(chromium, "not in there") == "0 of 120 points found"
    chromium.find("#query").send_keys(Keys.ENTER)
    assert not chromium.find("#card").is_displayed()
    chromium.find("#query").send_keys(Keys.ESCAPE)
    assert chromium.find("#query").get_attribute("value") == ""
    assert chromium.text("#count") == "120 points"
    assert chromium.complaints() == []


def buttons(chromium: Browser) -> list:
    return chromium.driver.find_elements(By.CSS_SELECTOR, "#legend li button")


def test_the_legend(chromium: Browser, page: Path) -> None:
    chromium.open(page)
    first, second, _ = buttons(chromium)
    assert [button.text for button in buttons(chromium)] == ["a/\n40", "b/\n40", "c/\n40"]
    index = next(n for n in range(120) if n % 3 == 1)
    spot = location(chromium, index)
    before, picture = ink(chromium), paint(chromium)
    second.click()
    chromium.frame()
    assert second.get_attribute("aria-pressed") == "false"
    assert first.get_attribute("aria-pressed") == "true"
    assert chromium.text("#count") == "80 of 120 points shown"
    assert 0 < ink(chromium) < before
    chromium.point_at(*spot, click=True)
    assert "folder b" not in chromium.text("#card")
    assert search(chromium, "folder") == "120 of 120 points found, 40 of them hidden"
    every = chromium.find("#legend h2 button")
    assert every.text == "Show all"
    # With the keyboard
    second.send_keys(Keys.SPACE)
    assert second.get_attribute("aria-pressed") == "true"
    assert every.text == "Hide all"
    search(chromium, "")
    every.click()
    chromium.frame()
    assert chromium.text("#count") == "0 of 120 points shown"
    assert ink(chromium) == 0
    every.click()
    chromium.frame()
    assert paint(chromium) == picture
    assert chromium.complaints() == []


def test_moving_and_zooming(chromium: Browser, page: Path) -> None:
    chromium.open(page)
    start = np.array(location(chromium, 7))
    whole = paint(chromium)
    canvas = chromium.find("#canvas")

    def now() -> np.ndarray:
        chromium.frame()
        return np.array(location(chromium, 7))

    drag = ActionChains(chromium.driver, duration=0).move_to_element(canvas).click_and_hold()
    drag.move_by_offset(3, 0).move_by_offset(-60, -40).release().perform()
    moved = now()
    assert np.abs(moved - start - [-60, -40]).max() <= 4
    assert not chromium.find("#card").is_displayed(), "the end of a drag is no click"
    # What is under the mouse stays there.
    middle = np.array([canvas.size["width"], canvas.size["height"]]) / 2
    origin = ScrollOrigin.from_element(canvas, *(moved - middle).round().astype(int).tolist())
    ActionChains(chromium.driver).scroll_from_origin(origin, 0, -400).perform()
    assert np.abs(now() - moved).max() <= 2
    assert chromium.run("camera.scale / camera.all") == pytest.approx(np.exp(0.6))
    chromium.find("#reset").click()
    assert np.abs(now() - start).max() < 0.01
    canvas.send_keys(Keys.ARROW_LEFT)
    assert np.abs(now() - start - [60, 0]).max() < 0.01
    canvas.send_keys("+")
    assert chromium.run("camera.scale / camera.all") == pytest.approx(1.4)
    canvas.send_keys("0")
    chromium.point_at(2, 2)
    assert paint(chromium) == whole
    assert chromium.complaints() == []


def test_hostile_texts_are_shown(chromium: Browser, tmp_path: Path) -> None:
    made(tmp_path / "c.db", HOSTILE)
    write(tmp_path / "c.db", tmp_path / "map.html", title=HOSTILE[0])
    data = data_of((tmp_path / "map.html").read_bytes())
    chromium.open(tmp_path / "map.html")
    assert chromium.text("h1") == HOSTILE[0]
    shown = chromium.run(
        "data.text.map((_, index) => (choose(index), [card.lastChild.previousSibling.textContent,"
        " card.querySelectorAll('.passage *').length]))"
    )
    assert shown == [[SHOWN_AS_MARK.sub("\ufffd", text), 0] for text in data["text"]]
    # The same letter, composed and not, in either case
    assert search(chromium, "CRÈME BRÛLÉE") == f"1 of {len(HOSTILE)} points found"
    for text in HOSTILE[:6]:
        assert search(chromium, text) == f"1 of {len(HOSTILE)} points found", text
    assert chromium.run("typeof window.hacked") == "undefined"
    assert chromium.complaints() == []
    assert set(chromium.requests()) <= {(tmp_path / "map.html").as_uri(), "about:blank"}


def test_the_policy_holds(chromium: Browser, page: Path) -> None:
    """Whatever got into the page all the same could neither run nor tell anyone."""
    chromium.open(page)
    with socket.create_server(("127.0.0.1", 0)) as server:
        blocked = attack(chromium, f"http://127.0.0.1:{server.getsockname()[1]}/")
        # Chromium connects for a frame before it looks whether it may; it says nothing then.
        assert not any(said(server))
    assert blocked[1] == "undefined"
    assert set(blocked[0]) == {
        *("connect-src", "frame-src", "img-src", "style-src-elem", "script-src-elem"),
        "script-src-attr",
    }


def said(server: socket.socket) -> Iterator[bytes]:
    """What comes over each connection to a server."""
    server.settimeout(1)
    with contextlib.suppress(TimeoutError):
        while True:
            connection, _ = server.accept()
            with connection, contextlib.suppress(TimeoutError):
                connection.settimeout(1)
                yield connection.recv(100)


def attack(chromium: Browser, address: str) -> tuple[list[str], str]:
    """Try to run code and to load things; return what was forbidden, and what became of it."""
    return chromium.driver.execute_async_script(
        """
        const [address, done] = arguments;
        const blocked = [];
        document.addEventListener("securitypolicyviolation", (event) => {
          blocked.push(event.effectiveDirective);
        });
        const add = (tag, properties) => {
          document.body.append(Object.assign(document.createElement(tag), properties));
        };
        add("script", { textContent: "window.hacked = 1" });
        add("img", { src: address });
        add("style", { textContent: "body { background: red }" });
        add("iframe", { src: address });
        add("p", { innerHTML: "<img src='data:,' onerror='window.hacked = 2'>" });
        fetch(address).catch(() => {});
        setTimeout(() => done([blocked.sort(), typeof window.hacked]), 1000);
        """,
        address,
    )


def test_dark(chromium: Browser, page: Path) -> None:
    grounds, pictures = [], []
    for scheme in ("light", "dark"):
        chromium.open(page, scheme=scheme)
        grounds.append(chromium.find("body").value_of_css_property("background-color"))
        pictures.append(paint(chromium))
    assert [sum(map(int, re.findall(r"\d+", ground)[:3])) > 384 for ground in grounds] == [
        True,
        False,
    ]
    assert pictures[0] != pictures[1]
    # While it is open, too
    media = [{"name": "prefers-color-scheme", "value": "light"}]
    chromium.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
    chromium.frame()
    chromium.frame()
    assert paint(chromium) == pictures[0]


def test_a_narrow_window(chromium: Browser, page: Path) -> None:
    chromium.open(page, width=400, height=700)
    assert chromium.run("document.documentElement.scrollWidth") == 400
    assert chromium.run("document.documentElement.scrollHeight") == 700
    canvas = chromium.find("#canvas").size
    assert canvas["width"] == 400
    assert canvas["height"] > 250
    for index in range(0, 120, 10):
        chromium.run("choose(arguments[0])", index)
        box = chromium.find("#card").rect
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 400
    assert all(button.is_displayed() for button in buttons(chromium))


def test_one_point(chromium: Browser, tmp_path: Path) -> None:
    for texts in (["alone"], ["one", "two"]):
        made(
            tmp_path / f"{len(texts)}.db", texts, np.tile(np.eye(1, 8, dtype="f4"), (len(texts), 1))
        )
        write(tmp_path / f"{len(texts)}.db", tmp_path / "map.html")
        chromium.open(tmp_path / "map.html")
        chromium.point_at(*location(chromium, 0), click=True)
        assert chromium.text("#card .passage") == texts[0]
        if len(texts) == 2:
            assert "1 point more very near" in chromium.text("#card .more")
            chromium.point_at(*location(chromium, 0), click=True)
            assert chromium.text("#card .passage") == "two"
        assert chromium.complaints() == []


def test_fifty_thousand_points(chromium: Browser, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    count = 50_000
    picture = Picture(
        points=rng.standard_normal((count, 2)),
        passages=[Passage(f"a/{n % 999}.md", f":{n}", 1, f"text {n} " * 50) for n in range(count)],
        groups=[f"{n}/" for n in range(12)],
        group_of=[n % 12 for n in range(count)],
        grouping="folder",
        layout="Made up.",
        total=60_000,
        characters=500,
    )
    (tmp_path / "map.html").write_bytes(render(picture, "Many"))
    chromium.open(tmp_path / "map.html")
    assert "A random sample of 50,000 of 60,000 passages." in chromium.text("#about")
    assert ink(chromium) > 20_000
    assert search(chromium, "text 49999 ") == "1 of 50,000 points found"
    began = time.monotonic()
    for _ in range(10):
        chromium.find("#canvas").send_keys(Keys.ARROW_LEFT)
        chromium.frame()
    # Far from what it takes: on two busy cores without a GPU about a tenth of it.
    assert time.monotonic() - began < 30
    assert chromium.complaints() == []
