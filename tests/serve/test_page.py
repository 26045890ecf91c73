"""The actions of a reader on the page, in a browser, against a server of made data."""

from collections.abc import Iterator
import csv
from pathlib import Path

import pytest

from tests.serve.browser import Page, chromium
from tests.serve.stub import COUNT, HOSTILE, ITEMS, OTHER, SAMPLES, Stub, explain, stub

STORY = "#h=3,14,15,92,65&t=129"
UP, DOWN, LEFT, ENTER, ESCAPE, TAB = "\ue013", "\ue015", "\ue012", "\ue007", "\ue00c", "\ue004"


def _asked(model: str, history: list[str], **other: object) -> dict:
    question = {"model": model, "history": history, "k": 10, "steps": None, "exclude_seen": True}
    return explain(question | other)


def _shares(weights: list[float]) -> list[str]:
    """As the page writes them, newest first."""
    return [
        "< 0.1 %" if w < 0.001 else f"{100 * w:.2g} %" if w < 0.0995 else f"{100 * w:.0f} %"
        for w in reversed(weights)
    ]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with chromium(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture(scope="module")
def _one() -> Iterator[Stub]:
    with stub(["prl"]) as server:
        yield server


@pytest.fixture(scope="module")
def _three() -> Iterator[Stub]:
    with stub(["prl", "erl", "base"]) as server:
        yield server


@pytest.fixture(scope="module")
def with_other() -> Iterator[Stub]:
    with stub(["prl", OTHER, "erl", "base"]) as server:
        yield server


@pytest.fixture
def one(_one: Stub, browser: Page) -> Stub:
    _one.reset()
    return _one


@pytest.fixture
def three(_three: Stub, browser: Page) -> Stub:
    _three.reset()
    return _three


def test_search_and_click_build_a_history(browser: Page, one: Stub) -> None:
    browser.open(one.origin)
    assert "no history yet" in browser.text(".facts")
    browser.search("brass comb")
    assert all("Brass Comb" in text for text in browser.texts("#found .title"))
    browser.one("#found [role=option]").click()
    browser.search("amber")
    browser.one("#found [role=option]").click()
    browser.settle()
    ids = browser.ids("#history > li")
    assert len(ids) == 2 and browser.hash == f"#h={','.join(ids)}"
    assert browser.ids(".list.now ol > li") == _asked("prl", ids)["steps"][-1]["ids"]


def test_all_by_keyboard(browser: Page, one: Stub) -> None:
    browser.open(one.origin)
    browser.press(TAB, TAB)  # past the link that skips to the lists
    assert browser.focused == "search"
    browser.open(one.origin, "#h=14,15&k=20")
    browser.press(TAB, ENTER)
    assert browser.focused == "Recommendations"
    assert browser.hash == "#h=14,15&k=20" and browser.ids("#history > li") == ["14", "15"]
    browser.open(one.origin)
    browser.press(TAB, TAB)
    browser.search("velvet")
    browser.press(DOWN, UP, DOWN)
    chosen = browser.one("#search").get_attribute("aria-activedescendant")
    assert browser.one(f"#{chosen}").get_attribute("aria-selected") == "true"
    title = browser.text(f"#{chosen} .title")
    browser.press(ENTER)
    browser.settle()
    assert browser.texts("#history .title") == [title] and browser.focused == "search"
    browser.search("quiet")
    browser.press(ESCAPE)
    assert not browser.one("#found").is_displayed()
    browser.press(ESCAPE, "lamp")
    browser.until(lambda: browser.texts("#found [role=option]"), "items found")
    browser.press(ENTER, TAB)
    browser.settle()
    assert browser.focused == f"Move {title} later"  # the first that can be pressed
    browser.press(ENTER)
    browser.settle()
    assert browser.texts("#history .title")[1] == title
    assert browser.focused == f"Move {title} earlier"  # it stays with the item; it is the last one
    browser.press(LEFT)
    assert "After step 2" in browser.text(".facts")
    browser.js("document.querySelector('.list.now ol button').focus()")
    browser.press(DOWN)
    name = browser.texts(".list.now ol .title")[1].removesuffix(" new")
    assert browser.focused == f"Add {name} to the history"
    browser.press(ENTER)
    browser.settle()
    assert len(browser.all("#history > li")) == 3


def test_history_is_moved_removed_and_cleared(browser: Page, one: Stub) -> None:
    browser.open(one.origin, "#h=14,15,92")
    browser.all("#history .up")[2].click()
    browser.settle()
    assert browser.ids("#history > li") == ["14", "92", "15"]
    browser.all("#history .cross")[0].click()
    browser.settle()
    assert browser.hash == "#h=92,15"
    browser.one("#clear").click()
    browser.settle()
    assert browser.hash == "" and "most frequent in training" in browser.text(".facts")


def test_sample_user_with_what_came_next(browser: Page, one: Stub) -> None:
    browser.open(one.origin)
    browser.until(lambda: browser.one("#sample").is_displayed(), "sample users")
    browser.one("#sample").click()
    browser.settle()
    target = SAMPLES[0]["target"]
    assert browser.ids("#history > li") == [item["id"] for item in SAMPLES[0]["history"]]
    assert target["title"] in browser.text("#target")
    history = [item["id"] for item in SAMPLES[0]["history"]]
    ranks = _asked("prl", history, k=100)["ranks"][target["id"]]
    assert f"rank {' → '.join(map(str, ranks))}" in browser.text(".next")
    assert browser.ids(".line.is-target") == [target["id"]]
    browser.one("#sample").click()
    browser.settle()
    assert browser.ids("#history > li") == [item["id"] for item in SAMPLES[1]["history"]]


def test_chart_and_lists_hold_every_item(browser: Page, one: Stub) -> None:
    browser.open(one.origin, "#h=14,15,92")
    answer = _asked("prl", ["14", "15", "92"])
    lines = browser.ids("svg[role=img] .line")
    assert sorted(lines) == sorted(answer["ranks"]) and len(lines) > 10
    for number, step in enumerate(answer["steps"]):
        browser.all("#track button")[number].click()
        assert browser.ids(".list.now ol > li") == step["ids"]
        assert browser.texts(".list.now .score") == [f"{score:.3f}" for score in step["scores"]]
        assert sorted(browser.ids(".list.now li.new")) == sorted(step["entered"])
        assert sorted(browser.ids(".list.now .gone [data-item]")) == sorted(step["left"])
        shares = [text.replace("\xa0", " ") for text in browser.texts(".attention .value")]
        assert shares == _shares(step["attention"])
        assert browser.text(".sharpness tr.now th") == str(number)


def test_play_goes_through_the_steps(browser: Page, one: Stub) -> None:
    browser.open(one.origin, "#h=14,15&steps=1")
    assert "After step 1" in browser.text(".facts")
    browser.one("#play").click()
    assert "Before reasoning" in browser.text(".facts") and "Pause" in browser.text("#play")
    browser.until(lambda: "After step 1" in browser.text(".facts"), "step 1")
    browser.until(lambda: "Play" in browser.text("#play"), "the end")


def test_item_is_marked_everywhere(browser: Page, one: Stub) -> None:
    browser.open(one.origin, "#h=14,15")
    item = browser.ids(".list.now ol > li")[0]
    browser.js("document.querySelector('.list.now ol button').focus()")
    assert browser.ids(".line.lit") == [item]
    assert set(browser.ids(".list li.lit")) == {item}
    assert "rank" in browser.text(".readout")
    browser.resize(1000)  # draws the chart again
    browser.until(lambda: browser.js("return innerWidth") == 1000, "1000 pixels")
    assert browser.ids(".line.lit") == [item]


def test_options_reach_the_server(browser: Page, one: Stub) -> None:
    browser.open(one.origin, "#h=14,15,92")
    browser.one("#k [value='20']").click()
    browser.settle()
    browser.one("#steps [value='1']").click()
    browser.settle()
    browser.one("#exclude-seen").click()
    browser.settle()
    assert browser.hash == "#h=14,15,92&k=20&steps=1&seen=1"
    answer = _asked("prl", ["14", "15", "92"], k=20, steps=1, exclude_seen=False)
    assert browser.ids(".list.now ol > li") == answer["steps"][1]["ids"]


def test_models_side_by_side_or_one_a_tab(browser: Page, three: Stub) -> None:
    tops = "return [...document.querySelectorAll('.bumps')].map(n => n.getBoundingClientRect().top)"
    browser.open(three.origin, STORY)
    assert browser.texts(".model h2") == ["prl on sasrec", "erl on sasrec", "base on sasrec"]
    assert len(set(browser.js(tops))) == 1 and not browser.one("#tabs").is_displayed()
    browser.press(LEFT, LEFT)  # erl, of two steps, shows its step 1; base has one list
    said = browser.texts(".facts")
    assert "After step 1" in said[0] and "After step 1" in said[1] and "One list" in said[2]
    browser.open(three.origin, STORY, width=360)
    assert browser.texts("#tabs button") == ["prl on sasrec", "erl on sasrec", "base on sasrec"]
    for number, tab in enumerate(browser.all("#tabs button")):
        tab.click()
        assert [one.is_displayed() for one in browser.all(".model")] == [
            place == number for place in range(3)
        ]
        assert browser.all(".model")[number].find_element("css selector", ".line").is_displayed()
    browser.one("#options summary").click()
    browser.one("#models [value=erl]").click()
    browser.settle()
    assert browser.texts(".model h2") == ["prl on sasrec", "base on sasrec"]
    assert browser.hash == f"{STORY}&m=prl,base"


def test_play_and_tabs_stay_on_a_phone_while_the_lists_are_scrolled(
    browser: Page, three: Stub
) -> None:
    browser.open(three.origin, STORY, width=360)
    places = "return ['#play', '#tabs'].map(name => {"
    places += " const box = document.querySelector(name).getBoundingClientRect();"
    places += " return box.top >= 0 && box.bottom <= innerHeight })"
    for part in (".bumps", ".list.now li:last-child", ".attention"):
        browser.js(f"document.querySelector('.chosen {part}').scrollIntoView({{block: 'end'}})")
        assert browser.js(places) == [True, True], part


def test_model_of_other_items_gives_its_place_to_one_that_knows_the_history(
    browser: Page, with_other: Stub
) -> None:
    ticked = "return [...document.querySelectorAll('#models :checked')].map(box => box.value)"
    browser.open(with_other.origin)  # without a history nobody is a stranger
    assert browser.js(ticked) == ["prl", "other", "erl"]
    browser.open(with_other.origin, STORY)
    assert browser.js(ticked) == ["prl", "erl", "base"]
    assert browser.texts(".model h2") == ["prl on sasrec", "erl on sasrec", "base on sasrec"]
    browser.one("#models [value=other]").click()  # who wants it has it
    browser.settle()
    assert browser.js(ticked) == ["prl", "other", "erl", "base"]
    browser.open(with_other.origin, "#h=nobody")
    assert browser.js(ticked) == ["prl", "other", "erl"]


def test_scores_as_shares_of_the_choice(browser: Page, one: Stub) -> None:
    browser.open(one.origin, f"#h=14,15,92&k={100}")
    browser.one("#scores [value=share]").click()
    browser.settle()
    assert "score=share" in browser.hash
    step = _asked("prl", ["14", "15", "92"], k=100)["steps"][-1]
    shown = [float(text[:-2].replace("<", "")) for text in browser.texts(".list.now .score")]
    assert shown == sorted(shown, reverse=True)
    assert sum(shown) == pytest.approx(100 * step["top_share"], rel=0.02)


def test_sharpness_is_of_all_items_or_of_the_candidates(browser: Page, one: Stub) -> None:
    browser.open(one.origin, "#h=14,15")
    assert f"of {COUNT} items" in browser.text(".facts")
    browser.one("#options")
    browser.one("#candidates").send_keys("1, 2, 3,4\n5", TAB)
    browser.settle()
    assert "of 5 items" in browser.text(".facts") and "c=1,2,3,4,5" in browser.hash
    assert sorted(browser.ids(".list.now ol > li")) == ["1", "2", "3", "4", "5"]


def test_items_are_left_out_by_id(browser: Page, one: Stub) -> None:
    browser.open(one.origin, "#h=14,15")
    first, second, *_ = browser.ids(".list.now ol > li")
    browser.one("#exclude").send_keys(f"{first}, {second}", TAB)
    browser.settle()
    assert not {first, second} & set(browser.ids(".list li"))
    browser.open(one.origin, browser.hash)
    assert browser.one("#exclude").get_property("value") == f"{first}, {second}"


def test_attention_tells_its_step_and_the_places_of_equal_titles(browser: Page, one: Stub) -> None:
    browser.open(one.origin, "#h=14,nobody,15,14")
    assert browser.texts(".attention .place") == ["4", "3", "1"]  # the second is unknown
    for step in range(4):
        browser.all("#track button")[step].click()
        assert browser.text(".attention h3") == f"Where step {step} looks"


def test_different_items_of_one_title_show_their_ids(browser: Page, one: Stub) -> None:
    browser.open(one.origin, "#h=14,15&k=50")
    titles = browser.texts(".list.now ol .title")
    ids = browser.ids(".list.now ol > li")
    plain = [ITEMS[int(id_)]["title"] for id_ in ids]
    assert len(set(plain)) < len(plain)  # the made titles repeat
    assert len({title.removesuffix(" new") for title in titles}) == len(titles)


def test_list_is_copied_and_saved(browser: Page, one: Stub, tmp_path: Path) -> None:
    browser.open(one.origin, "#h=14,15")
    step = _asked("prl", ["14", "15"])["steps"][-1]
    where = {"behavior": "allow", "downloadPath": str(tmp_path)}
    browser.driver.execute_cdp_cmd("Browser.setDownloadBehavior", where)
    browser.one(".list.now .download").click()
    file = tmp_path / "prl-step3.csv"
    browser.until(file.exists, "the file")
    with file.open(newline="", encoding="utf-8") as lines:
        head, *rows = csv.reader(lines)
    assert head == ["rank", "id", "title", "score"]
    assert [row[1] for row in rows] == step["ids"] and [row[2] for row in rows] == step["titles"]
    assert [float(row[3]) for row in rows] == step["scores"]
    granted = {"origin": one.origin, "permissions": ["clipboardReadWrite"]}
    browser.driver.execute_cdp_cmd("Browser.grantPermissions", granted)
    browser.one(".list.now .copy").click()
    browser.until(lambda: "copied" in browser.text("#news"), "the copy")
    text = browser.driver.execute_async_script("navigator.clipboard.readText().then(arguments[0])")
    assert [line.split("\t")[1] for line in text.splitlines()[1:]] == step["ids"]


@pytest.mark.parametrize("story", ["", STORY, f"{STORY}&k=50"])
def test_phone_is_never_too_narrow(browser: Page, three: Stub, story: str) -> None:
    browser.open(three.origin, story, width=360)
    browser.one("#search").click()
    browser.until(lambda: browser.all("#found [role=option]"), "items found")
    assert browser.js("return document.documentElement.scrollWidth") <= 360
    wide = "return [...document.querySelectorAll('body *')].filter(n => n.checkVisibility() &&"
    wide += " n.getBoundingClientRect().right > 361 && !n.closest('svg')).map(n => n.outerHTML)"
    assert browser.js(wide) == []


CONTRAST = """
const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
const rgb = (colour) => {
  canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
  return [...canvas.getImageData(0, 0, 1, 1).data];
};
const part = (c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
const light = ([r, g, b]) => 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
const ground = (node) => {
  for (; node; node = node.parentElement) {
    const colour = rgb(getComputedStyle(node).backgroundColor);
    if (colour[3] === 255) return colour;
  }
  return [255, 255, 255];
};
const texts = [...document.querySelectorAll("body *")].filter((node) => node.checkVisibility() &&
  !node.matches(":disabled, .later *, .rank") &&
  [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim()));
return texts.flatMap((node) => {
  const style = getComputedStyle(node);
  const ink = node instanceof SVGElement ? style.fill : style.color;
  const [a, b] = [light(rgb(ink)), light(ground(node))].sort((x, y) => y - x);
  const ratio = (a + 0.05) / (b + 0.05);
  return ratio < 4.5 ? [`${ratio.toFixed(2)} ${node.outerHTML.slice(0, 80)}`] : [];
});
"""


@pytest.mark.parametrize("dark", [False, True])
def test_text_can_be_read_in_light_and_dark(browser: Page, three: Stub, dark: bool) -> None:
    browser.open(three.origin, STORY, dark=dark)
    ground = browser.js("return getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(23, 25, 27)" if dark else "rgb(255, 255, 255)")
    assert browser.js(CONTRAST) == []
    browser.js("document.querySelector('.list.now ol button').focus()")
    assert browser.js(CONTRAST) == []


def test_printed_page_has_all_lists(browser: Page, three: Stub) -> None:
    browser.open(three.origin, STORY)
    browser.media(kind="print")
    assert all(node.is_displayed() for node in browser.all(".list"))
    assert not browser.one("#play").is_displayed()


def test_error_is_a_sentence_and_can_be_tried_again(browser: Page, one: Stub) -> None:
    one.error = "the steps are too many"
    browser.load(one.origin, STORY)
    browser.until(lambda: browser.one("#alert").is_displayed(), "an error")
    assert browser.text("#alert span") == "The steps are too many."
    assert browser.one("#alert").get_attribute("role") == "alert"
    assert browser.one(".model").get_attribute("aria-busy") == "false"
    one.error = None
    browser.one("#alert button").click()
    browser.settle()
    assert not browser.one("#alert").is_displayed()


def test_waits_for_a_server_that_is_not_ready(browser: Page, one: Stub) -> None:
    one.not_ready = 10**6
    browser.load(one.origin, STORY)
    browser.until(lambda: browser.one("#waiting").is_displayed(), "waiting")
    assert browser.text("#waiting") == "The models are being compiled. Trying again …"
    one.not_ready = 0
    browser.settle()
    assert not browser.one("#waiting").is_displayed()


@pytest.mark.parametrize("wrong", ["wrong", "“right”"])  # no header may hold the second
def test_asks_for_the_key_until_it_is_right_and_keeps_it(
    browser: Page, one: Stub, wrong: str
) -> None:
    one.key = "right"
    browser.load(one.origin, STORY)
    browser.until(lambda: browser.one("#key-dialog").is_displayed(), "the question")
    browser.press(wrong, ENTER)
    browser.until(lambda: "not accept" in browser.text("#key-note"), "the second question")
    assert browser.js("return sessionStorage.length") == 0
    browser.press("right", ENTER)
    browser.settle()
    assert not browser.one("#alert").is_displayed()
    browser.open(one.origin, STORY)
    assert not browser.one("#key-dialog").is_displayed()
    browser.js("sessionStorage.clear()")


def test_titles_are_text_whatever_they_hold(browser: Page, one: Stub) -> None:
    browser.open(one.origin, "#h=3&t=3&seen=1")
    browser.search("onerror")
    assert browser.text("#found .title") == HOSTILE
    assert browser.text("#history .title") == HOSTILE
    assert browser.js("return document.title").startswith("rearec_jax")
    assert browser.all("img, main b b") == []


def test_address_tells_the_story(browser: Page, three: Stub) -> None:
    browser.open(three.origin, "#h=14,15,nobody%2C&t=129&k=5&steps=1&seen=1&m=erl")
    assert browser.ids("#history > li") == ["14", "15", "nobody,"]
    named = [SAMPLES[0]["history"][1]["title"], SAMPLES[0]["history"][2]["title"]]
    assert browser.texts("#history .title") == [*named, "Item nobody, unknown to the model"]
    assert SAMPLES[0]["target"]["title"] in browser.text("#target")
    assert browser.texts(".model h2") == ["erl on sasrec"]
    assert len(browser.all(".list.now ol > li")) == 5
    browser.js("location.hash = '#h=14&m=base'")
    browser.until(lambda: browser.texts(".model h2") == ["base on sasrec"], "the other story")


@pytest.mark.parametrize("name", ["toString", "__proto__", "constructor", "hasOwnProperty"])
def test_ids_that_every_object_has(browser: Page, three: Stub, name: str) -> None:
    """An id from an address may be the name of anything that objects of JavaScript have."""
    for story in (f"#h={name}", f"#h=14,{name}&t={name}", f"#h=14&t={name}&m={name}&k=20"):
        browser.open(three.origin, story)
        assert not browser.one("#alert").is_displayed()
        assert name in [*browser.ids("#history > li"), *browser.ids("#target")]
        assert browser.all(".list.now ol > li")
    assert "not among the first 100" in browser.text(".next")


@pytest.mark.parametrize("is_offline", [True, False])
def test_old_lists_do_not_stand_beside_a_new_history(
    browser: Page, three: Stub, is_offline: bool
) -> None:
    browser.open(three.origin, STORY)
    assert len(browser.all(".list")) > 3
    network = {
        "offline": is_offline,
        "latency": 0,
        "downloadThroughput": -1,
        "uploadThroughput": -1,
    }
    browser.driver.execute_cdp_cmd("Network.enable", {})
    browser.driver.execute_cdp_cmd("Network.emulateNetworkConditions", network)
    three.error = None if is_offline else "the steps are too many"
    browser.all("#history .cross")[0].click()
    browser.until(lambda: browser.one("#alert").is_displayed(), "an error")
    assert not browser.all(".list, .bumps, .attention li, .sharpness tr, .line")
    assert not browser.one("#stepper").is_displayed() and not browser.one(".next").is_displayed()
    assert all("no answer for this history" in text for text in browser.texts(".facts"))
    browser.driver.execute_cdp_cmd("Network.emulateNetworkConditions", network | {"offline": False})
    three.error = None
    browser.one("#alert button").click()
    browser.settle()
    assert len(browser.all(".list")) > 3 and browser.one("#stepper").is_displayed()
    assert len(browser.all("#history > li")) == 4


def test_nothing_leaves_the_origin_and_no_rule_is_broken(browser: Page, three: Stub) -> None:
    browser.driver.get_log("browser")  # of the tests before, some of which want errors
    browser.open(three.origin, STORY)
    browser.one("#sample").click()
    browser.settle()
    loaded = browser.js("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert len(loaded) > 10 and all(url.startswith(f"{three.origin}/") for url in loaded)
    assert browser.driver.get_log("browser") == []
