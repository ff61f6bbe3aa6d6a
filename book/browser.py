"""The browser that prints the book, and that the tests look at it with."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from playwright.sync_api import Browser, Playwright

BROWSERS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "msedge",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
# Without these the browser itself asks the network for updates.
FLAGS = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


def launch(playwright: Playwright, *flags: str) -> Browser:
    """Start the machine's Chromium or Chrome, or the one that playwright installed.

    Raises:
        FileNotFoundError: there is none; the message says how to get one.
    """
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if not found and Path(playwright.chromium.executable_path).exists():
        found = playwright.chromium.executable_path
    if not found:
        raise FileNotFoundError(
            "no Chromium or Chrome was found; `playwright install chromium` brings one."
        )
    # Chromium refuses to sandbox itself as root, which containers are.
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    args = [*FLAGS, *flags, *(["--no-sandbox"] if root else [])]
    return playwright.chromium.launch(executable_path=found, args=args)
