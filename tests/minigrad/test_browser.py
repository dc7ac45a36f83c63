"""The page in a real browser: headless Chromium, driven by Selenium.

    pip install -e '.[test,browser]'        and Debian's packages chromium and chromium-driver

Where either is missing, these tests are skipped.
"""

import re
import shutil

import numpy as np
import pytest
from run_lesson import TIMEOUT

import minigrad as mg
from layers import BatchNorm1d, Linear, ReLU, Sequential, cross_entropy
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
    for _ in range(15):
        browser.switch_to.active_element.send_keys(Keys.TAB)
        reached.append(browser.switch_to.active_element.get_attribute("id"))
    cards = [f"card-{i}" for i in range(5)]
    assert reached == ["first", "previous", "play", "next", "turn", "last", "slider", "skip", "graph", *cards, "tape"]
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


ADDRESSES = {
    "#step=999": 7, "#step=-1": 0, "#step=1e9": 7, "#step=4.6": 5, "#step=5&x=1": 5, "#x=1&step=5": 5, "#step=5,5": 5,
    "#elsewhere": 0, "#step=": 0, "#step=x": 0,
}  # fmt: skip


@pytest.mark.parametrize(("address", "step"), ADDRESSES.items(), ids=ADDRESSES)
def test_a_link_to_no_step_leads_to_the_nearest_or_the_start(page, address, step):
    assert step_shown(page(small_tape()[0].tape(), address))[0] == step


def test_a_link_without_a_step_stays_at_the_step(page):
    from selenium.webdriver.support.wait import WebDriverWait

    browser = page(small_tape()[0].tape(), "#step=5")
    browser.execute_script("location.hash = '#elsewhere'")
    WebDriverWait(browser, TIMEOUT).until(lambda _: browser.current_url.endswith("#step=5"))
    assert step_shown(browser)[0] == 5


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


def test_playing_goes_on_by_itself_until_it_is_paused(page):
    from selenium.webdriver.support.wait import WebDriverWait

    browser = page(small_tape()[0].tape())
    click(browser, "#play")
    WebDriverWait(browser, TIMEOUT).until(lambda _: step_shown(browser)[0] >= 2)
    assert text(browser, "#play") == "pause"
    click(browser, "#play")
    assert text(browser, "#play") == "play"


@pytest.mark.parametrize("stop", ["#next", "#previous", "#slider"])
def test_choosing_a_step_stops_the_playing(page, stop):
    browser = page(small_tape()[0].tape())
    click(browser, "#play")
    assert text(browser, "#play") == "pause"
    if stop == "#slider":
        browser.execute_script("byId('slider').dispatchEvent(new Event('input'))")
    else:
        click(browser, stop)
    assert text(browser, "#play") == "play"


def test_playing_starts_anew_at_the_end_and_stops_there(page):
    from selenium.webdriver.support.wait import WebDriverWait

    browser = page(small_tape()[0].tape(), "#step=7")
    click(browser, "#play")
    assert step_shown(browser)[0] == 0
    browser.execute_script("show(6)")
    WebDriverWait(browser, TIMEOUT).until(lambda _: step_shown(browser)[0] == 7)
    assert text(browser, "#play") == "play"


def test_nothing_moves_for_readers_who_ask_for_less_motion(page, browser):
    moving = """return [...document.querySelectorAll("*")].filter((node) => { const style = getComputedStyle(node);
        return style.animationName !== "none" || style.transitionDuration !== "0s" }).length"""
    page(small_tape()[0].tape())
    assert browser.execute_script(moving) == 0
    emulate(browser, prefers_reduced_motion="no-preference")
    assert browser.execute_script(moving) > 0  # so that the first line can fail


def focus(browser, selector, number=0):
    browser.execute_script("document.querySelectorAll(arguments[0])[arguments[1]].focus()", selector, number)


@pytest.mark.parametrize("start", [0, 6])
def test_the_focus_on_a_card_shows_what_a_click_on_it_shows(page, start):
    browser = page(small_tape()[0].tape(), f"#step={start}")
    panel = "return document.getElementById('panel').innerText + document.getElementById('where').textContent"
    seen = {}
    for way in ("focus()", "dispatchEvent(new MouseEvent('click', {bubbles: true}))"):
        seen[way] = []
        for card in range(5):
            browser.execute_script(f"show({start}); document.getElementById('card-{card}').{way}")
            seen[way].append(browser.execute_script(panel))
    by_focus, by_click = seen.values()
    assert by_focus == by_click
    assert len(set(by_click)) == 5


def test_a_leafs_card_shows_the_gradient_that_it_has_got_so_far(page):
    browser = page(small_tape()[0].tape(), "#step=5")
    focus(browser, ".leaf", 0)
    assert arrays(browser) == {"x": [["1", "2"]], "gradient so far": [["3", "8"]]}
    assert step_shown(browser)[0] == 5
    click(browser, "#next")
    focus(browser, ".leaf", 1)
    focus(browser, ".leaf", 0)
    assert arrays(browser)["gradient so far"] == [["6", "16"]]


def test_a_constants_card_says_that_it_gets_no_gradient(page):
    browser = page((leaf([1.0, 2.0], "x") * 3).sum().tape())
    focus(browser, ".constant")
    assert "no gradient" in text(browser, "#sentence")
    assert arrays(browser) == {"3": [["3"]]}


def formula(browser):
    """The numbers and letters of the arithmetic that is shown, without its signs."""
    script = "return [...document.querySelectorAll('.arithmetic :is(mi, mn, mtext)')].map((node) => node.textContent)"
    return browser.execute_script(script)


def test_a_click_on_a_line_shows_the_arithmetic_of_its_gradient(page):
    browser = page(small_tape()[0].tape())
    edge = 'document.querySelector(\'.edge[data-to="2"][data-slot="1"] .hit\')'  # of %1 = x * w that to w
    browser.execute_script(edge + ".dispatchEvent(new MouseEvent('click', {bubbles: true}))")
    assert step_shown(browser) == (6, 7, "backward")
    assert formula(browser) == [*"∂L∂y", *"gx", *"12", *"12", *"14"]  # dL/dy = g * x = [1, 2] * [1, 2] = [1, 4]
    assert browser.execute_script("return document.querySelectorAll('.chosen').length") == 1
    click(browser, "#next")
    assert formula(browser) == []


def test_a_click_beside_a_line_hits_it_and_not_its_neighbour(page):
    browser = page(small_tape()[0].tape(), "#step=6")
    script = """return [...document.querySelectorAll(".sending .line")].map((line) => {
        const end = line.getPointAtLength(line.getTotalLength() - 5), up = line.parentNode.dataset.slot === "0";
        const { x, y } = new DOMPoint(end.x, end.y + (up ? -3 : 3)).matrixTransform(line.getScreenCTM());
        return document.elementFromPoint(x, y).closest(".edge") === line.parentNode; })"""
    assert browser.execute_script(script) == [True, True]


def test_the_lines_of_a_step_can_be_reached_and_chosen_with_the_keyboard(page):
    from selenium.webdriver.common.keys import Keys

    browser = page(small_tape()[0].tape(), "#step=6")
    focus(browser, "#graph")
    browser.switch_to.active_element.send_keys(Keys.TAB)
    label = browser.switch_to.active_element.get_attribute("aria-label")
    assert label == "arithmetic of the gradient from %1 to x"
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    assert formula(browser) == [*"∂L∂x", *"gy", *"12", *"34", *"38"]
    browser.switch_to.active_element.send_keys(Keys.TAB)
    browser.switch_to.active_element.send_keys(Keys.SPACE)
    assert formula(browser)[-2:] == ["1", "4"]


def test_enter_on_a_card_leads_to_its_lines(page):
    from selenium.webdriver.common.keys import Keys

    browser = page(small_tape()[0].tape())
    focus(browser, ".operation")
    assert step_shown(browser)[0] == 1
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    assert step_shown(browser) == (6, 7, "backward")
    assert formula(browser)[:4] == [*"∂L∂x"]


def test_a_button_leads_past_the_graph(page):
    from selenium.webdriver.common.keys import Keys

    browser = page(small_tape()[0].tape())
    assert browser.execute_script("return document.getElementById('skip').getBoundingClientRect().right") < 0
    focus(browser, "#skip")
    assert browser.execute_script("return document.getElementById('skip').getBoundingClientRect().left") > 0
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    assert browser.switch_to.active_element.get_attribute("id") == "tape"


def test_the_arithmetic_of_large_arrays_is_a_formula_with_shapes(page):
    browser = page((leaf(np.ones((20, 30)), "x") @ leaf(np.ones((30, 4)), "w")).sum().tape(), "#step=4")
    browser.execute_script("document.querySelector('.sending').dispatchEvent(new MouseEvent('click'))")
    assert formula(browser) == [*"∂L∂x", "g", "(20, 4)", "y", "(30, 4)", "T", "an array of shape (20, 30)"]


def test_the_panel_says_what_an_entry_has_saved(page):
    browser = page(small_tape()[0].tape(), "#step=6")
    assert text(browser, ".saved") == "saved: x (2,), y (2,)"
    click(browser, "#turn")
    assert text(browser, ".saved") == "saved: nothing, the rule needs no values"


@pytest.mark.parametrize(("rows", "told"), [(60, True), (20, False)])
def test_a_heat_map_of_means_says_so(page, rows, told):
    browser = page((leaf(np.ones((rows, 9)), "x") * 2).sum().tape(), "#step=4")
    panel = text(browser, "#detail")
    assert ("cell: mean of 3 \u00d7 1 values" in panel) is told
    assert ("narrower than the range" in panel) is told


def emulate(browser, width=0, height=0, medium="", **features):
    """The size of the window, screen or print, and what the reader prefers; without arguments, as it was."""
    size = {"width": width, "height": height, "deviceScaleFactor": 0, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    wishes = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": medium, "features": wishes})


@pytest.fixture(autouse=True)
def as_before(browser):
    yield
    emulate(browser)


def batch_norm():
    x = leaf([[1.0], [2.0], [6.0]], "x")
    centered = x - x.mean(0)
    x_hat = centered / ((centered * centered).mean(0) + 1e-5).sqrt()
    y = leaf([2.0], "gamma") * x_hat + leaf([1.0], "beta")
    return (y * y * y).sum()


def mlp():
    rng = np.random.default_rng(0)
    hidden = [layer for i in (8, 16, 16) for layer in (Linear(i, 16, rng=rng), BatchNorm1d(16), ReLU())]
    return cross_entropy(Sequential(*hidden, Linear(16, 3, rng=rng))(rng.normal(size=(6, 8))), rng.integers(0, 3, 6))


def chain():
    x = y = leaf(0.5, "x")
    for _ in range(150):
        y = (y * x).tanh()
    return y


def wide():
    return mg.stack([leaf([1.0 * i, 2.0], f"w{i}") * leaf([3.0, 4.0], f"x{i}") for i in range(12)]).sum()


SIZES = [(1366, 768), (1280, 720), (1280, 900), (390, 844)]


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("make", [batch_norm, mlp, chain, wide])
def test_the_active_row_and_card_are_in_sight_at_every_step(page, browser, make, width, height):
    emulate(browser, width, height)
    page(make().tape())
    hidden = browser.execute_script("""
        const box = (selector) => document.querySelector(selector).getBoundingClientRect();
        const hidden = [], stride = Math.ceil(last / 60);  // more changes of the address would be throttled
        for (let wanted = 1; wanted < last; wanted += stride) {
            show(wanted);
            const row = box("[aria-current]"), table = box("#tape"), head = box("#tape thead th");
            const card = box(".current .box"), graph = box("#graph");
            if (row.top < head.bottom - 1 || row.bottom > Math.min(table.bottom, innerHeight) + 1
                || card.left < graph.left || card.right > graph.right
                || card.top < graph.top || card.bottom > graph.bottom) hidden.push(wanted);
        }
        return hidden""")
    assert hidden == []


def test_the_table_stays_in_sight_while_a_long_panel_scrolls(page, browser):
    emulate(browser, 1280, 720)
    page(mlp().tape(), "#step=15")
    browser.execute_script("scrollTo(0, 9999)")
    assert browser.execute_script("return scrollY") > 300
    row = browser.execute_script(
        "const r = document.querySelector('[aria-current]').getBoundingClientRect(); return [r.top, r.bottom]"
    )
    assert browser.execute_script("return document.getElementById('controls').getBoundingClientRect().bottom") < row[0]
    assert row[1] < 720


@pytest.mark.parametrize(("width", "height"), SIZES[:3])
def test_the_gradients_of_a_product_arrive_in_sight(page, browser, width, height):
    emulate(browser, width, height)
    page(wide().tape())
    hidden = browser.execute_script("""const hidden = [];
        for (let wanted = n + 3; wanted < last; wanted++) {
            show(wanted);
            const graph = document.getElementById("graph").getBoundingClientRect();
            for (const node of document.querySelectorAll(".sending .tip.back")) {
                const tip = node.getBoundingClientRect();
                if (tip.top < graph.top || tip.bottom > graph.bottom || tip.left < graph.left) hidden.push(wanted);
            }
        }
        return hidden""")
    assert hidden == []


def test_the_rules_of_a_layer_stay_beside_each_other(page, browser):
    emulate(browser, 1280, 720)
    page(mlp().tape(), "#step=15")  # batch_norm, whose rule has six lines
    assert browser.execute_script("return document.getElementById('panel').offsetHeight") < 1000
    blocks = "return [...document.querySelectorAll('#detail h3')].map((node) => node.textContent)"
    assert browser.execute_script(blocks) == ["Rule", "Arrived", "Sent"]


def test_a_phone_has_every_button_and_a_short_introduction(page, browser):
    emulate(browser, 390, 844)
    page(small_tape()[0].tape())
    assert browser.execute_script("return document.querySelector('header p').getClientRects()[0].height") < 60
    for button, step in (("last", 7), ("turn", 4), ("first", 0)):
        click(browser, f"#{button}")
        assert step_shown(browser)[0] == step


def test_on_a_phone_the_arithmetic_comes_into_sight(page, browser):
    emulate(browser, 390, 844)
    page(batch_norm().tape(), "#step=14")
    inside = """const rule = document.querySelector(".rule").getBoundingClientRect();
        return rule.bottom <= document.getElementById("tape").getBoundingClientRect().top"""
    assert not browser.execute_script(inside)
    browser.execute_script("document.querySelector('.sending').dispatchEvent(new MouseEvent('click'))")
    assert browser.execute_script(inside)


def test_paper_shows_the_whole_graph_and_table_and_no_controls(page, browser):
    page(chain().tape()[:40], "#step=50")
    emulate(browser, 1040, 700, medium="print")
    browser.execute_script("window.dispatchEvent(new Event('beforeprint'))")
    shown = browser.execute_script("""const shown = (selector) => document.querySelector(selector).checkVisibility();
        const views = [...document.querySelectorAll("#strips svg")].map((svg) => svg.viewBox.baseVal);
        const whole = document.querySelector("#graph > svg").viewBox.baseVal, tape = document.getElementById("tape");
        const cards = [...document.querySelectorAll("#drawing .box")].map((node) => node.getBBox());
        const inside = (card, view) => view.x <= card.x && card.x + card.width <= view.x + view.width;
        return { controls: shown("#controls"), graph: shown("#strips svg"), strips: views.length,
            table: tape.scrollHeight <= tape.clientHeight + 1,
            wide: document.documentElement.scrollWidth <= innerWidth,
            whole: views[0].x === whole.x && views.at(-1).x + views.at(-1).width === whole.x + whole.width,
            joined: views.slice(1).every((view, i) => view.x === views[i].x + views[i].width),
            uncut: cards.every((card) => views.some((view) => inside(card, view))) }""")
    assert shown.pop("strips") > 3
    assert shown == {"controls": False} | dict.fromkeys(("graph", "table", "wide", "whole", "joined", "uncut"), True)


def test_printing_cuts_the_graph(page, browser):
    page(chain().tape()[:40])
    browser.execute_cdp_cmd("Page.printToPDF", {})
    assert browser.execute_script("return document.querySelectorAll('#strips svg').length") > 3


CONTRAST = """const luminance = (colour) => {
        const [r, g, b] = colour.match(/[\\d.]+/g).map((value) => value / 255)
            .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const contrast = (one, other) => {
        const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
        return (light + 0.05) / (dark + 0.05);
    };"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_cards_can_be_read_before_and_after_their_step(page, browser, scheme):
    emulate(browser, prefers_color_scheme=scheme)
    page((leaf([1.0, 2.0], "x") * 3).exp().sum().tape(), "#step=6")
    contrasts = """const found = [];
        for (const wanted of [1, 6]) {
            show(wanted);
            for (const card of cardNodes) for (const node of card.querySelectorAll("text")) {
                const box = getComputedStyle(card.querySelector(node.matches(".title") ? ".head" : ".box")).fill;
                const back = node.matches(".shape") ? getComputedStyle(document.body).backgroundColor : box;
                let opacity = 1;
                for (let at = node; at; at = at.parentElement) opacity *= getComputedStyle(at).opacity;
                found.push(opacity < 1 ? 0 : contrast(getComputedStyle(node).fill, back));
            }
        }
        return found"""
    found = browser.execute_script(CONTRAST + contrasts)
    assert len(found) > 20
    assert min(found) >= 4.5  # the contrast that WCAG 2 asks for at AA


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1300])
def test_the_page_fits_phones_and_desktops_in_light_and_dark(page, browser, width, scheme):
    emulate(browser, width, 800, prefers_color_scheme=scheme)
    page(small_tape()[0].tape(), "#step=6")
    assert browser.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")
    contrasts = """return ["body", ".soft", "#heading", "td"].map((selector) => contrast(
        getComputedStyle(document.querySelector(selector)).color, getComputedStyle(document.body).backgroundColor))"""
    assert min(browser.execute_script(CONTRAST + contrasts)) >= 4.5
