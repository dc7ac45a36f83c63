"""The page in a real browser: headless Chromium, driven by Selenium.

    pip install -e '.[test,browser]'        and Debian's packages chromium and chromium-driver

Where either is missing, these tests are skipped.
"""

import re
import shutil

import numpy as np
import pytest
from run_lesson import TIMEOUT

from minigrad import Tensor

selenium = pytest.importorskip("selenium", reason="Selenium is not installed: pip install -e '.[browser]'")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="Chromium and chromedriver are not installed"),
]

QUIET = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
--disable-component-update --disable-sync --window-size=1300,950 --force-prefers-reduced-motion""".split()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*QUIET, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def page(browser, tmp_path):
    """Opens a tape's page, and sees to it in the end that the console stayed empty and nothing was fetched."""
    requested = []

    def open_page(tape, address="", **options):
        url = tape.to_html(tmp_path / "tape.html", **options).as_uri()
        browser.get("about:blank")
        browser.get_log("performance")
        browser.get(url + address)
        requested.append(url)
        return browser

    yield open_page
    assert browser.get_log("browser") == []
    urls = [url for entry in browser.get_log("performance") for url in re.findall(r'"url":"([^"]*)"', entry["message"])]
    assert urls
    assert {url.split("#")[0] for url in urls} <= {*requested, "about:blank", "data:,", ""}


def leaf(values, name):
    return Tensor(values, requires_grad=True, dtype=np.float64, name=name)


def small_tape():
    """Three entries; x is used twice, so that gradients add up."""
    x, w = leaf([1.0, 2.0], "x"), leaf([3.0, 4.0], "w")
    loss = ((x * w) * x).sum()
    loss.name = "loss"
    return loss, x, w


def text(browser, selector):
    from selenium.webdriver.common.by import By

    return browser.find_element(By.CSS_SELECTOR, selector).text


def click(browser, selector):
    from selenium.webdriver.common.by import By

    browser.find_element(By.CSS_SELECTOR, selector).click()


def press(browser, key):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    browser.find_element(By.TAG_NAME, "body").send_keys(getattr(Keys, key))


def step_shown(browser):
    match = re.match(r"Step (\d+) of (\d+), (\w+)", text(browser, "#where"))
    return int(match[1]), int(match[2]), match[3]


def arrays(browser):
    """The arrays in the panel: their titles, and their numbers row by row."""
    script = """return [...document.querySelectorAll("#detail .array")].map((node) => [
        node.querySelector("h4").textContent,
        [...node.querySelectorAll("tr")].map((row) => [...row.cells].map((cell) => cell.textContent))])"""
    return dict(browser.execute_script(script))


def test_the_page_starts_with_the_leaves(page):
    browser = page(small_tape()[0].tape())
    assert step_shown(browser) == (0, 7, "start")
    assert arrays(browser) == {"x": [["1", "2"]], "w": [["3", "4"]]}
    assert browser.title == "The tape of loss"


def test_buttons_step_forward_and_back(page):
    browser = page(small_tape()[0].tape())
    seen = []
    for button in ("next", "next", "previous", "turn", "next", "last", "first"):
        click(browser, f"#{button}")
        seen.append(step_shown(browser)[0])
    assert seen == [1, 2, 1, 4, 5, 7, 0]


def test_arrow_keys_step_forward_and_back(page):
    browser = page(small_tape()[0].tape())
    seen = []
    for key in ("ARROW_RIGHT", "ARROW_RIGHT", "ARROW_LEFT", "END", "ARROW_RIGHT", "ARROW_LEFT", "HOME", "ARROW_LEFT"):
        press(browser, key)
        seen.append(step_shown(browser)[0])
    assert seen == [1, 2, 1, 7, 7, 6, 0, 0]


def test_the_slider_steps_once_a_key(page):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    browser = page(small_tape()[0].tape())
    browser.find_element(By.ID, "slider").send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert step_shown(browser)[0] == 2


def test_everything_can_be_reached_and_used_with_the_keyboard_alone(page):
    from selenium.webdriver.common.keys import Keys

    browser = page(small_tape()[0].tape())
    reached = []
    for _ in range(8):
        browser.switch_to.active_element.send_keys(Keys.TAB)
        reached.append(browser.switch_to.active_element.get_attribute("id"))
    assert reached == ["first", "previous", "next", "turn", "last", "slider", "graph", "tape"]
    browser.execute_script("document.getElementById('turn').focus()")
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    assert step_shown(browser)[0] == 4


def test_the_focus_stays_on_a_button_that_has_come_to_its_end(page):
    from selenium.webdriver.common.keys import Keys

    browser = page(small_tape()[0].tape(), "#step=6")
    browser.execute_script("document.getElementById('next').focus()")
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    assert step_shown(browser)[0] == 7
    assert browser.switch_to.active_element.get_attribute("id") == "next"
    assert browser.switch_to.active_element.get_attribute("aria-disabled") == "true"


def test_a_part_of_a_tape_ends_with_the_whole_gradients(page):
    x = leaf([1.0, 2.0], "x")
    browser = page(((x * 2) * x * x).sum().tape()[2:])
    click(browser, "#last")
    assert arrays(browser) == {"x.grad": [["6", "24"]]}


def test_a_link_leads_to_its_step(page):
    from selenium.webdriver.support.wait import WebDriverWait

    browser = page(small_tape()[0].tape(), "#step=5")
    assert step_shown(browser) == (5, 7, "backward")
    browser.execute_script("location.hash = '#step=2'")
    WebDriverWait(browser, TIMEOUT).until(lambda _: step_shown(browser) == (2, 7, "forward"))
    click(browser, "#next")
    assert browser.current_url.endswith("#step=3")


@pytest.mark.parametrize(("address", "step"), [("#step=999", 7), ("#step=-1", 0), ("#elsewhere", 0), ("#step=1e9", 0)])
def test_a_link_to_no_step_leads_to_the_nearest_or_the_start(page, address, step):
    assert step_shown(page(small_tape()[0].tape(), address))[0] == step


def test_forward_shows_inputs_result_and_rule(page):
    browser = page(small_tape()[0].tape(), "#step=2")
    assert text(browser, "#heading") == "%2 = multiply(%1, x)"
    assert arrays(browser) == {"%1": [["3", "8"]], "x": [["1", "2"]], "%2": [["3", "16"]]}
    assert browser.execute_script("return document.querySelectorAll('.rule math mfrac').length") == 2


def test_backward_shows_what_arrives_what_is_sent_and_how_it_adds_up(page):
    browser = page(small_tape()[0].tape(), "#step=6")
    assert text(browser, "#heading") == "%1 = multiply(x, w)"
    assert arrays(browser) == {
        "g": [["1", "2"]],
        "to x": [["3", "8"]],
        "x.grad so far": [["6", "16"]],
        "to w": [["1", "4"]],
    }
    assert "added to what x had got before" in text(browser, "#sentence")


def test_the_last_step_shows_the_gradients_of_backward(page):
    loss, x, w = small_tape()
    browser = page(loss.tape(), "#step=7")
    loss.backward()
    assert arrays(browser) == {f"{t.name}.grad": [[f"{value:g}" for value in t.grad]] for t in (x, w)}
    on_cards = browser.execute_script("""return [...document.querySelectorAll(".leaf")].map(
        (card) => [...card.querySelectorAll("text")].map((t) => t.textContent.trim()))""")
    for t in (x, w):
        assert [t.name, str(t.data.astype(int).tolist()), f"grad {t.grad.astype(int).tolist()}"] in [
            c[:3] for c in on_cards
        ]


def test_the_current_entry_is_lit_in_the_graph_and_on_the_tape(page):
    browser = page(small_tape()[0].tape(), "#step=2")
    texts = "return [...document.querySelectorAll(arguments[0])].map((node) => node.textContent)"
    assert browser.execute_script(texts, ".current .name, [aria-current] td:nth-child(2)") == ["%2", "%2"]
    assert browser.execute_script(texts, ".operation.future .name") == ["loss"]
    no_gradients = "return [...document.querySelectorAll('svg .grad')].every((n) => n.textContent === '')"
    assert browser.execute_script(no_gradients)


def test_clicking_an_operation_goes_to_its_entry(page):
    browser = page(small_tape()[0].tape())
    script = "document.querySelectorAll('.operation')[1].dispatchEvent(new MouseEvent('click', {bubbles: true}))"
    browser.execute_script(script)
    assert step_shown(browser) == (2, 7, "forward")
    click(browser, "#turn")
    browser.execute_script(script)
    assert step_shown(browser) == (5, 7, "backward")


def test_large_arrays_are_heat_maps_with_a_description(page):
    x = leaf(np.linspace(-1, 1, 10_000).reshape(100, 100), "x")
    browser = page((x * x).sum().tape(), "#step=4")
    label = "return document.querySelector('canvas').getAttribute('aria-label')"
    assert browser.execute_script(label).startswith("Heat map of g, norm 100")
    corner = "return [...document.querySelectorAll('canvas')[1].getContext('2d').getImageData(0, 0, 1, 1).data]"
    red, _, blue, _ = browser.execute_script(corner)
    assert red > blue  # the gradient 2 * x starts negative


def test_a_name_is_just_a_name(page):
    bad = "<script>alert(1)</script><img src=x onerror=alert(2)>"
    x = leaf([1.0, 2.0], bad)
    loss = (x * x).sum()
    loss.name = '"><svg onload=alert(3)>&amp;'
    browser = page(loss.tape())
    for step in range(6):
        browser.execute_script(f"location.hash = '#step={step}'")
    click(browser, "#last")
    assert list(arrays(browser)) == [f"{bad}.grad"]
    assert text(browser, "h1") == f"The tape of {loss.name}"
    assert browser.execute_script("return document.querySelectorAll('img, script').length") == 2  # the page's own


def test_an_injected_script_would_not_run(page):
    browser = page(small_tape()[0].tape())
    browser.execute_script("document.body.insertAdjacentHTML('beforeend', '<i onclick=\"window.ran = true\">i</i>')")
    browser.execute_script("document.querySelector('i').dispatchEvent(new MouseEvent('click', {bubbles: true}))")
    assert browser.execute_script("return window.ran") is None
    (message,) = browser.get_log("browser")
    assert "Content Security Policy" in message["message"]


def test_300_entries_stay_usable(page):
    x = y = leaf(0.5, "x")
    for _ in range(150):
        y = (y * x).tanh()
    browser = page(y.tape())
    click(browser, "#turn")
    assert step_shown(browser) == (301, 601, "backward")
    visible = """const outer = document.getElementById("graph").getBoundingClientRect();
        const inner = document.querySelector(".current .box").getBoundingClientRect();
        return inner.left >= outer.left && inner.right <= outer.right && inner.top >= outer.top"""
    assert browser.execute_script(visible)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1300])
def test_the_page_fits_phones_and_desktops_in_light_and_dark(page, browser, width, scheme):
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    )
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    page(small_tape()[0].tape(), "#step=6")
    assert browser.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")
    colours = """const luminance = (colour) => {
            const [r, g, b] = colour.match(/[\\d.]+/g).map((value) => (value / 255) ** 2.2);
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const back = luminance(getComputedStyle(document.body).backgroundColor);
        return ["body", ".soft", "#heading", "td"].map((selector) => {
            const front = luminance(getComputedStyle(document.querySelector(selector)).color);
            return (Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05);
        })"""
    assert min(browser.execute_script(colours)) > 4.5  # the contrast that WCAG 2 asks for
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
