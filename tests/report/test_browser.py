"""The report in a real browser: headless Chromium, driven by selenium.

To look at a state by eye, no script is needed, for the address holds it:
chromium --headless --no-sandbox --screenshot=a.png --window-size=1280,1600 'report.html#examples-…'
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from report_page import Page
from report_subject import HOSTILE, made_up, softmax

from msdkit.report.charts import styles
from msdkit.report.page import Part, page
from msdkit.report.subject import Subject

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="needs Debian's packages chromium and chromium-driver"
)


@pytest.fixture(scope="module")
def subjects(tmp_path_factory: pytest.TempPathFactory) -> list[Subject]:
    folder = tmp_path_factory.mktemp("made")
    return [
        made_up(folder / "one", name="made"),
        made_up(folder / "other", "multi_label", name="made_up", count=20, classes=12),
    ]


@pytest.fixture(scope="module")
def address(subjects: list[Subject], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The report as a file."""
    look = styles(dict.fromkeys(m.name for m in subjects[0].methods))
    parts = [Part(s, look, f"data-{i}-{s.name}", 0) for i, s in enumerate(subjects)]
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(page(parts, None, "Made up"), encoding="utf-8")
    return path.as_uri()


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    yield browser
    browser.quit()


@pytest.fixture(scope="module")
def made(driver: Any, address: str) -> Page:
    """The first data set's; the page is loaded once, as far as that will do."""
    driver.get(address + "#examples-made?page=1")
    return Page(driver, "examples-made")


def right(subject: Subject, name: str) -> np.ndarray:
    """[N]: whether most seeds are right."""
    (method,) = [m for m in subject.methods if m.name == name]
    hits = [
        r.logits["multimodal"].numpy().argmax(-1) == subject.labels.numpy() for r in method.runs
    ]
    return np.mean(hits, 0) > 0.5


def names(chosen: Any) -> list[str]:
    """The ids of rows, given as numbers or as a mask."""
    chosen = np.asarray(chosen)
    return [f"x{i}" for i in (np.flatnonzero(chosen) if chosen.dtype == bool else chosen)]


def test_it_loads_without_errors_and_asks_the_network_nothing(made: Page) -> None:
    assert made.driver.get_log("browser") == []
    sent = [json.loads(entry["message"])["message"] for entry in made.driver.get_log("performance")]
    asked = {
        entry["params"]["request"]["url"].partition(":")[0]
        for entry in sent
        if entry["method"] == "Network.requestWillBeSent"
    }
    assert asked == {"file", "data"}
    assert made.run("return root.querySelector('img').naturalWidth") == 96
    assert made.driver.execute_script("return window.hacked") is None


def test_texts_from_outside_are_shown_as_texts(made: Page) -> None:
    made.set(q="number 1<")
    assert made.ids == ["x1"]
    assert HOSTILE in made.run("return root.querySelector('.ex-text').textContent")


def test_filters(made: Page, subjects: list[Subject]) -> None:
    subject = subjects[0]
    labels = subject.labels.numpy()
    saliency = np.stack([subject.saliency[m].numpy() for m in subject.modalities], 1)
    most = np.array(subject.modalities)[saliency.argmax(1)]
    kd, msd = right(subject, "kd"), right(subject, "msd_saliency")
    rows = np.arange(130)
    assert made.set().ids == names(rows)
    assert made.set(label="2").ids == names(labels == 2)
    assert made.set(dominant="audio").ids == names(most == "audio")
    assert made.set(slice="every ninth").ids == names(rows % 9 == 0)
    assert made.set(q="BLUE 7").ids == names([i for i in rows if i % 5 == 2 and "7" in str(i)])
    assert made.set(a_is="wrong", b_is="right").ids == names(~kd & msd)
    assert made.set(a="plain", a_is="right").ids == names(right(subject, "plain"))
    both = made.set(label="1", dominant="text", b_is="wrong")
    assert both.ids == names((labels == 1) & (most == "text") & ~msd)
    assert made.set(q="nothing such").ids == []
    assert made.count == "0 of 130 examples"


def test_the_buttons_of_the_pair(made: Page, subjects: list[Subject]) -> None:
    kd, plain = right(subjects[0], "kd"), right(subjects[0], "plain")
    made.set(b="plain")
    texts = "return [...root.querySelectorAll('[data-pair]')].map((b) => b.textContent)"
    assert made.run(texts) == ["kd wrong, plain right", "kd right, plain wrong"]
    made.click("[data-pair='right wrong']")
    assert made.ids == names(kd & ~plain)
    assert made.count == f"{(kd & ~plain).sum()} of 130 examples"
    made.click("[data-pair='right wrong']")
    assert len(made.ids) == 130


def test_sorting(made: Page, subjects: list[Subject]) -> None:
    subject = subjects[0]
    image = subject.saliency["image"].numpy()
    p = softmax([r.logits["multimodal"].numpy() for r in subject.methods[1].runs])
    loss = -np.log(p[:, np.arange(130), subject.labels.numpy()]).mean(0)
    teacher = softmax(subject.teacher["multimodal"].numpy())
    apart = (teacher * np.log(teacher / p)).sum(-1).mean(0)
    assert made.set(sort="saliency:image").ids == names(np.argsort(-image))
    assert made.set(sort="loss:kd").ids == names(np.argsort(-loss))
    assert made.set(sort="divergence:kd").ids == names(np.argsort(-apart))
    assert made.set(sort="loss:kd", reverse="on").ids == names(np.argsort(loss))


def test_keys_lead_from_card_to_card(made: Page) -> None:
    from selenium.webdriver.common.keys import Keys

    made.set()
    columns = made.run(
        "const tops = [...root.querySelectorAll('.ex-cards > li')].map((li) => li.offsetTop);"
        "return tops.filter((top) => top === tops[0]).length"
    )
    assert columns > 1
    made.run("root.querySelector('[data-turn=\"1\"]').focus()")
    made.press(Keys.TAB)
    assert made.focused == "x0"
    made.press("j", Keys.ARROW_RIGHT, "k")
    assert made.focused == "x1"
    made.press(Keys.ARROW_DOWN)
    assert made.focused == f"x{1 + columns}"
    made.press(Keys.ARROW_UP, *["j"] * 47)
    assert made.focused == "x48"  # on the next page
    assert made.run("return root.querySelectorAll('.ex-card').length") == 48
    made.press("k")
    assert made.focused == "x47"


def test_keys_open_and_close_the_details(made: Page, subjects: list[Subject]) -> None:
    from selenium.webdriver.common.keys import Keys

    made.set()
    made.run("root.querySelector('.ex-card').focus()")
    made.press(Keys.ENTER)
    assert made.opened == "x0"
    made.press("j", Keys.ARROW_RIGHT)
    assert made.opened == "x2"
    details = made.run("return root.querySelector('.ex-details').innerText")
    assert "audio: float32, 4 × 4" in details
    for method in subjects[0].methods:
        p = np.mean([softmax(r.logits["text"][2].numpy()) for r in method.runs], 0)
        assert all(f"{100 * share:.0f} %" in details for share in p)
    weights = subjects[0].methods[2].weights[2]
    assert all(f"{weight:.2f}" in details for weight in weights.tolist())
    made.press(Keys.ESCAPE)
    assert made.opened is None
    assert made.focused == "x2"


def test_all_controls_are_reached_by_tab_and_have_names(made: Page) -> None:
    from selenium.webdriver.common.keys import Keys

    made.set()
    made.run("root.querySelector('[name=q]').focus()")
    reached = []
    while not made.focused:
        active = made.driver.switch_to.active_element
        reached.append(active.get_attribute("name") or active.get_attribute("textContent").strip())
        assert active.accessible_name
        made.press(Keys.TAB)
    fields = ["q", "label", "dominant", "slice", "sort", "reverse", "Clear all"]
    pair = ["a", "a_is", "b", "b_is", "kd wrong, msd_saliency right"]
    assert reached == [*fields, *pair, "kd right, msd_saliency wrong", "›"]


def test_the_address_keeps_a_view(made: Page) -> None:
    made.set(label="2", sort="loss:kd", b="plain", q="number")
    expected = made.ids
    made.run("root.querySelectorAll('.ex-card')[1].click()")
    made.driver.refresh()
    assert made.opened == expected[1]
    made.click("[data-close]")
    assert made.ids == expected
    assert made.run("return root.querySelector('[name=b]').value") == "plain"


def test_each_data_set_has_its_own(made: Page, subjects: list[Subject]) -> None:
    other = Page(made.driver, "examples-made_up")
    made.set()
    made.run("location.hash = '#examples-made_up?label=5&b=nobody'")
    assert other.ids == names(subjects[1].labels.numpy()[:, 5] > 0)
    assert other.run("return root.checkVisibility()")
    assert not made.run("return root.checkVisibility()")
    assert len(made.ids) == 130
    made.run("location.hash = '#examples-made?page=1'")
    assert made.run("return root.checkVisibility()")


def test_a_phone_needs_no_scrolling_sideways(made: Page) -> None:
    phone = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    made.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    widths = {}
    for tab in made.driver.find_elements("css selector", "[role=tab]"):
        if tab.is_displayed():
            made.driver.execute_script("arguments[0].click()", tab)
            across = "return document.documentElement.scrollWidth"
            widths[tab.text] = made.driver.execute_script(across)
    made.run("location.hash = ''; location.hash = '#examples-made?open=x3'")
    assert made.opened == "x3"
    dialog = made.run("return root.querySelector('.ex-details').scrollWidth")
    made.click("[data-close]")
    made.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert {"Overview", "Modalities", "Examples", "made", "made_up"} <= set(widths)
    assert set(widths.values()) == {390}, widths
    assert dialog <= 390


def test_the_theme_can_be_changed(made: Page) -> None:
    def colours() -> list[str]:
        return made.run(
            "return [document.body, root.querySelector('.ex-card')]"
            ".map((node) => getComputedStyle(node).backgroundColor)"
        )

    theme = made.driver.find_element("id", "theme")
    before = colours()
    theme.click()
    assert all(a != b for a, b in zip(before, colours(), strict=True))
    theme.click()
    assert colours() == before
    assert made.driver.get_log("browser") == []
