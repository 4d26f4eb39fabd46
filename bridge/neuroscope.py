"""NeuroScope's data layout: hook specs as its analyses want them, captures as its tensors."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict, cast

import numpy as np

from bridge.wire import from_record, to_base64

if TYPE_CHECKING:
    from bridge.api_types import ActivationRecord, HookSpec

CIRCUIT_COMPONENTS = ("residual", "attention", "mlp")
ATTENTION_COMPONENTS = (
    "attention",
    "attention_scores",
    "attention_pattern",
    "query",
    "key",
    "value",
)


OF_ITS_OWN = frozenset({"data", "dtype", "field_name"})
"""The fields of a record that are not simply those of the endpoint."""


class NeuroScopeRecord(TypedDict):
    """One activation of one forward pass, as NeuroScope's ActivationTensor is fed."""

    hook_id: str
    layer_name: str
    layer: int | None
    component: str
    field_name: NotRequired[str | None]
    step: int
    positions: list[int]
    shape: list[int]
    dtype: str
    is_input: bool
    data: np.ndarray


class NeuroScopeActivationBridge:
    """Turns captures into NeuroScope's records and back, and makes hook specs for its analyses."""

    @staticmethod
    def create_hook_specs_for_circuit_analysis(
        model_layers: int, components: Sequence[str] = CIRCUIT_COMPONENTS
    ) -> list["HookSpec"]:
        """Hook specs for the embedding and, in each of `model_layers` layers, each component."""
        embedding: HookSpec = {
            "layer_name": "transformer.wte",
            "component": "embedding",
            "hook_id": "embedding_output",
        }
        return [embedding, *_layer_specs(range(model_layers), components)]

    @staticmethod
    def create_attention_analysis_hooks(
        model_layers: int, target_layers: Iterable[int] | None = None
    ) -> list["HookSpec"]:
        """Hook specs for what makes up attention, in `target_layers` or in all layers.

        Raises ValueError for a target layer outside of `model_layers`.
        """
        layers = list(range(model_layers) if target_layers is None else target_layers)
        outside = [layer for layer in layers if not 0 <= layer < model_layers]
        if outside:
            raise ValueError(f"layers {outside} are outside 0 to {model_layers - 1}")
        return _layer_specs(layers, ATTENTION_COMPONENTS)

    @staticmethod
    def convert_activations_for_neuroscope(
        activations: Mapping[str, Sequence["ActivationRecord"]],
        tensors: Mapping[str, np.ndarray] | None = None,
    ) -> dict[str, list[NeuroScopeRecord]]:
        """Captures as NeuroScope's records: float32, row-major, one a forward pass.

        `tensors` is the capture's safetensors body (`LMStudioNeuroScopeClient.get_tensors`), needed
        for records of format `reference`. Raises InvalidRecordError for a record without data.
        """
        return {
            hook_id: [_neuroscope_record(record, tensors or {}) for record in records]
            for hook_id, records in activations.items()
        }

    @staticmethod
    def convert_activations_from_neuroscope(
        activations: Mapping[str, Sequence[NeuroScopeRecord]],
    ) -> dict[str, list["ActivationRecord"]]:
        """NeuroScope's records as the endpoint's, in base64, bit for bit."""
        return {
            hook_id: [_wire_record(record) for record in records]
            for hook_id, records in activations.items()
        }


def _layer_specs(layers: Iterable[int], components: Sequence[str]) -> list["HookSpec"]:
    return [
        {
            "layer_name": f"transformer.h.{layer}",
            "component": component,
            "hook_id": f"layer_{layer}_{component}",
        }
        for layer in layers
        for component in components
    ]


def _neuroscope_record(
    record: "ActivationRecord", tensors: Mapping[str, np.ndarray]
) -> NeuroScopeRecord:
    data = np.ascontiguousarray(from_record(record, tensors), np.float32)
    kept: dict[str, Any] = {
        key: value
        for key, value in record.items()
        if key in NeuroScopeRecord.__annotations__ and key not in OF_ITS_OWN
    }
    if "field_name" in record:
        kept["field_name"] = record["field_name"]
    return cast(NeuroScopeRecord, {**kept, "dtype": "float32", "data": data})


def _wire_record(record: NeuroScopeRecord) -> "ActivationRecord":
    kept = {key: value for key, value in record.items() if key != "data"}
    data = {"byte_order": "little", "data_base64": to_base64(record["data"])}
    return cast("ActivationRecord", kept | data)
