"""The examples in the comments of the classes for steering and attribution, in each system."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bridge.client import LMStudioNeuroScopeClient
from systems import System, answer

TEMPLATES = Path(__file__).parents[2] / "templates" / "neuroscope"


def example_of(name: str, engine: LMStudioNeuroScopeClient) -> tuple[str, list[str]]:
    """The temporaries and the statements of the example in a class's comment."""
    comment = (TEMPLATES / f"{name}.st").read_text(encoding="utf-8")
    code = re.search(r"^Example:\n(.*?)!\n", comment, re.M | re.S)
    assert code
    temporaries, _, rest = code[1].strip().partition("\n")
    here = f"(LMStudioRESTClient baseUrl: '{engine.base_url}')"
    statements = rest.replace("LMStudioRESTClient default", here).split(".\n")
    return temporaries, [" ".join(each.split()) for each in statements]


def value_of(name: str, system: System, engine: LMStudioNeuroScopeClient, then: str = "") -> Any:
    temporaries, statements = example_of(name, engine)
    statements[-1] = f"({statements[-1]}){then}"
    return answer(system, f"{temporaries} {';;'.join(statements)}")


def test_the_example_of_a_direction_projects_rows(system: System, engine):
    assert value_of("Direction", system, engine) == pytest.approx(
        [3.0, 0.0], abs=1e-6
    )  # 3 / 5 + 12 / 5


def test_the_example_of_a_vector_says_something_else(system: System, engine):
    prompt = "I think that the hotel was"
    plain = prompt + engine.create_completion(prompt, max_tokens=8)["choices"][0]["text"]
    said = value_of("SteeringVector", system, engine)
    assert said.startswith(prompt)
    assert said != plain
    for each in engine.list_steering_vectors()["vectors"]:
        engine.delete_steering_vector(each["vector"])
    assert engine.list_steering() == {"steering": []}


def test_the_example_of_an_attribution_names_the_heads_that_python_finds(system: System, engine):
    found = engine.logit_attribution(
        "The capital of France is", " Paris", distractor=" London", by="head"
    )
    values = np.array([abs(term["value"]) for term in found["terms"]])
    largest = [found["terms"][place] for place in np.argsort(-values)[:3]]
    names = value_of("NeuroScopeLogitAttribution", system, engine, " collect: [:each | each key]")
    assert names == [f"L{term['layer']}H{term['index']}" for term in largest]
