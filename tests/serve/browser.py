"""The page in a headless Chromium, driven by Selenium."""

from collections.abc import Callable, Iterator
import contextlib
from pathlib import Path
import shutil
from typing import Any

import pytest

SECONDS = 10.0  # that anything on the page may take
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


class Page:
    """The actions of a test on the page; elements are found by CSS selectors."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, origin: str, story: str = "", width: int = 1280, dark: bool = False) -> None:
        """Opens the page with this hash and waits until its models have answered."""
        self.load(origin, story, width, dark)
        self.settle()

    def load(self, origin: str, story: str = "", width: int = 1280, dark: bool = False) -> None:
        self.resize(width)
        self.media(dark)
        self.driver.get("about:blank")  # a change of the hash alone would not load the page
        self.driver.get(f"{origin}/{story}")

    def resize(self, width: int) -> None:
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def media(self, dark: bool = False, kind: str = "") -> None:
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        still = {"name": "prefers-reduced-motion", "value": "reduce"}
        media = {"media": kind, "features": [scheme, still]}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)

    def settle(self) -> None:
        """Waits until every model shown has answered."""
        self.until(
            lambda: self.all(".model") and not self.all(".model[aria-busy='true']"), "answers"
        )

    def until(self, true: Callable[[], Any], what: str) -> None:
        from selenium.common.exceptions import TimeoutException
        from selenium.webdriver.support.wait import WebDriverWait

        try:
            WebDriverWait(self.driver, SECONDS, poll_frequency=0.03).until(lambda _: true())
        except TimeoutException:
            pytest.fail(f"the page does not get to: {what}. It says: {self.text('body')}")

    def js(self, code: str, *arguments: Any) -> Any:
        return self.driver.execute_script(code, *arguments)

    def all(self, css: str) -> list[Any]:
        return self.driver.find_elements("css selector", css)

    def one(self, css: str) -> Any:
        return self.driver.find_element("css selector", css)

    def text(self, css: str) -> str:
        return self.js("return document.querySelector(arguments[0]).innerText", css)

    def texts(self, css: str) -> list[str]:
        code = "return [...document.querySelectorAll(arguments[0])].map(node => node.innerText)"
        return self.js(code, css)

    def ids(self, css: str) -> list[str]:
        code = "return [...document.querySelectorAll(arguments[0])].map(node => node.dataset.item)"
        return self.js(code, css)

    def press(self, *keys: str) -> None:
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.driver).send_keys(*keys).perform()

    def search(self, text: str) -> None:
        """Types a text and waits for items whose titles have its first word."""
        self.one("#search").send_keys(text)
        self.until(lambda: self.texts("#found [role=option]"), f"items found for {text}")

    @property
    def focused(self) -> str:
        return self.js("const node = document.activeElement; return node.ariaLabel || node.id")

    @property
    def hash(self) -> str:
        return self.js("return location.hash")


@contextlib.contextmanager
def chromium(profile: Path) -> Iterator[Page]:
    """A browser with an empty profile; skips the test where there is none."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="Selenium is not installed")
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    driver = shutil.which("chromedriver")
    if browser is None or driver is None:
        pytest.skip("no Chromium with chromedriver (Debian: apt install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in [*FLAGS, f"--user-data-dir={profile}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    session = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        yield Page(session)
    finally:
        session.quit()
