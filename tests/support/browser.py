"""A web page in headless Chromium, used with a mouse and a keyboard as a person does."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--disable-dev-shm-usage",
)


class Browser:
    """A page: the actions of tests on it, and its log."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(
        self, page: Path | str, width: int = 1000, height: int = 700, scheme: str = "light"
    ) -> None:
        """Open a file or an address in a window of this size."""
        self._size(width, height)
        media = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
        self.driver.get("about:blank")
        for name in ("browser", "performance"):
            self.driver.get_log(name)
        self.driver.get(page if isinstance(page, str) else page.as_uri())
        self.frame()

    def _size(self, width: int, height: int) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def frame(self) -> None:
        """Wait until the page has drawn the requested frame."""
        self.driver.execute_async_script(
            "const done = arguments[0];"
            "requestAnimationFrame(() => requestAnimationFrame(() => done()));"
        )

    def run(self, code: str, *arguments: object) -> object:
        return self.driver.execute_script(f"return {code}", *arguments)

    def find(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        """All text of an element, as it is in the page."""
        return self.run("document.querySelector(arguments[0]).textContent", selector)

    def point_at(self, x: float, y: float, *, click: bool = False) -> None:
        """Move the mouse to a place on the canvas, in pixels from its upper left corner."""
        canvas = self.find("#canvas")
        left, top = x - canvas.size["width"] / 2, y - canvas.size["height"] / 2
        chain = ActionChains(self.driver, duration=0)
        chain.move_to_element_with_offset(canvas, round(left), round(top))
        (chain.click() if click else chain).perform()
        self.frame()

    def complaints(self) -> list[str]:
        """The messages in the console since the page was opened."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """The addresses that were requested since the page was opened."""
        messages = (
            json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")
        )
        return [
            message["params"]["request"]["url"]
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
        ]


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """Start Chromium with an empty profile in this folder."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*_FLAGS, f"--user-data-dir={folder}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        yield Browser(driver)
    finally:
        driver.quit()
