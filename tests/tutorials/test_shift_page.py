"""The page of lesson 7 in a real browser: headless Chromium, driven by Selenium.

    pip install -e '.[test,browser]'        and Debian's packages chromium and chromium-driver

Where either is missing, the tests in the browser are skipped.
"""

import base64
import json
import re
import shutil
import zlib

import numpy as np
import pytest
from run_lesson import TIMEOUT

from minigrad.optim import SGD
from tutorials import shift
from tutorials.data import load_digits
from tutorials.shift_page import write_page

FRAMES, UNITS, BINS, EDGE = 8, 9, 20, 4.0
STEPS = [1, 2, 5, 10, 20, 50, 100, 200]
LEVELS, Z = [5, 25, 50, 75, 95], np.array([-1.645, -0.674, 0, 0.674, 1.645])
ACCURACY = {"plain": [10, 10, 10, 20, 40, 60, 80, 95], "bn": [10, 40, 60, 80, 90, 95, 96, 97]}
MOVED = {  # by the own weights, by each layer below
    "everything": (1.0, 0.5), "below": (0.0, 0.5), "late": (0.0, 0.75), "own": (1.0, 0.0)
}  # fmt: skip


def packed(array, scale):
    """As ``tutorials.shift.page_data`` packs an array: along the last axis, the frames, stand differences, as text."""
    q = np.rint(np.asarray(array) / scale).astype(int)
    values = (chr(35 + (2 * n if n >= 0 else -2 * n - 1)) for n in np.diff(q, axis=-1, prepend=0).ravel().tolist())
    return {"shape": q.shape, "scale": scale, "values": "".join(values)}


def layer_of(net, what, statistics, layer):
    """A layer whose inputs move evenly from frame to frame, as far as ``MOVED`` says; with BN a quarter of that."""
    own, below = MOVED[what]
    time = np.linspace(0, 1, FRAMES)
    moved = (own + layer * below) * time / (1 if net == "plain" else 4)
    moved = moved + {"probe": 0 * time, "batch": 0.2 * (np.arange(FRAMES) % 2), "running": 0.5 * time}[statistics]
    spread, middles = 0.5 + 0.5 * time * (own > 0), np.linspace(-EDGE, EDGE, BINS, endpoint=False) + EDGE / BINS
    pooled = moved + Z[:, None] * spread
    units = pooled[:, None] + 0.1 * np.arange(UNITS)[None, :, None] * time * (moved.any())
    density = np.exp(-(((middles[:, None] - moved) / spread) ** 2) / 2) / spread / np.sqrt(2 * np.pi)
    return {
        "shift": moved.tolist(), "edges": [-EDGE, EDGE], "all": packed(density, 0.002), "dozen_units": [0, 3, 8],
        "pooled": packed(pooled, 0.01), "units": packed(units, 0.02),
        "low": [[unit % 4] * 4 for unit in range(UNITS)], "high": [[3 - unit % 4] * 4 for unit in range(UNITS)],
    }  # fmt: skip


def net_of(net, rate):
    views = {
        f"{what}|{statistics}": [layer_of(net, what, statistics, layer) for layer in range(3)]
        for what in MOVED
        for statistics in (("probe",) if net == "plain" else ("probe", "batch", "running"))
    }
    curves = {
        key: [[(layer + 1) * 2.0**-i for layer in range(3)] for i in range(FRAMES)] for key in ("gradient", "update")
    }
    return {
        "optimizer": "SGD", "rate": rate, "init_std": 0.1, "steps_to_90": {"plain": 200, "bn": 20}[net],
        "frames": STEPS, "accuracy": ACCURACY[net], "at": STEPS, "accuracies": ACCURACY[net], "views": views,
        "saturated": [[i / 100] * 3 for i in range(FRAMES)], **curves,
    }  # fmt: skip


def recording():
    pixels = np.repeat(np.array([0, 80, 160, 240], dtype=np.uint8), 4)  # four images of 2 x 2, each of one grey
    return {
        "meta": {"data": "made up", "steps": 200, "batch_size": 60, "seed": 0, "probe": 4, "train": 100,
                 "saturated": 2.887, "saturated_text": "slope under 0.05", "levels": LEVELS},
        "images": {"shape": [2, 2], "pixels": base64.b64encode(pixels.tobytes()).decode()},
        "runs": [
            {"title": title, "note": "", "nets": {"plain": net_of("plain", rates[0]), "bn": net_of("bn", rates[1])}}
            for title, rates in {"the lesson's": (0.1, 0.1), "each at its own best": (1, 2)}.items()
        ],
    }  # fmt: skip


DATA = json.dumps(recording()).encode()


def test_the_data_stand_in_the_page_as_they_were_given(tmp_path):
    page = write_page(DATA, str(tmp_path / "shift.html"))
    (data,) = re.findall(r'<script type="text/plain" id="data">(.*?)</script>', page.read_text(encoding="utf-8"))
    assert zlib.decompress(base64.b64decode(data)) == DATA


def test_the_page_holds_no_address_to_fetch_from(tmp_path):
    page = write_page(b"{}", tmp_path / "shift.html").read_text(encoding="utf-8")
    assert set(re.findall(r"https?://[^\"' ]*", page)) == {"http://www.w3.org/2000/svg"}  # the name of SVG
    assert "{{" not in page


# In the browser.

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
QUIET = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
--disable-component-update --disable-sync""".split()
OVER = "#frame=0"  # an address that names a state: no guess is asked for


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    webdriver = pytest.importorskip(
        "selenium.webdriver", reason="Selenium is not installed: pip install -e '.[browser]'"
    )
    if not (CHROMIUM and DRIVER):
        pytest.skip("Chromium and chromedriver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*QUIET, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    return write_page(DATA, tmp_path_factory.mktemp("page") / "shift.html").as_uri()


class Page:
    """What a viewer sees and does."""

    def __init__(self, driver, address):
        self.driver, self.address = driver, address

    def open(self, state=OVER, width=1280, height=720, scheme="light", motion="reduce"):
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500},
        )
        self.media("", scheme, motion)
        self.driver.get("about:blank")
        self.driver.get_log("performance")
        self.driver.get(self.address + state)
        self.wait(lambda: self.text("#about") != "")
        return self

    def media(self, kind, scheme="light", motion="reduce"):
        features = {"prefers-color-scheme": scheme, "prefers-reduced-motion": motion}
        features = [{"name": name, "value": value} for name, value in features.items()]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": kind, "features": features})

    def run(self, script, *given):
        return self.driver.execute_script(script, *given)

    def wait(self, until):
        from selenium.webdriver.support.wait import WebDriverWait

        WebDriverWait(self.driver, TIMEOUT).until(lambda _: until())

    def find(self, selector):
        return self.driver.find_element("css selector", selector)

    def text(self, selector):
        return " ".join(self.run("return document.querySelector(arguments[0]).textContent", selector).split())

    def click(self, selector):
        self.find(selector).click()

    def press(self, *keys, into="body"):
        from selenium.webdriver.common.keys import Keys

        self.find(into).send_keys(*(getattr(Keys, key) for key in keys))

    def choose(self, selector, value):
        if selector == "#moves":
            self.run("document.querySelector(arguments[0]).parentNode.click()", f"#moves [value={value}]")
        else:
            from selenium.webdriver.support.select import Select

            Select(self.find(selector)).select_by_value(value)

    def visible(self, selector):
        return self.run("return document.querySelector(arguments[0]).checkVisibility()", selector)

    def curves(self, net, layer, kind="now"):
        """The densities that are drawn in a cell."""
        script = "return [...document.querySelectorAll(arguments[0])].map((path) => path.getAttribute('d'))"
        return self.run(script, f"#{net}-{layer} .density .{kind}")

    def caption(self, net, layer):
        return self.text(f"#{net}-{layer} figcaption")

    def frame(self):
        return int(self.run("return document.getElementById('slider').value"))

    def state(self):
        return dict(part.split("=") for part in self.run("return location.hash.slice(1)").split("&"))


@pytest.fixture
def page(driver, address):
    """The page, seen to in the end that the console stayed empty and nothing was fetched."""
    yield Page(driver, address)
    assert driver.get_log("browser") == []
    urls = [url for entry in driver.get_log("performance") for url in re.findall(r'"url":"([^"]*)"', entry["message"])]
    assert {url.split("#")[0] for url in urls} <= {address, "about:blank", "data:,", ""}


in_browser = pytest.mark.slow
NETS = ("plain", "bn")


@in_browser
def test_the_page_starts_with_the_first_step_and_asks_for_a_guess(page):
    page.open("")
    assert page.text("#where") == "Step 1 of 200"
    assert page.visible("#predict")
    assert not page.visible("#choices")


@in_browser
def test_every_cell_says_median_spread_and_shift(page):
    page.open("#frame=7")
    assert page.caption("plain", 3) == "Layer 3: median 2.00, 90 % 0.4 to 3.6, shift 2.00"
    assert page.caption("bn", 1) == "Layer 1: median 0.25, 90 % \u22121.4 to 1.9, shift 0.25"
    label = page.find("#plain-3 .density").get_attribute("aria-label").replace("\xa0", " ")
    assert label.endswith("layer 3 without BN: median 2.00, 90 % 0.4 to 3.6, shift 2.00")


@in_browser
def test_the_first_frame_stays_as_a_ghost(page):
    page.open()
    first = page.curves("plain", 2, "ghost")
    page.click("#last")
    assert page.curves("plain", 2, "ghost") == first
    assert first[0] not in page.curves("plain", 2)[0]


@in_browser
def test_buttons_step_forward_and_back(page):
    page.open()
    seen = []
    for button in ("next", "next", "previous", "last", "next", "first", "previous"):
        page.click(f"#{button}")
        seen.append(page.frame())
    assert seen == [1, 2, 1, 7, 7, 0, 0]


@in_browser
def test_keys_step_forward_and_back(page):
    page.open()
    seen = []
    for key in ("ARROW_RIGHT", "ARROW_RIGHT", "ARROW_LEFT", "END", "ARROW_RIGHT", "HOME", "ARROW_LEFT"):
        page.press(key)
        seen.append(page.frame())
    assert seen == [1, 2, 1, 7, 7, 0, 0]


@in_browser
def test_the_slider_moves_all_that_shows_a_time(page):
    page.open()
    drawn = page.run("return document.querySelector('#accuracy .cursor').getAttribute('d')")
    page.press("ARROW_RIGHT", "ARROW_RIGHT", "ARROW_RIGHT", into="#slider")
    assert page.frame() == 3
    assert page.text("#where") == "Step 10 of 200"
    assert page.find("#slider").get_attribute("aria-valuetext") == "Step 10: 20.0 % without BN, 80.0 % with BN"
    assert page.run("return document.querySelector('#accuracy .cursor').getAttribute('d')") != drawn
    assert page.text("#gradient-3 .plain") == "0.38"
    assert page.text("#update-1 .bn") == "0.13"
    assert page.text("#saturated-2 .plain") == "3 %"


@in_browser
def test_play_runs_to_the_end_and_stops(page):
    page.open(motion="no-preference")
    entries = page.run("return history.length")
    page.click("#play")
    assert page.text("#play") == "Pause"
    page.wait(lambda: page.text("#play") == "Play")
    assert page.frame() == 7
    assert page.state()["frame"] == "7"
    assert page.run("return history.length") == entries


@in_browser
def test_pause_stops_before_the_end_and_the_space_bar_goes_on(page):
    page.open(motion="no-preference")
    page.run("play(); pause()")
    assert page.text("#play") == "Play"
    assert page.frame() == 0
    page.press("SPACE")
    page.wait(lambda: page.text("#play") == "Play" and page.frame() == 7)


@in_browser
def test_with_reduced_motion_there_is_no_play_but_stepping(page):
    page.open(motion="reduce")
    assert not page.visible("#play")
    page.press("SPACE")
    page.press("ARROW_RIGHT")
    assert page.frame() == 1


@in_browser
def test_step_and_accuracy_are_announced_when_paused(page):
    page.open()
    page.click("#last")
    assert page.text("#live") == "Step 200: 95.0 % without BN, 97.0 % with BN"
    assert page.find("#live").get_attribute("aria-live") == "polite"


@in_browser
def test_under_only_below_layer_1_stands_still_and_the_page_says_why(page):
    page.open("#frame=7")
    page.choose("#moves", "below")
    for net in NETS:
        assert page.curves(net, 1, "ghost")[0].strip("M") in page.curves(net, 1)[0]
        assert page.curves(net, 2, "ghost")[0].strip("M") not in page.curves(net, 2)[0]
        assert "stands still" in page.text(f"#{net}-1 .still")
    assert "below it are only the data" in page.text("#note")
    assert "this is internal covariate shift" in page.text("#note")
    page.choose("#moves", "everything")
    assert not page.run("return document.querySelectorAll('.still').length")


@in_browser
def test_through_the_last_weights_layer_1_stands_still_and_the_others_move_further_than_through_the_first(page):
    page.open("#frame=7&moves=below")
    before = [page.caption("plain", layer)[-4:] for layer in (1, 2, 3)]
    page.choose("#moves", "late")
    after = [page.caption("plain", layer)[-4:] for layer in (1, 2, 3)]
    assert [before, after] == [["0.00", "0.50", "1.00"], ["0.00", "0.75", "1.50"]]
    assert "stands still" in page.text("#plain-1 .still")
    assert "in layer 3 without BN it is 1.50, in place of 1.00" in page.text("#note")
    assert page.state()["moves"] == "late"


@in_browser
def test_the_shifts_by_all_that_moves_stand_side_by_side(page):
    page.open("#frame=7&moves=own")
    shown = {
        what: [page.text(f"#shift-{what}-{layer}") for layer in (1, 2, 3)]
        for what in ("everything", "below", "late", "own")
    }
    assert shown == {
        "everything": ["1.00 0.25", "1.50 0.38", "2.00 0.50"],
        "below": ["0.00 0.00", "0.50 0.13", "1.00 0.25"],
        "late": ["0.00 0.00", "0.75 0.19", "1.50 0.38"],
        "own": ["1.00 0.25"] * 3,
    }
    assert page.text("#sparks .shown") == "own weights"
    assert "don't add up" in page.text("#layers")
    page.click("#first")
    assert page.text("#shift-everything-3") == "0.00 0.00"


@in_browser
def test_a_button_leads_from_all_that_moves_to_each_part(page):
    page.open("#frame=7")
    seen = []
    for _ in range(4):
        page.press("ENTER", into="#onward")
        seen.append(page.state()["moves"])
    assert seen == ["below", "late", "own", "everything"]


@in_browser
def test_under_only_own_layer_1_moves_as_with_everything_and_the_others_less(page):
    page.open("#frame=7")
    before = [page.caption("plain", layer) for layer in (1, 2, 3)]
    page.choose("#moves", "own")
    after = [page.caption("plain", layer) for layer in (1, 2, 3)]
    assert after[0] == before[0]
    assert [caption[-4:] for caption in before] == ["1.00", "1.50", "2.00"]
    assert [caption[-4:] for caption in after] == ["1.00"] * 3
    assert "not internal covariate shift" in page.text("#note")


@in_browser
@pytest.mark.parametrize("statistics", ["batch", "running"])
def test_statistics_change_the_network_with_bn_alone_and_the_page_says_so(page, statistics):
    page.open("#frame=7")
    before = {net: page.curves(net, 2) for net in NETS}
    page.choose("#norm", statistics)
    assert page.curves("bn", 2) != before["bn"]
    assert page.curves("plain", 2) == before["plain"]
    assert "Without BN, no change" in page.text("#note")


@in_browser
@pytest.mark.parametrize(
    ("moves", "said"),
    [
        ("everything", "each layer has those of now"),
        ("below", "a layer keeps its first ones"),
        ("late", "a layer has its last ones"),
        ("own", "over layers with their first ones"),
    ],
)
def test_the_page_says_whose_running_averages_a_layer_has(page, moves, said):
    page.open(f"#frame=7&moves={moves}&norm=running")
    assert said in page.text("#note")
    page.choose("#norm", "probe")
    assert said not in page.text("#note")


@in_browser
def test_where_only_statistics_move_layer_1_the_page_does_not_say_that_it_stands_still(page):
    page.open("#frame=7&moves=below&norm=batch")
    assert "stands still" in page.text("#plain-1 .density")
    assert "statistics" in page.text("#bn-1 .density")
    assert "stands still" not in page.text("#note")


@in_browser
def test_all_units_a_dozen_or_one_are_drawn(page):
    page.open("#frame=7")
    numbers = []
    for units in ("all", "dozen", "one"):
        page.choose("#units", units)
        numbers.append(len(page.curves("plain", 2)))
    assert numbers == [1, 3, 1]


@in_browser
def test_the_headings_are_those_of_the_units_shown(page):
    page.open("#frame=7&units=dozen")
    assert page.caption("plain", 3) == "Layer 3: medians 2.0 to 2.8, shifts 2.00\u20132.80"
    page.choose("#units", "one")
    assert page.caption("plain", 3) == "Layer 3, unit 5: shift 2.40, median 2.40 (90 %: 0.8 to 4.0)"
    page.run("location.hash = '#frame=7&units=one&unit=3.1'")
    page.wait(lambda: "unit 1:" in page.caption("plain", 3))
    assert page.caption("plain", 3) == "Layer 3, unit 1: shift 2.00, median 2.00 (90 %: 0.4 to 3.6)"


@in_browser
@pytest.mark.parametrize("by", ["step", "accuracy"])
def test_the_accuracy_chart_moves_the_time(page, by):
    from selenium.webdriver.common.action_chains import ActionChains

    page.open(f"#by={by}")
    chart = page.find("#accuracy svg")
    width, height, right, down = page.run(
        """const { x, y } = accuracyScales(arguments[0]), { width, height } = arguments[0].getBoundingClientRect();
        return [width, height, x(50) - width / 2, y(60) - height / 2]""",
        chart,
    )  # where the network without BN has 60 %, after 50 steps
    pointer = ActionChains(page.driver).move_to_element_with_offset(chart, round(right), round(down))
    pointer.click_and_hold().perform()
    assert page.run("return [stepOf('plain'), Math.round(percentOf('plain'))]") == [50, 60]
    pointer = ActionChains(page.driver).move_to_element_with_offset(chart, int(width / 2) - 3, 3 - int(height / 2))
    pointer.release().perform()
    assert page.run("return stepOf('plain')") == 200


@in_browser
@pytest.mark.parametrize(("link", "said"), [("#frame=2", True), ("#frame=7", False), ("#frame=2&by=accuracy", False)])
def test_where_one_network_alone_has_learned_the_same_accuracy_is_suggested(page, link, said):
    page.open(link)
    assert ("compare at the same accuracy" in page.text("#note")) == said


@in_browser
@pytest.mark.parametrize("width", [390, 1280])
def test_the_charts_stay_where_they_are_when_the_note_changes(page, width):
    page.open("#frame=2", width)
    tops = set()
    for moves in ("everything", "below", "late", "own"):
        for norm in ("probe", "batch", "running"):
            page.run("change({moves: arguments[0], norm: arguments[1]})", moves, norm)
            tops.add(page.run("return document.getElementById('both').getBoundingClientRect().top + scrollY"))
    assert len(tops) == 1


@in_browser
def test_the_networks_can_be_shown_at_the_same_accuracy(page):
    page.open("#frame=5")
    page.choose("#by", "accuracy")
    heads = [page.text(f"#networks h2.{net}") for net in NETS]
    assert heads == ["Without BN, SGD, rate 0.1: step 50, 60.0 %", "With BN, SGD, rate 0.1: step 5, 60.0 %"]
    assert page.text("#where") == "Both have reached 60 %"
    page.click("#last")
    assert page.text("#live") == "95 % at step 200 without BN, 95 % at step 50 with BN"
    page.choose("#by", "step")
    assert page.text("#where") == "Step 200 of 200"


@in_browser
def test_a_network_that_never_learns_stays_at_its_best_at_the_same_accuracy(driver, tmp_path):
    data = recording()
    plain = data["runs"][0]["nets"]["plain"]
    plain["accuracy"], plain["steps_to_90"] = [9, 10, 8, 9, 9, 9, 9, 9], None
    page = Page(driver, write_page(json.dumps(data).encode(), tmp_path / "shift.html").as_uri()).open("#by=accuracy")
    page.click("#last")
    assert page.text("#live") == "10 % at step 2 without BN, 10 % at step 1 with BN"
    assert page.text("#accuracy figcaption .plain") == "never"
    assert driver.get_log("browser") == []


@in_browser
def test_another_run_is_shown_with_its_rates(page):
    page.open("#frame=7")
    page.choose("#run", "1")
    heads = [page.text(f"#networks h2.{net}") for net in NETS]
    assert [" rate 1:" in heads[0], " rate 2:" in heads[1]] == [True, True]
    assert page.state()["run"] == "1"
    options = page.run("return [...document.querySelectorAll('#run option')].map((option) => option.textContent)")
    assert options == [
        "the lesson's: rate 0.1, first weights of std 0.1, 200 steps",
        "each at its own best: rates 1 and 2, first weights of std 0.1, 200 steps",
    ]


@in_browser
def test_the_map_darkens_with_a_unit_s_shift(page):
    page.open()
    opacity = """return [...document.querySelectorAll('#plain-1 .map rect')].map(
        (square) => Number(square.getAttribute('fill-opacity')))"""
    assert page.run(opacity) == [0] * UNITS
    page.click("#last")
    shades = page.run(opacity)
    assert shades == sorted(shades)
    assert shades[-1] > shades[0] > 0


@in_browser
def test_pointing_at_a_unit_shows_it_until_the_pointer_leaves(page):
    from selenium.webdriver.common.action_chains import ActionChains

    page.open("#frame=7")
    ActionChains(page.driver).move_to_element(page.find("#bn-2 .map rect:nth-child(6)")).perform()
    assert page.text("#unit h2") == "Unit 6 of layer 2"
    assert page.visible("#unit")
    assert [len(page.curves(net, 2, "chosen")) for net in NETS] == [1, 1]
    ActionChains(page.driver).move_to_element(page.find("h1")).perform()
    assert not page.visible("#unit")
    assert page.visible("#layers")


@in_browser
def test_a_tapped_unit_stays_until_it_is_closed(page):
    page.open("#frame=7")
    page.click("#plain-3 .map rect:nth-child(4)")
    assert page.state()["unit"] == "3.4"
    assert page.text("#unit-plain h3") == "without BN: shift 2.30"
    page.click("#close")
    assert not page.visible("#unit")
    assert "unit" not in page.state()


@in_browser
def test_units_are_reached_and_left_with_keys(page):
    page.open("#frame=7&unit=2.1")
    page.run("document.querySelector('#plain-2 .map').focus()")
    seen = []
    for key in ("ARROW_RIGHT", "ARROW_DOWN", "ARROW_LEFT", "END", "HOME", "ARROW_UP"):
        page.press(key, into="#plain-2 .map")
        seen.append(page.state()["unit"])
    assert seen == ["2.2", "2.5", "2.4", "2.9", "2.1", "2.1"]
    assert page.frame() == 7
    assert page.find("#plain-2 .map").get_attribute("aria-valuetext") == "unit 1, shift 1.50"
    page.press("ESCAPE", into="#plain-2 .map")
    assert not page.visible("#unit")


@in_browser
def test_a_unit_comes_with_its_percentiles_and_the_images_at_both_ends(page):
    page.open("#frame=7&unit=1.3")
    assert page.run("return document.querySelectorAll('#unit-bn .band').length") == 2
    assert "now \u22121.2, \u22120.2, 0.4, 1.1, 2.1" in page.find("#unit-bn svg").get_attribute("aria-label")
    grey = """return [...document.querySelectorAll('#unit-plain canvas')].map(
        (canvas) => canvas.getContext('2d').getImageData(0, 0, 1, 1).data[0])"""
    assert page.run(grey) == [255 - 160] * 4 + [255 - 80] * 4  # unit 3: the third image is lowest, the second highest


@in_browser
def test_a_guess_is_made_with_keys_and_compared_with_the_end(page):
    page.open("")
    page.press(*["ARROW_RIGHT"] * 15, into="#guess-plain-median")
    page.press(*["ARROW_LEFT"] * 5, into="#guess-bn-spread")
    assert page.text("#guesses output") == "1.5"
    page.press("ENTER", into="#compare")
    assert page.frame() == 7
    note = page.text("#note")
    assert "without BN the median is at 2.0 (your guess 1.5: 0.5 off)" in note
    assert "with BN the median is at 0.5 (your guess 0.0: 0.5 off)" in note
    assert "90 % lie within \u00b11.6 (your guess 0.5: 1.1 off)" in note
    assert page.run("return document.querySelectorAll('#plain-3 .truth').length") == 2
    assert "With BN the spread grew, too (\u00b10.8 to \u00b11.6)" in note
    page.choose("#by", "accuracy")  # its last frame with BN is an earlier one; the end stays the end
    page.click("#last")
    assert "with BN the median is at 0.5" in page.text("#note")
    page.choose("#units", "one")
    assert not page.run("return document.querySelectorAll('.guess, .truth').length")
    page.choose("#units", "all")
    page.press("ARROW_LEFT")
    assert "your guess" not in page.text("#note")


@in_browser
def test_after_the_comparison_a_button_leads_to_the_layers_below(page):
    page.open("")
    page.click("#compare")
    assert "don't add up" in page.text("#note")
    page.click("#onward")
    assert page.state()["moves"] == "below"
    assert page.frame() == 7
    assert "stands still" in page.text("#note")


@in_browser
@pytest.mark.parametrize(("start", "by", "guess"), [(0.0, 1.5, ["1.5", "1.0"]), (1.0, 1.0, ["0.0", "2.0"])])
def test_a_guess_is_dragged_in_the_cell(page, start, by, guess):
    from selenium.webdriver.common.action_chains import ActionChains

    page.open("")
    cell = page.find("#plain-3 .density")
    width = page.run("return arguments[0].clientWidth", cell) / (2 * EDGE)
    chain = ActionChains(page.driver).move_to_element_with_offset(cell, round(start * width), 0).click_and_hold()
    chain.move_by_offset(round(by * width), 0).release().perform()
    said = [page.text(f"#guess-plain-{what} + output") for what in ("median", "spread")]
    assert [float(text) for text in said] == pytest.approx([float(text) for text in guess], abs=0.11)


@in_browser
def test_play_and_compare_plays_first(page):
    page.open("", motion="no-preference")
    page.click("#compare")
    assert page.text("#play") == "Pause"
    assert "(your guess" not in page.text("#note")
    page.wait(lambda: page.text("#play") == "Play")
    assert "(your guess" in page.text("#note")


@in_browser
@pytest.mark.parametrize("act", [lambda page: page.click("#play"), lambda page: page.press("SPACE")])
def test_playing_compares_the_guess_as_it_stands(page, act):
    page.open("", motion="no-preference")
    act(page)
    assert not page.visible("#predict")
    assert "Watch layer 3" in page.text("#note")
    page.wait(lambda: page.text("#play") == "Play")
    assert "(your guess 0.0: 2.0 off)" in page.text("#note")


@in_browser
def test_on_a_phone_the_guess_stands_beside_the_last_layer_and_so_does_the_comparison(page):
    page.open("", 390, 844)
    seen = [[page.visible(f"#plain-{layer} .density") for layer in (1, 3)]]
    page.run("document.getElementById('compare').click()")
    seen.append([page.visible(f"#plain-{layer} .density") for layer in (1, 3)])
    assert seen == [[False, True]] * 2
    bottom = "return document.querySelector('#plain-3 .density').getBoundingClientRect().bottom"
    assert page.run(bottom) <= 844
    assert page.run("return document.getElementById('note').getBoundingClientRect().top") > 0
    page.run("document.getElementById('onward').click()")
    assert page.visible("#plain-1 .density")


@in_browser
@pytest.mark.parametrize("act", [lambda page: page.click("#skip"), lambda page: page.press("ARROW_RIGHT")])
def test_a_guess_need_not_be_made(page, act):
    page.open("")
    act(page)
    assert not page.visible("#predict")
    assert page.visible("#choices")
    page.press("END")
    assert "your guess" not in page.text("#note")


STATE = {"frame": "3", "moves": "own", "norm": "batch", "run": "1", "units": "dozen", "by": "accuracy", "unit": "2.5"}


@in_browser
def test_a_link_leads_to_its_state(page):
    page.open("#" + "&".join(f"{name}={value}" for name, value in STATE.items()))
    assert not page.visible("#predict")
    page.press("ARROW_RIGHT")
    assert page.state() == {**STATE, "frame": "4"}
    page.run("location.hash = '#frame=2&moves=below'")
    page.wait(lambda: page.frame() == 2)
    assert "stands still" in page.text("#note")


@in_browser
@pytest.mark.parametrize(
    ("link", "frame"),
    [("#frame=999", 7), ("#frame=-1", 0), ("#elsewhere", 0), ("#run=9&moves=x&norm=&units=1&unit=4.1", 0)],
)
def test_a_link_to_no_state_leads_to_the_nearest_or_the_start(page, link, frame):
    page.open(link)
    assert page.frame() == frame
    assert not page.visible("#unit")
    assert page.run("return document.querySelector('#moves :checked').value") == "everything"


@in_browser
def test_everything_can_be_reached_with_the_keyboard_alone(page):
    from selenium.webdriver.common.keys import Keys

    page.open(motion="no-preference")
    reached = []
    for _ in range(18):
        page.driver.switch_to.active_element.send_keys(Keys.TAB)
        reached.append(
            page.run("const at = document.activeElement; return at.id || at.value || at.closest('figure').id")
        )
    controls = [
        "first",
        "previous",
        "play",
        "next",
        "last",
        "slider",
        "everything",
        "units",
        "by",
        "norm",
        "run",
        "onward",
    ]
    assert reached == [*controls, *(f"{net}-{layer}" for layer in (1, 2, 3) for net in NETS)]
    assert page.text("#unit h2").endswith("of layer 3")


@in_browser
def test_on_a_projector_cells_controls_and_accuracy_are_in_sight_and_no_text_is_small(page):
    page.open("#frame=7&moves=below&norm=batch", 1280, 720)
    lowest = """return Math.max(...["#controls", "#choices", "#note", "#plain-3", "#bn-3",
        "#accuracy", "#layers", "#legend"].map(
        (selector) => document.querySelector(selector).getBoundingClientRect().bottom))"""
    assert page.run(lowest) <= 720
    sizes = """return [...document.querySelectorAll("body *")].filter((node) => node.checkVisibility()
        && [...node.childNodes].some((part) => part.nodeType === 3 && part.data.trim())).map(
        (node) => parseFloat(getComputedStyle(node).fontSize))"""
    assert min(page.run(sizes)) >= 14


@in_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 390, 800, 1280])
def test_the_page_fits_phones_and_projectors_in_light_and_dark(page, width, scheme):
    page.open("#frame=7&unit=2.5", width, 844, scheme)
    assert page.run("return document.documentElement.scrollWidth <= arguments[0]", width)
    colours = """const luminance = (colour) => {
            const [r, g, b] = colour.match(/[\\d.]+/g).map((value) => (value / 255) ** 2.2);
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const back = luminance(getComputedStyle(document.body).backgroundColor);
        return ["body", ".soft", "h2.plain", "h2.bn", "#note"].map((selector) => {
            const front = luminance(getComputedStyle(document.querySelector(selector)).color);
            return (Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05);
        })"""
    assert min(page.run(colours)) > 4.5  # the contrast that WCAG 2 asks for


@in_browser
def test_on_paper_stand_the_first_and_the_last_frame_without_controls(page):
    page.open("#frame=2")
    page.media("print")
    page.wait(lambda: page.frame() == 7)
    assert [page.visible(selector) for selector in ("#controls", "#choices", "#plain-1", "#accuracy")] == [
        False
    ] * 2 + [True] * 2
    assert page.curves("plain", 1, "ghost") != page.curves("plain", 1)
    page.media("")
    page.wait(lambda: page.frame() == 2)


@in_browser
def test_an_injected_script_would_not_run(page):
    page.open()
    page.run("document.body.insertAdjacentHTML('beforeend', '<i onclick=\"window.ran = true\">i</i>')")
    page.run("document.querySelector('i').dispatchEvent(new MouseEvent('click', {bubbles: true}))")
    assert page.run("return window.ran") is None
    (message,) = page.driver.get_log("browser")
    assert "Content Security Policy" in message["message"]


@in_browser
def test_names_in_the_data_are_just_names(driver, tmp_path):
    data, bad = recording(), "</script><img src=x onerror=alert(1)>"
    data["meta"]["data"] = data["runs"][0]["title"] = bad
    page = Page(driver, write_page(json.dumps(data).encode(), tmp_path / "shift.html").as_uri()).open()
    assert page.text("#about").startswith(bad)
    assert page.text("#run option").startswith(bad)


@in_browser
def test_the_page_shows_what_the_lesson_measures(driver, tmp_path):
    data, setting = shift.hold_out(load_digits()), shift.Setting(SGD, 1, 0.3)
    runs = {name: shift.train(shift.Run(data, name == "bn", setting), data, 30, 60, 0) for name in NETS}
    images, meta = data.x_test[:50], {"data": "digits", "steps": 30, "batch_size": 60, "seed": 0}
    recorded = shift.page_data([{"title": "short", "note": "", **runs}], data, images, meta)
    page = Page(driver, write_page(recorded, tmp_path / "shift.html").as_uri()).open(
        "#frame=999&unit=3.100&units=dozen"
    )
    for name, run in runs.items():
        moved = shift.decomposition(run.first, run.last, images)
        moved["late"] = moved["below, late weights"]
        for what in ("everything", "below", "late", "own"):
            page.choose("#units", "all")
            page.choose("#moves", what)
            shown = [float(page.caption(name, layer).split()[-1]) for layer in (1, 2, 3)]
            assert shown == pytest.approx(list(moved[what]), abs=0.01)
    page.choose("#units", "dozen")
    assert len(page.curves("plain", 1)) == 12
    assert page.run("return document.querySelectorAll('#unit-bn canvas').length") == 8
    assert driver.get_log("browser") == []
