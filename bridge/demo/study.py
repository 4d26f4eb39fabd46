"""A completion that is looked into: what is asked for, and what came back."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property

import numpy as np

from bridge import api_types as api
from bridge.client import LMStudioNeuroScopeClient
from bridge.demo.analysis import Analysis, Finding, Summary, Tensor, Usage
from bridge.demo.run_folder import RunFolder
from bridge.wire import from_record


@dataclass(frozen=True)
class Seen:
    """What a study looks at.

    `first` holds the activation of the prompt's pass, ``[...]`` without its batch axis, by
    component and layer (None: the embedding).
    """

    client: LMStudioNeuroScopeClient
    prompt: str
    text: str
    first: dict[tuple[str, int | None], np.ndarray]

    @cached_property
    def texts(self) -> list[str]:
        """The prompt's tokens as texts."""
        return self.client.tokenize(self.prompt)["texts"]

    def layers(self, component: str) -> dict[int, np.ndarray]:
        """A component's activations by layer, in order."""
        found = [(layer, a) for (name, layer), a in self.first.items() if name == component]
        return dict(sorted((layer, a) for layer, a in found if layer is not None))


@dataclass(frozen=True)
class Study:
    """An analysis of one completion: its prompt, its hooks, and what is read from them."""

    name: str
    description: str
    prompt: str
    components: Sequence[str]
    find: Sequence[Callable[[Seen], Finding]]
    layers: Sequence[int] | None = None
    max_tokens: int = 4
    extra: Sequence[api.HookSpec] = field(default=())

    def hooks(self) -> list[api.HookSpec]:
        """The hook specs: each component in the layers, or in all of them."""
        names = ["*"] if self.layers is None else [str(layer) for layer in self.layers]
        specs: list[api.HookSpec] = [
            {"layer_name": name, "component": component}
            for component in self.components
            for name in names
        ]
        return [*self.extra, *specs]

    def run(self, client: LMStudioNeuroScopeClient, model: str, folder: RunFolder) -> Analysis:
        """Ask for the completion, write its tensors and its document; return the document."""
        result = client.create_completion_with_activations(
            self.prompt,
            self.hooks(),
            max_tokens=self.max_tokens,
            temperature=0,
            activation_format="reference",
        )
        tensors = client.get_tensors(result["capture_id"])
        client.delete_capture(result["capture_id"])
        records = [each for records in result["activations"].values() for each in records]
        arrays = {id(record): from_record(record, tensors) for record in records}
        first = {
            (str(record["component"]), record["layer"]): arrays[id(record)][0]
            for record in records
            if record["step"] == 0
        }
        seen = Seen(client, self.prompt, result["choices"][0]["text"], first)
        document = Analysis(
            timestamp=datetime.now(UTC),
            analysis=self.name,
            description=self.description,
            model=model,
            prompt=self.prompt,
            hooks=[dict(hook) for hook in self.hooks()],
            generated_text=seen.text,
            usage=Usage.model_validate(result["usage"]),
            tensors_file=folder.write_tensors(self.name, tensors),
            activations={
                hook_id: [_described(record, arrays[id(record)]) for record in records]
                for hook_id, records in result["activations"].items()
            },
            findings=[find(seen) for find in self.find],
        )
        folder.write(document)
        return document


def _described(record: api.ActivationRecord, array: np.ndarray) -> Tensor:
    return Tensor(
        tensor=str(record.get("tensor")),
        step=record["step"],
        positions=record["positions"],
        shape=record["shape"],
        dtype=record["dtype"],
        summary=summary(array),
    )


def summary(array: np.ndarray) -> Summary:
    """A tensor in six numbers, of its finite values."""
    values = array[np.isfinite(array)].astype(np.float64)
    return Summary(
        count=values.size,
        mean=values.mean(),
        standard_deviation=values.std(),
        minimum=values.min(),
        maximum=values.max(),
        norm=np.linalg.norm(values),
    )
