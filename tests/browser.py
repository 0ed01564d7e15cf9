"""A real browser without any network, for the tests of the report."""

from __future__ import annotations

import json
import shutil
import time
from contextlib import contextmanager

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")

ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE localhost",  # the driver itself is on localhost
]


@contextmanager
def browser(folder):
    """A browser that keeps its profile and its downloads in ``folder``."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in [*ARGUMENTS, f"--user-data-dir={folder / 'profile'}"]:
        options.add_argument(argument)
    options.add_experimental_option("prefs", {"download.default_directory": str(folder)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        yield driver
    finally:
        driver.quit()


def show(driver, path, width=1200, height=900, scheme="light"):
    """Open a file as on a screen of that width, in light or dark."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    scheme_of = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", scheme_of)
    driver.get(path.as_uri())
    until(driver, "return document.querySelectorAll('#lives svg.main-svg').length > 0")


def until(driver, script, *arguments, seconds=15):
    """What ``script`` returns, as soon as it is something."""
    end = time.monotonic() + seconds
    while not (found := driver.execute_script(script, *arguments)):
        assert time.monotonic() < end, f"never came true: {script}"
        time.sleep(0.05)
    return found


def requested(driver):
    """The addresses asked for since the last call: not data of a page itself, nor the empty tab's."""
    messages = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    sent = [m for m in messages if m["method"] == "Network.requestWillBeSent"]
    asked = {message["params"]["request"]["url"] for message in sent}
    return {address for address in asked if not address.startswith(("data:", "blob:", "chrome:"))}


def complaints(driver):
    """What the console has said since this was last called."""
    return [entry["message"] for entry in driver.get_log("browser")]
