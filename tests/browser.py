"""A Chromium without network, driven over its DevTools protocol."""

import itertools
import json
import re
import shutil
import subprocess
import tempfile
import time
import urllib.request
from contextlib import contextmanager

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needed = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH")
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--remote-debugging-port=0",
    "--remote-allow-origins=*",
)


class Tab:
    """One tab: `open` a page in it, ask it by `js`, and see in `said` what it had to say."""

    def __init__(self, socket):
        self.socket, self.numbers, self.events = socket, itertools.count(1), []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self(f"{domain}.enable")

    def __call__(self, method, **parameters):
        number = next(self.numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while (heard := json.loads(self.socket.recv())).get("id") != number:
            self.events.append(heard)
        assert "error" not in heard, heard
        return heard["result"]

    def js(self, text):
        result = self("Runtime.evaluate", expression=text, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]["exception"].get("description")
        return result["result"].get("value")

    def open(self, path, width=1440, height=900, scheme="light", media=""):
        """Open a page and wait until every chart is drawn."""
        self.events.clear()
        self("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        self("Emulation.setEmulatedMedia", media=media, features=[{"name": "prefers-color-scheme", "value": scheme}])
        self("Page.navigate", url=path.as_uri())
        drawn = "document.querySelectorAll('figure.chart').length === document.querySelectorAll('figure.chart svg.marks').length"
        end = time.monotonic() + 30
        while not self.js(f"document.readyState === 'complete' && {drawn}"):
            assert time.monotonic() < end, f"{path}: charts are not drawn; {self.said()}"
            time.sleep(0.05)

    def said(self):
        """Messages of the console, errors of scripts, and requests that failed."""
        self.js("1")
        kinds = {"Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded", "Network.loadingFailed"}
        return [event["params"] for event in self.events if event["method"] in kinds]


@contextmanager
def browser():
    import websocket  # comes with jupyter_server

    folder = tempfile.mkdtemp()
    command = [CHROMIUM, *OPTIONS, "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", f"--user-data-dir={folder}", "about:blank"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    try:
        address = next(found[1] for line in process.stderr if (found := re.search(r"ws://([^/]+)/", line)))
        tabs = json.load(urllib.request.urlopen(f"http://{address}/json", timeout=10))
        socket = websocket.create_connection(next(t for t in tabs if t["type"] == "page")["webSocketDebuggerUrl"], timeout=30)
        yield Tab(socket)
        socket.close()
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)
