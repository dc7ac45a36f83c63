"""The built book in a real browser, opened from its folder; where it is, the environment variable MINIGRAD_SITE says.

python -m tutorials.book --out site && MINIGRAD_SITE=site python -m pytest tests/tutorials/test_site.py
"""

import os
import re
import shutil
from pathlib import Path

import pytest

SITE = os.environ.get("MINIGRAD_SITE")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not SITE, reason="no book has been built: MINIGRAD_SITE is not set")]
CHAPTERS = sorted(Path(SITE).glob("**/*.html")) if SITE else []
CHAPTERS = [page for page in CHAPTERS if not {"_static", "_modules"} & set(page.relative_to(SITE).parts)]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome")
    for flag in (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={tmp_path_factory.mktemp('profile')}",
    ):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    yield driver
    driver.quit()


def resize(browser, width, height):
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


@pytest.mark.parametrize("page", CHAPTERS, ids=lambda page: page.stem)
def test_a_chapter_opens_from_its_folder_without_a_request(browser, page):
    resize(browser, 1280, 800)
    browser.get_log("browser"), browser.get_log("performance")
    browser.get(page.resolve().as_uri())
    assert browser.get_log("browser") == []
    messages = [entry["message"] for entry in browser.get_log("performance")]
    urls = {url for message in messages for url in re.findall(r'"url":"([a-z]+:[^"]*)"', message)}
    assert urls
    assert not [url for url in urls if not url.startswith(("file:", "data:", "about:", "blob:"))]


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("page", CHAPTERS, ids=lambda page: page.stem)
def test_a_chapter_is_no_wider_than_the_screen(browser, page, width):
    resize(browser, width, 800)
    browser.get(page.resolve().as_uri())
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    code = "[...document.querySelectorAll('.cell_input div.highlight pre')]"
    assert browser.execute_script(f"return {code}.filter(pre => pre.scrollWidth > pre.clientWidth + 1).length") == 0


def test_the_search_finds_a_word_of_a_lesson(browser):
    browser.get(f"{(Path(SITE) / 'search.html').resolve().as_uri()}?q=Wengert")
    from selenium.webdriver.support.ui import WebDriverWait

    found = "return [...document.querySelectorAll('#search-results li a')].map(a => a.textContent)"
    results = WebDriverWait(browser, 30).until(lambda driver: driver.execute_script(found))
    assert any("the tape" in title for title in results)


def test_an_answer_is_folded_until_it_is_asked_for(browser):
    pages = [page for page in CHAPTERS if 'class="predict"' in page.read_text(encoding="utf-8")]
    assert pages
    browser.get(pages[0].resolve().as_uri())
    answer = (
        "const a = document.querySelector('.predict details'); return [a.open, a.querySelector('p').checkVisibility()]"
    )
    assert browser.execute_script(answer) == [False, False]
    browser.execute_script("document.querySelector('.predict summary').click()")
    assert browser.execute_script(answer) == [True, True]


def test_no_lesson_tells_an_answer_in_its_code():
    lessons = [page for page in CHAPTERS if re.fullmatch(r"\d\d_\w+", page.stem)]
    assert lessons
    for page in lessons:
        assert "because=" not in re.sub(r"<[^>]+>", "", page.read_text(encoding="utf-8"))
