"""The examples of a request as tasks, and numbers of an analysis as the contract has them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from engine.analysis.task import Task
from engine.contract import schemas as s
from engine.server.http.prompts import check_all_lengths, one_token, prompt_tokens
from engine.server.http.requests import session
from engine.server.http.steered import not_steered
from engine.server.http.warnings import warnings
from engine.server.service import Service
from engine.server.state.models import LoadedModel


def tasks_of(service: Service, model: LoadedModel, request: s.OverExamples) -> list[Task]:
    """The examples in token ids; raises on texts that are none, and tokens that do not exist."""
    tasks = []
    examples = request.all_examples()
    texts = [text for each in examples for text in (each.clean, each.corrupted)]
    check_all_lengths(texts, service.settings, "examples")
    for number, example in enumerate(examples):
        names = {name: f"examples.{number}.{name}" for name in type(example).model_fields}
        if request.examples is None:
            names = {name: name.removesuffix("s") for name in names}
        clean, corrupted = (
            prompt_tokens(
                model,
                getattr(example, name),
                service.settings,
                names[name],
                special=request.add_special_tokens,
            )
            for name in ("clean", "corrupted")
        )
        answers, distractors = (
            [one_token(model, token, names[name]) for token in getattr(example, name)]
            for name in ("answers", "distractors")
        )
        tasks.append(Task(clean, corrupted, answers, distractors, request.pooling))
    return tasks


def warnings_over(
    service: Service, model: LoadedModel, tasks: Sequence[Task]
) -> dict[str, list[str]]:
    """The warnings of passes over the longest of the prompts, which nothing steers."""
    longest = max(len(task.clean) for task in tasks)
    return warnings(model, longest, not_steered(service, model, session()))


def tensor(array: np.ndarray) -> dict[str, Any]:
    """An array as numbers by themselves."""
    return {
        "shape": list(array.shape),
        "dtype": "float32",
        "byte_order": "little",
        "data": array,
    }
