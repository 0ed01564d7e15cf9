"""A real browser without any network, for the tests of the report.

Chromium is driven through a pair of pipes in the DevTools protocol: JSON messages, each ended by a zero byte.
So the tests need neither a driver program nor a library.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import time
from contextlib import contextmanager

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--remote-debugging-pipe",
]

MOST_WAIT_S = 60
"""After this many seconds without an answer the browser is considered broken."""


class Browser:
    """One tab of a running browser. It records the console messages and the requests of the tab."""

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._to, self._from, self._rest, self._count = to_browser, from_browser, b"", 0
        self._session = None
        self.said, self.asked = [], []
        self.opened_for_reading = None
        target = self.command("Target.createTarget", url="about:blank")["targetId"]
        attached = self.command("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.command(f"{domain}.enable")

    def command(self, method, **parameters):
        """The result of a command of the protocol."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        if self._session is not None and not method.startswith(("Browser.", "Target.")):
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while (answer := self._read()).get("id") != self._count:
            self._take(answer)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def run(self, script, *arguments):
        """The result of a function body that is run in the page; ``arguments`` are JSON values."""
        call = f"(function () {{{script}\n}}).apply(null, {json.dumps(arguments)})"
        found = self.command("Runtime.evaluate", expression=call, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]["exception"].get("description")
        return found["result"].get("value")

    def open(self, path):
        """Open a file, and wait until the page has loaded."""
        self.opened_for_reading = None
        self.run("window.left = true")
        self.command("Page.navigate", url=path.as_uri())
        until(self, "return !window.left && document.readyState === 'complete'")

    def click(self, selector):
        """Click in the middle of an element, as a mouse does."""
        x, y = self.run(
            """
            const element = document.querySelector(arguments[0]);
            element.scrollIntoView({block: "center"});
            const box = element.getBoundingClientRect();
            return [box.x + box.width / 2, box.y + box.height / 2];
            """,
            selector,
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.command("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def point(self, x, y):
        """Move the mouse to a point in two steps, since only a movement triggers events."""
        for shift in (1, 0):
            self.command("Input.dispatchMouseEvent", type="mouseMoved", x=x + shift, y=y)

    def _read(self):
        while b"\0" not in self._rest:
            assert select.select([self._from], [], [], MOST_WAIT_S)[0], "the browser does not answer"
            piece = os.read(self._from, 2**20)
            assert piece, "the browser has ended"
            self._rest += piece
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def _take(self, event):
        """Record console messages and network requests; ignore other events."""
        method, told = event.get("method"), event.get("params", {})
        if method == "Network.requestWillBeSent":
            self.asked.append(told["request"]["url"])
        elif method == "Log.entryAdded":
            self.said.append(told["entry"]["text"])
        elif method == "Runtime.exceptionThrown":
            self.said.append(json.dumps(told["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled":
            self.said.append(json.dumps(told["args"]))


@contextmanager
def browser(folder):
    """A browser that keeps its profile in ``folder``."""
    from fcntl import F_DUPFD, fcntl  # not on Windows

    read_here, write_there = os.pipe()
    read_there, write_here = os.pipe()
    command = [CHROMIUM, *ARGUMENTS, f"--user-data-dir={folder / 'profile'}"]

    def join_pipes():
        """The browser reads its descriptor 3 and writes its descriptor 4."""
        ends = [fcntl(end, F_DUPFD, 10) for end in (read_there, write_there)]
        for end, descriptor in zip(ends, (3, 4), strict=True):
            os.dup2(end, descriptor)

    quiet = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    process = subprocess.Popen(command, close_fds=False, preexec_fn=join_pipes, **quiet)
    os.close(read_there)
    os.close(write_there)
    try:
        driver = Browser(write_here, read_here)
        yield driver
        driver.command("Browser.close")
    finally:
        os.close(write_here)
        os.close(read_here)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def show(driver, path, width=1200, height=900, scheme="light", ready="#lives svg.main-svg"):
    """Open a file on a screen of this size and colour scheme, and wait until ``ready`` is in the page."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    driver.command("Emulation.setDeviceMetricsOverride", **size)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    driver.command("Emulation.setEmulatedMedia", features=features)
    driver.open(path)
    until(driver, "return document.querySelector(arguments[0]) !== null", ready)


def until(driver, script, *arguments, seconds=15):
    """The first result of ``script`` that is not empty. Waits for it for up to ``seconds``."""
    end = time.monotonic() + seconds
    while not (found := driver.run(script, *arguments)):
        assert time.monotonic() < end, f"never came true: {script}"
        time.sleep(0.05)
    return found


def requested(driver):
    """The addresses requested since the last call, without data of a page itself and of the empty tab."""
    driver.run("")  # so that earlier events are read
    asked, driver.asked = set(driver.asked), []
    return {address for address in asked if not address.startswith(("data:", "blob:", "chrome:", "about:"))}


def complaints(driver):
    """The console messages since the last call."""
    driver.run("")
    said, driver.said = driver.said, []
    return said
