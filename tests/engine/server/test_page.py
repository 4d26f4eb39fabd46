"""The page at `/`, in a browser: what it shows is what the API returns, and its code makes it."""

import ast
import io
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from time import monotonic, sleep
from urllib.parse import quote

import numpy as np
import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from bridge.client import LMStudioNeuroScopeClient
from bridge.errors import LMStudioError
from bridge.wire import from_record
from engine.components import ComponentType
from tests.engine.server.conftest import HEADS, Server, running

PROMPT = "The café's\n'cat'"
LAYER = 1
TASK = {"clean": "Ann, Bob, B", "corrupted": "Ann, Bob, A", "answer": "n", "distractor": "o"}
CHANGE = {"layer_name": "1", "component": "residual", "operation": "scaling", "factor": -1.0}
STEERED = "to be"
PICTURES = ("prompt", "component", "attention", "lens", "steer", "sweep")
LIMIT = 120_000  # milliseconds, on a machine that does other things
expect.set_options(timeout=LIMIT)


@pytest.fixture(scope="module")
def small(server: Server) -> Iterator[LMStudioNeuroScopeClient]:
    """A client of the server with the tiny model, whose pictures are there at once."""
    with LMStudioNeuroScopeClient(server.listener.url) as client:
        yield client


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium") or shutil.which("google-chrome"),
            args=["--no-sandbox"],
        )
        yield browser
        browser.close()


def opened(browser: Browser, address: str, prompt: str) -> Page:
    page = browser.new_page()
    page.set_default_timeout(LIMIT)
    page.goto(f"{address}/?prompt={quote(prompt)}")
    return page


@pytest.fixture(scope="module")
def shown(browser: Browser, small: LMStudioNeuroScopeClient) -> Page:
    """The page with every picture drawn."""
    page = opened(browser, small.base_url, PROMPT)
    for name, text in TASK.items():
        page.fill(f"#sweep [name={name}]", text)
    page.fill("#steer [name=prompt]", STEERED)
    for picture in ("component", "attention", "lens"):
        page.locator(f"#{picture} tbody tr").first.wait_for()
    page.click("#steer form button")
    page.click("#sweep form button")
    page.locator("#sweep tbody tr").first.wait_for()
    page.locator(".steered b").wait_for()
    return page


def visible(text: str) -> str:
    """A token's text with its white space seen."""
    return text.replace(" ", "·").replace("\n", "⏎")


def signed(number: float) -> str:
    """A number with its sign, a minus as in print."""
    return f"{number:+.2f}".replace("-", "\N{MINUS SIGN}")


def table(within: Locator) -> list[list[str]]:
    """The texts of a table's cells, row by row, without labels."""
    return within.locator("tbody").evaluate(
        "body => [...body.rows].map(row => [...row.cells].slice(1).map(cell => cell.textContent))"
    )


def shares(within: Locator) -> np.ndarray:
    """The shades of a table's cells, from 0 to 1; 0 where there is none."""
    return np.array(
        within.locator("tbody").evaluate(
            "body => [...body.rows].map(row => [...row.cells].slice(1)"
            ".map(cell => Number(cell.dataset.share ?? 0)))"
        )
    )


def code(page: Page, picture: str, language: str) -> str:
    page.locator(f"#{picture} [data-language={language}]").click()
    return page.locator(f"#{picture} pre").inner_text()


def printed(program: str) -> str:
    """What a Python program prints."""
    with redirect_stdout(io.StringIO()) as output:
        exec(program, {})
    return output.getvalue()


def captured(engine: LMStudioNeuroScopeClient, text: str, layer: str, name: str) -> np.ndarray:
    """The arrays of a component, one for each layer."""
    hooks = [{"layer_name": layer, "component": name}]
    records = engine.forward(text, hooks, logits="none")["activations"].values()
    return np.stack([from_record(each[0], {})[0] for each in records])


def written(norms: np.ndarray) -> list[str]:
    """Norms as the page writes them: four figures."""
    return [f"{norm:.0f}" if norm >= 1000 else f"{norm:#.4g}" for norm in norms]


def norms_of(engine: LMStudioNeuroScopeClient, text: str) -> list[list[str]]:
    """The table of the residual stream, the last layer above."""
    stream = captured(engine, text, "*", "residual")
    return [written(row) for row in np.linalg.norm(stream, axis=-1)[::-1]]


def test_the_tokens_are_exact_and_the_next_ones_are_those_of_a_forward_pass(
    shown: Page, small: LMStudioNeuroScopeClient
) -> None:
    reply = small.forward(PROMPT, top_k=5)
    assert shown.locator("#prompt .tokens li").all_text_contents() == [
        visible(text) for text in reply["texts"][0]
    ]
    assert shown.locator("#prompt .next li").all_text_contents() == [
        f"{visible(each['text'])}{100 * each['probability']:.1f} %" for each in reply["top"][0]
    ]


def test_a_component_is_picked_on_the_figure_and_an_absent_one_is_not(
    shown: Page, small: LMStudioNeuroScopeClient
) -> None:
    assert table(shown.locator("#component")) == norms_of(small, PROMPT)
    points = shown.locator("#block [data-component]")
    names = points.evaluate_all("all => all.map(each => each.dataset.component)")
    assert sorted(names) == sorted(ComponentType)
    router = shown.locator("#block [data-component=router]")
    expect(router).to_have_attribute("aria-disabled", "true")
    point = shown.locator("#block [data-component=head_output]")
    point.focus()
    point.press("Enter")
    expect(shown.locator("#component .title")).to_have_text("head_output")
    seen = captured(small, PROMPT, "*", "head_output")  # [layer, head, position, d_head]
    expected = [written(row) for row in np.linalg.norm(seen, axis=(1, 3))[::-1]]
    assert table(shown.locator("#component")) == expected


def test_the_attention_is_that_of_the_chosen_layer_and_head(
    shown: Page, small: LMStudioNeuroScopeClient
) -> None:
    pattern = captured(small, PROMPT, str(LAYER), "attention_pattern")[0]
    section = shown.locator("#attention")
    expect(section.locator(".heads button")).to_have_count(HEADS)
    section.get_by_role("button", name="head 2").click()
    expect(section.locator(".title")).to_have_text(f"Layer {LAYER}, head 2")
    np.testing.assert_allclose(shares(section), pattern[2], atol=1e-5)
    section.locator("td[data-at='4,1']").hover()
    expect(section.locator(".pointed")).to_have_text(
        f"c (4) attends to h (1): {100 * pattern[2, 4, 1]:.1f} %"
    )


def test_the_lens_is_that_of_the_api(shown: Page, small: LMStudioNeuroScopeClient) -> None:
    layers = [each["top"] for each in small.logit_lens(PROMPT, top_k=1)["layers"]][::-1]
    section = shown.locator("#lens")
    assert table(section) == [[visible(top[0]["text"]) for top in row] for row in layers]
    expected = [[top[0]["probability"] for top in row] for row in layers]
    np.testing.assert_allclose(shares(section), expected, atol=1e-5)


def test_the_arrow_keys_move_through_a_table(shown: Page) -> None:
    cell = shown.locator("#lens td[data-at='0,0']")
    cell.click()
    cell.press("ArrowDown")
    shown.keyboard.press("ArrowRight")
    expect(shown.locator("#lens td[data-at='1,1']")).to_be_focused()
    expect(shown.locator("#lens .pointed")).to_contain_text("After h (1), layer 1:")


def test_the_sweep_finds_the_heads_that_the_api_finds(
    shown: Page, small: LMStudioNeuroScopeClient
) -> None:
    found = small.patch_circuit(**TASK, component="head_output", method="attribution_patching")
    effects = from_record(found["effects"], {})
    largest = np.abs(effects).max()
    np.testing.assert_allclose(shares(shown.locator("#sweep")), effects[::-1] / largest, atol=1e-5)
    order = np.argsort(-np.abs(effects), axis=None)
    shown.fill("#sweep [name=threshold]", "0.02")
    heads = [f"L{n // HEADS}H{n % HEADS}" for n in order if abs(effects.flat[n]) >= 0.02]
    assert len(heads) > 2
    expect(shown.locator("#sweep .circuit button")).to_have_text(heads)


def test_a_circuit_is_verified_and_its_head_shown(
    shown: Page, small: LMStudioNeuroScopeClient
) -> None:
    heads = shown.locator("#sweep .circuit button")
    names = heads.all_text_contents()
    shown.click("#sweep [name=verify]")
    places = [map(int, re.findall(r"\d+", name)) for name in names]
    told = small.verify_circuit(
        [{"layer": layer, "head": head} for layer, head in places], **TASK, subsets=0
    )
    expect(shown.locator("#sweep .verified")).to_contain_text(
        f"{signed(told['circuit_score'])} logits of the model's {signed(told['model_score'])}"
    )
    heads.first.click()
    layer, head = re.findall(r"\d+", names[0])
    expect(shown.locator("#attention .title")).to_have_text(f"Layer {layer}, head {head}")


def test_the_steered_text_is_beside_the_plain_one(
    shown: Page, small: LMStudioNeuroScopeClient
) -> None:
    shown.get_by_label("scale a component").check()
    shown.locator("#steer [name=component]").select_option("residual")
    shown.locator("#steer [name=factor]").fill("-1")
    expect(shown.locator("#steer code")).to_contain_text('"scaling"')
    texts = []
    for place, changes in ((".plain", []), (".steered", [CHANGE])):
        reply = small.create_completion_with_activations(
            STEERED, [], max_tokens=16, interventions=changes
        )
        texts.append(reply["choices"][0]["text"])
        assert shown.locator(f"#steer {place} b").text_content() == texts[-1]
    assert texts[0] != texts[1]
    shown.get_by_label("add a direction").check()
    shown.click("#steer form button")
    expect(shown.locator("#steer code")).to_contain_text('"addition"')


@pytest.mark.parametrize("picture", PICTURES)
def test_the_request_beside_a_picture_runs(picture: str, shown: Page) -> None:
    command = ["sh", "-c", code(shown, picture, "curl")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = [line.removeprefix("data: ") for line in done.stdout.splitlines() if line]
    replies = [json.loads(line) for line in lines if line != "[DONE]"]
    assert replies
    assert not any("error" in reply for reply in replies)


def test_the_python_beside_the_pictures_prints_what_they_show(
    shown: Page, small: LMStudioNeuroScopeClient
) -> None:
    said = {picture: printed(code(shown, picture, "python")) for picture in PICTURES}
    pairs, top = map(ast.literal_eval, said["prompt"].splitlines())
    assert [visible(text) for _, text in pairs] == shown.locator(
        "#prompt .tokens li"
    ).all_text_contents()
    assert len(top) == 5
    rows = [ast.literal_eval(line.split(" ", 1)[1]) for line in said["component"].splitlines()]
    assert [written(row) for row in rows[::-1]] == table(shown.locator("#component"))
    patterns = ast.literal_eval(said["attention"].splitlines()[-1].split(") ", 1)[1])
    np.testing.assert_allclose(
        patterns[head_of(shown)], shares(shown.locator("#attention")), atol=6e-4
    )
    rows = [ast.literal_eval(line.split(" ", 1)[1]) for line in said["lens"].splitlines()]
    assert [[visible(text) for text, _ in row] for row in rows[::-1]] == table(
        shown.locator("#lens")
    )
    texts = list(map(ast.literal_eval, said["steer"].splitlines()))
    assert texts == steered(shown)
    circuit = shown.locator("#sweep .circuit button").all_text_contents()
    assert [line.split()[0] for line in said["sweep"].splitlines()] == circuit


def head_of(page: Page) -> int:
    """The head whose attention is large."""
    return int((page.locator("#attention .title").text_content() or "").rsplit(" ", 1)[1])


def steered(page: Page) -> list[str | None]:
    """The text as it is, and the steered one."""
    return [page.locator(f".{kind} b").text_content() for kind in ("plain", "steered")]


def test_a_generated_text_is_looked_into_as_a_whole(
    shown: Page, small: LMStudioNeuroScopeClient
) -> None:
    shown.locator("#block [data-component=residual]").click()
    shown.fill("#prompt textarea", STEERED)
    shown.fill("#prompt [name=count]", "5")
    shown.get_by_role("button", name="Generate").click()
    text = small.create_completion(STEERED, max_tokens=5)["choices"][0]["text"]
    length = len(small.tokenize(STEERED + text)["tokens"])
    shown.locator(f"#lens td[data-at='0,{length - 1}']").wait_for()
    new = shown.locator("#prompt .tokens .generated")
    expect(new).to_have_count(length - len(small.tokenize(STEERED)["tokens"]))
    assert "".join(new.all_text_contents()) == visible(text)
    expect(shown.locator("#component tbody tr").first.locator("td")).to_have_count(length)
    assert table(shown.locator("#component")) == norms_of(small, STEERED + text)
    lines = printed(code(shown, "prompt", "python")).splitlines()
    assert "".join(map(ast.literal_eval, [each for each in lines if each[0] in "'\""])) == text
    assert sum(each.startswith("layer_2_residual") for each in lines) == 5
    command = ["sh", "-c", code(shown, "prompt", "curl")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.count("layer_2_residual") == 10  # as a key and as the record's hook


def test_what_is_copied_is_what_is_shown(shown: Page) -> None:
    shown.context.grant_permissions(["clipboard-read", "clipboard-write"])
    expected = code(shown, "lens", "python")
    shown.locator("#lens .copier").click()
    expect(shown.locator("#lens .copier")).to_have_text("Copied")
    assert shown.evaluate("() => navigator.clipboard.readText()") == expected


def test_an_error_is_told_in_the_words_of_the_api(
    shown: Page, small: LMStudioNeuroScopeClient
) -> None:
    shown.fill("#sweep [name=corrupted]", "Ann")
    shown.click("#sweep form button")
    with pytest.raises(LMStudioError) as refused:
        small.patch_circuit(**TASK | {"corrupted": "Ann"})
    assert shown.locator("#sweep .error:visible").text_content() == str(refused.value)


def test_a_token_is_asked_for_and_a_model_can_be_loaded(browser: Browser, tiny_model: Path) -> None:
    roots = (tiny_model.parent,)
    with running(None, token="gehéim-🎉", model_roots=roots) as server:
        page = opened(browser, server.listener.url, PROMPT)
        dialog = page.get_by_role("dialog")
        dialog.locator("input").fill("wrong")
        dialog.get_by_role("button", name="Use it").click()
        expect(dialog.get_by_role("alert")).to_contain_text("A bearer token is required")
        dialog.locator("input").fill("gehéim-🎉")
        dialog.get_by_role("button", name="Use it").click()
        expect(page.get_by_role("heading", name="No model is loaded")).to_be_visible()
        page.fill("#no-model input", str(tiny_model.parent / "none"))
        page.click("#no-model button")
        expect(page.locator("#no-model .error:visible")).to_contain_text("none")
        page.fill("#no-model input", str(tiny_model))
        page.click("#no-model form button")
        page.locator("#lens tbody tr").first.wait_for()
        expect(page.locator("#facts")).to_contain_text("tiny · llama · 3 layers · 4 heads of 8")
        assert "$NEUROSCOPE_TOKEN" in code(page, "lens", "curl")
        for language in ("curl", "python", "smalltalk"):
            assert "gehéim" not in code(page, "lens", language)
        page.reload()
        page.locator("#lens tbody tr").first.wait_for()  # the token is kept in the tab
        page.close()


def test_the_pictures_are_live_and_what_runs_tells_its_progress_and_stops(
    browser: Browser, engine: LMStudioNeuroScopeClient
) -> None:
    prompt = "One, two, three, four,"
    asked: list[str] = []
    page = opened(browser, engine.base_url, prompt)
    page.on("request", lambda request: asked.append(request.url))
    page.locator("#component tbody tr").first.wait_for()
    page.click("#lens button:text('Stop')")  # it would take seconds, and so would those behind it

    page.locator("#sweep [name=method]").select_option("activation_patching")
    page.click("#sweep form button")
    told = page.locator("#sweep .doing").first
    expect(told).to_contain_text(re.compile(r"sweeping: \d+ of \d+ passes"))
    page.click("#sweep .doing:visible button")
    expect(told).to_be_hidden()

    page.fill("#prompt [name=count]", "300")
    page.get_by_role("button", name="Generate").click()
    before = len(engine.tokenize(prompt)["tokens"])
    page.locator(f"#component td[data-at='0,{before + 3}']").wait_for()
    live = table(page.locator("#component"))
    rows = len(table(page.locator("#attention")))
    page.click("#prompt .doing:visible button")
    page.click("#lens button:text('Stop')")
    pieces = page.locator("#prompt .tokens li").all_text_contents()
    assert before + 3 < len(pieces) < before + 300
    assert rows > before
    text = engine.create_completion(prompt, max_tokens=3)["choices"][0]["text"]
    assert [row[: before + 3] for row in live] == norms_of(engine, prompt + text)

    expect(page.locator(".error:visible")).to_have_count(0)
    deadline = monotonic() + 10
    while engine.list_jobs()["jobs"] and monotonic() < deadline:
        sleep(0.05)
    assert engine.list_jobs()["jobs"] == []
    assert len(asked) > 10
    assert all(url.startswith(engine.base_url) for url in asked)
    page.close()
