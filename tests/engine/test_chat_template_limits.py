"""A chat template that never ends, or takes all memory, costs its own request and no other."""

import threading
import time

import pytest
from jinja2 import TemplateError
from transformers import AutoTokenizer
from transformers.utils.chat_template_utils import render_jinja_template

from engine.models import template_process
from engine.models.template_process import TemplateLimitError
from engine.runs.kit import load_model
from tests.engine.folders import tiny_folder

MESSAGES = [{"role": "user", "content": "hällo"}, {"role": "assistant", "content": "{}"}]
WELL = "{% for m in messages %}{{ m['role'] }}: {{ m.content | trim }}{{ eos_token }}\n{% endfor %}"
NEVER_ENDING = {
    "nested loops": "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in "
    "range(99999) %}{% endfor %}{% endfor %}{% endfor %}",
    "one endless step": "{{ 9 ** (9 ** 9) }}",
    "a macro that doubles": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}"
    "{% endmacro %}{{ f(60) }}",
    "all memory": "{{ 'x' * 10 ** 11 }}",
    "much memory": "{% set ns = namespace(x='x' * 1000) %}{% for i in range(60) %}"
    "{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
    "a wide field": "{{ '%*d' % (10 ** 9, 1) }}",
    "a long text": "{{ 'x' * 5000000 }}",
}


@pytest.fixture
def kit(tmp_path):
    return load_model(tiny_folder(tmp_path / "tiny"))


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(template_process, "LIMIT", 1.0)


def render(kit, template):
    return kit.tokenizer.apply_chat_template(
        MESSAGES, chat_template=template, add_generation_prompt=True
    )


@pytest.mark.parametrize("name", NEVER_ENDING)
def test_one_that_does_not_end_is_ended_and_the_next_is_rendered(kit, quick, name):
    started = time.monotonic()
    with pytest.raises((TemplateError, MemoryError, OverflowError, ValueError)):
        render(kit, NEVER_ENDING[name])
    assert time.monotonic() - started < 30
    assert render(kit, WELL)


def test_others_are_rendered_meanwhile(kit, monkeypatch):
    monkeypatch.setattr(template_process, "LIMIT", 6.0)
    render(kit, WELL)  # whose process is there then
    failed = []

    def loop():
        try:
            render(kit, NEVER_ENDING["one endless step"])
        except TemplateLimitError as error:
            failed.append(str(error))

    thread = threading.Thread(target=loop)
    started = time.monotonic()
    thread.start()
    for _ in range(20):
        render(kit, WELL)
    assert time.monotonic() - started < 5
    assert not failed
    thread.join()
    assert "did not end within 6 seconds" in failed[0]


def test_it_renders_what_transformers_does(kit, tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "tiny")
    expected, _ = render_jinja_template(
        conversations=[MESSAGES], chat_template=WELL, **tokenizer.special_tokens_map
    )
    assert kit.tokenizer.decode(render(kit, WELL)) == expected[0]


@pytest.mark.parametrize(
    ("template", "kind", "said"),
    [
        ("{{ raise_exception('No system message, please: ü') }}", TemplateError, "please: ü"),
        ("{{ nothing.at.all }}", TemplateError, "'nothing' is undefined"),
        ("{% if %}", TemplateError, "Expected an expression"),
        ("{{ 1 / 0 }}", ZeroDivisionError, "division by zero"),
        ("{{ ''.__class__.__mro__ }}", TemplateError, "unsafe"),
    ],
)
def test_what_a_template_says_is_raised(kit, template, kind, said):
    with pytest.raises(kind, match=said):
        render(kit, template)


def test_the_process_knows_no_token(kit, monkeypatch):
    monkeypatch.setenv("NEUROSCOPE_TOKEN", "s3cret")
    process = template_process.TemplateProcess()
    started = process._started()
    with open(f"/proc/{started.pid}/environ", "rb") as environment:
        assert b"s3cret" not in environment.read()
    process.close()
    assert started.poll() is not None


def test_only_so_many_processes_are_kept(kit, monkeypatch):
    monkeypatch.setattr(template_process, "MOST_PROCESSES", 2)
    for number in range(template_process.MOST_PROCESSES + 2):
        render(kit, f"{number}")
    assert len(template_process._processes) == template_process.MOST_PROCESSES
