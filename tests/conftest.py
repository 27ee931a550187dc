"""Fixtures that several test files share."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
from builders import TINY_NETWORK
from hypothesis import HealthCheck, settings
from pages import OpenReport
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Error,
    Page,
    Request,
    sync_playwright,
)

import scaleprof as sp
from scaleprof.records import RunLog

# Nothing here asserts a duration, and a busy machine is no failure.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

Scaleprof = Callable[..., subprocess.CompletedProcess[str]]

# Each is made once and takes long: where pytest-xdist runs the tests, those that share one share a process.
SHARED_FIXTURES = ("measured_sweep", "compared", "solved")

CHROMIUM_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep tests together that share what takes long to make."""
    if not config.pluginmanager.hasplugin("xdist"):
        return
    for item in items:
        for name in SHARED_FIXTURES:
            if name in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.xdist_group(name))


@pytest.fixture
def scaleprof(tmp_path: Path) -> Scaleprof:
    """Runs the command line in a folder of its own, as a person would."""

    def run(*arguments: str, check: int | None = None) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "scaleprof", *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=500,
            env=clean_environment(),
            check=False,
        )
        if check is not None and not (check == 0 and all_unstable(done.returncode, done.stderr)):
            assert done.returncode == check, (done.returncode, done.stdout, done.stderr)
        return done

    return run


@pytest.fixture
def tiny(tmp_path: Path) -> str:
    """A tiny network of a person's own, as `--model` takes it; its name is `tiny:build`."""
    path = tmp_path / "tiny.py"
    path.write_text(TINY_NETWORK)
    return f"{path}:build"


def all_unstable(code: int, stderr: str) -> bool:
    """Whether a sweep measured all its models and calls none of them ok: so it may be on a busy machine."""
    said = re.search(r"(\d+) of (\d+) models measured, (\d+) of them unstable$", stderr.strip())
    return code == 3 and said is not None and len(set(said.groups())) == 1


def clean_environment() -> dict[str, str]:
    """The environment without settings of this tool."""
    return {name: value for name, value in os.environ.items() if not name.startswith("SCALEPROF_")}


@pytest.fixture(scope="session")
def measured_sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real sweep of the default 13 models on this CPU: a folder with profiles/b0.jsonl, reports/b0.html."""
    folder = tmp_path_factory.mktemp("sweep")
    arguments = ["sweep", "--phi", "0..3", "--device", "cpu", "--preset", "quick", "-o", "profiles/b0.jsonl"]
    done = subprocess.run(
        [sys.executable, "-m", "scaleprof", *arguments],
        cwd=folder,
        check=False,
        stderr=subprocess.PIPE,
        text=True,
        env=clean_environment(),
        timeout=900,
    )
    assert done.returncode == 0 or all_unstable(done.returncode, done.stderr), done.stderr
    return folder


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """A headless Chromium that talks to nobody."""
    path = find_chromium()
    if path is None:
        if os.environ.get("CI"):
            pytest.fail("CI installs Chromium, but none was found")
        pytest.skip("needs Chromium: install it, or name it in SCALEPROF_CHROMIUM")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


class Tabs:
    """A browser's tabs, by what their contexts were opened with; one that is given back is used again.

    A fresh context would read and compile plotly's script anew, which takes longer than most tests. A report
    keeps nothing in the browser but its address, so a blank tab is as good as a new one.
    """

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._contexts: dict[tuple[tuple[str, Any], ...], BrowserContext] = {}
        self._blank: dict[BrowserContext, list[Page]] = {}

    def take(self, width: int, color_scheme: Literal["light", "dark"], **options: Any) -> Page:
        """A blank tab of this width and scheme; `options` are of its context."""
        key = tuple(sorted(options.items()))
        if key not in self._contexts:
            self._contexts[key] = self._browser.new_context(offline=True, **options)
        context = self._contexts[key]
        blank = self._blank.setdefault(context, [])
        page = blank.pop() if blank else context.new_page()
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(media="null", color_scheme=color_scheme)
        page.mouse.move(0, 0)
        return page

    def give_back(self, page: Page) -> None:
        """Make a tab blank for whoever takes it next."""
        page.goto("about:blank")
        self._blank[page.context].append(page)

    def close(self) -> None:
        """Close them all."""
        for context in self._contexts.values():
            context.close()


@pytest.fixture(scope="session")
def tabs(chromium: Browser) -> Iterator[Tabs]:
    """The tabs that the session's pages are opened in."""
    opened = Tabs(chromium)
    yield opened
    opened.close()


@pytest.fixture
def open_report(tabs: Tabs, tmp_path: Path) -> Iterator[OpenReport]:
    """Opens a page of these runs from a file, noting every request and error; fails on any at the end.

    `report` has further options of the report, `context` is for the browser.
    """
    pages: list[Page] = []
    requests: list[str] = []
    errors: list[str] = []

    def note_request(request: Request) -> None:
        requests.append(request.url)

    def note_error(error: Error) -> None:
        errors.append(str(error))

    def note_message(message: ConsoleMessage) -> None:
        if message.type == "error":
            errors.append(message.text)

    listeners = {"request": note_request, "pageerror": note_error, "console": note_message}

    def open_page(
        *logs: RunLog,
        path: Path | None = None,
        width: int = 1440,
        hash_: str = "",
        budget: str | Sequence[str] = (),
        report: Mapping[str, Any] | None = None,
        color_scheme: Literal["light", "dark"] = "light",
        **context: Any,
    ) -> Page:
        if path is None:
            path = tmp_path / "report.html"
            sp.report([sp.Run(log) for log in logs], path, budget=budget, **report or {})
        page = tabs.take(width, color_scheme, **context)
        pages.append(page)
        for event, note in listeners.items():
            page.on(event, note)  # type: ignore[call-overload]
        page.goto(path.resolve().as_uri() + hash_)
        if context.get("java_script_enabled", True):
            page.wait_for_selector("html[data-drawn=true]")
        return page

    yield open_page
    for page in pages:
        for event, note in listeners.items():
            page.remove_listener(event, note)
        tabs.give_back(page)
    assert errors == []
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []


def find_chromium(names: Sequence[str] = ("chromium", "chromium-browser", "google-chrome")) -> str | None:
    """The browser named by SCALEPROF_CHROMIUM, or the first one on the path."""
    return os.environ.get("SCALEPROF_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
