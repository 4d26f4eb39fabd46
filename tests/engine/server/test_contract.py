"""The endpoint keeps the contract that it publishes, whatever is sent to it.

The requests are the same in each run; `make fuzz` sends others, and more of them.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import schemathesis
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test
from schemathesis.checks import CHECKS

from engine.contract.openapi import openapi_document
from engine.contract.schemas import LoadModelRequest
from tests.engine.server.conftest import Server, running

CONFIG = schemathesis.Config.from_dict(
    {
        "checks": {
            "positive_data_acceptance": {
                "expected-statuses": ["2xx", "403", "404", "409", "410", "422"]
            }
        }
    }
)
"""The refusals are of what no schema can say: which folders, models, hooks, layers and sessions
exist."""


schema = schemathesis.openapi.from_dict(openapi_document(), config=CONFIG)


def small(tiny_model: Path) -> AbstractContextManager[Server]:
    """A server whose limits keep every request short."""
    limits = {"max_tokens": 4, "max_choices": 2, "max_prompt_tokens": 256}
    limits["max_models"] = 1000  # what an earlier case loaded changes no later answer
    return running(tiny_model, model_roots=(tiny_model.parent,), **limits)


def load(served: Server, tiny_model: Path) -> None:
    """Load the model, which an earlier case may have unloaded."""
    if not served.service.models.all():
        request = LoadModelRequest(model_path=str(tiny_model))
        served.service.worker.call(lambda job: served.service.models.load(request))


@pytest.fixture(scope="module")
def served(tiny_model: Path) -> Iterator[Server]:
    with small(tiny_model) as server:
        yield server


@schema.parametrize()
def test_every_answer_is_as_the_document_says(case, served: Server, tiny_model: Path):
    load(served, tiny_model)
    case.call_and_validate(base_url=served.listener.url, checks=CHECKS.get_all())


def test_sequences_of_operations_keep_the_contract(tiny_model: Path):
    with small(tiny_model) as fresh:
        live = schemathesis.openapi.from_url(f"{fresh.listener.url}/openapi.json", config=CONFIG)

        class Sequences(live.as_state_machine()):
            def setup(self) -> None:
                """What one sequence leaves behind is not to decide about the next."""
                super().setup()
                load(fresh, tiny_model)
                for capture in fresh.service.captures.all():
                    fresh.service.captures.forget(capture.capture_id)
                fresh.http.delete("/v1/steering")
                for model in fresh.service.models.all():
                    model.kit.hooks.clear()

        run_state_machine_as_test(Sequences, settings=settings())
