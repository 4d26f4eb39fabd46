"""The endpoint keeps the contract that it publishes, whatever is sent to it.

The requests are the same in each run; `make fuzz` sends others, and more of them.
"""

from collections.abc import Iterator
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
            "positive_data_acceptance": {"expected-statuses": ["2xx", "403", "404", "409", "422"]}
        }
    }
)
"""The refusals are of what no schema can say: which folders, models, hooks and layers exist."""

schema = schemathesis.openapi.from_dict(openapi_document(), config=CONFIG)


@pytest.fixture(scope="module")
def served(tiny_model: Path) -> Iterator[Server]:
    with running(
        tiny_model, max_tokens=16, max_choices=4, model_roots=(tiny_model.parent,)
    ) as server:
        yield server


@schema.parametrize()
def test_every_answer_is_as_the_document_says(case, served: Server, tiny_model: Path):
    if not served.service.models.all():  # an earlier case may have unloaded it
        request = LoadModelRequest(model_path=str(tiny_model))
        served.service.worker.call(lambda job: served.service.models.load(request))
    case.call_and_validate(base_url=served.listener.url, checks=CHECKS.get_all())


def test_sequences_of_operations_keep_the_contract(served: Server):
    live = schemathesis.openapi.from_url(f"{served.listener.url}/openapi.json", config=CONFIG)
    run_state_machine_as_test(live.as_state_machine(), settings=settings())
