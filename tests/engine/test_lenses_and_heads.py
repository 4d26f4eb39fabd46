"""Trained lenses and the circuits of heads are what PyTorch calculates from the same files and
weights."""

import json
import os
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from reference_models import reference_model, save
from safetensors.torch import save_file

from engine.analysis.head_circuits import head_circuit
from engine.analysis.logit_lens import logit_lens
from engine.errors import InvalidRequestError, UnknownHeadError
from engine.lenses.lens import read_lens
from engine.lenses.torch_file import read_torch_file
from engine.runs.kit import ModelKit, load_model

TOKENS = [3, 31, 4, 15, 9, 26, 5]
HIDDEN, LAYERS, HEADS = 64, 6, 4
Both = tuple[ModelKit, torch.nn.Module]


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def both(request, tmp_path_factory) -> Both:
    model = reference_model(request.param)
    folder = save(model, tmp_path_factory.mktemp("lens") / "model")
    return load_model(folder), model


def hidden_states(model: torch.nn.Module) -> list[torch.Tensor]:
    """The stream as it enters each block, and as the last one leaves it, before the norm."""
    states: list[torch.Tensor] = []
    inner = model.base_model
    layers = getattr(inner, "layers", None) or inner.h
    handles = [
        layer.register_forward_pre_hook(lambda _, inputs: states.append(inputs[0][0]))
        for layer in layers
    ]
    norm = getattr(inner, "norm", None) or inner.ln_f
    handles.append(norm.register_forward_pre_hook(lambda _, inputs: states.append(inputs[0][0])))
    with torch.no_grad():
        model(torch.tensor([TOKENS]))
    for handle in handles:
        handle.remove()
    return states


def unembedded(model: torch.nn.Module, stream: torch.Tensor) -> np.ndarray:
    inner = model.base_model
    norm = getattr(inner, "norm", None) or inner.ln_f
    with torch.no_grad():
        return model.lm_head(norm(stream)).numpy()


@pytest.mark.parametrize("form", ["params.pt", "params.safetensors", "half"])
def test_a_tuned_lens_reads_the_stream_that_enters_each_layer(both: Both, form, tmp_path: Path):
    kit, model = both
    torch.manual_seed(1)
    translators = torch.nn.ModuleList([torch.nn.Linear(HIDDEN, HIDDEN) for _ in range(LAYERS)])
    if form == "half":
        translators = translators.to(torch.bfloat16)
    state = {name: value.detach() for name, value in translators.state_dict().items()}
    if form == "params.safetensors":
        save_file(state, tmp_path / form)
    else:
        torch.save(OrderedDict(state), tmp_path / "params.pt")
    config = {"d_model": HIDDEN, "num_hidden_layers": LAYERS, "lens_type": "linear_tuned_lens"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    states = hidden_states(model)
    found = dict(logit_lens(kit, TOKENS, read_lens("tuned", tmp_path)))
    assert list(found) == list(range(LAYERS))
    for layer in range(LAYERS - 1):
        stream = states[layer + 1]
        with torch.no_grad():
            stream = stream + translators.float()[layer + 1](stream)
        np.testing.assert_allclose(found[layer], unembedded(model, stream), atol=1e-5)
    np.testing.assert_allclose(found[LAYERS - 1], unembedded(model, states[-1]), atol=1e-5)


@pytest.mark.parametrize("form", ["lens.pt", "lens.safetensors"])
def test_a_jacobian_lens_reads_the_layers_that_it_has(both: Both, form, tmp_path: Path):
    kit, model = both
    torch.manual_seed(2)
    matrices = {layer: torch.randn(HIDDEN, HIDDEN).half() for layer in (1, 3)}
    if form == "lens.pt":
        saved = {"J": matrices, "n_prompts": 3, "source_layers": [1, 3], "d_model": HIDDEN}
        torch.save(saved, tmp_path / form)
    else:
        save_file({f"J.{layer}": each for layer, each in matrices.items()}, tmp_path / form)
    states = hidden_states(model)
    found = dict(logit_lens(kit, TOKENS, read_lens("jacobian", tmp_path / form)))
    assert list(found) == [1, 3, LAYERS - 1]
    for layer, matrix in matrices.items():
        stream = states[layer + 1] @ matrix.float().T
        np.testing.assert_allclose(found[layer], unembedded(model, stream), atol=1e-5)


def test_views_and_other_storages_are_read_as_torch_reads_them(tmp_path: Path):
    whole = torch.arange(24, dtype=torch.float64).reshape(4, 6)
    saved = {"view": whole[1:, ::2], "turned": whole.T, "count": torch.tensor([1, 2]), "text": "a"}
    torch.save(saved, tmp_path / "views.pt")
    found = read_torch_file(tmp_path / "views.pt")
    assert found.pop("text") == "a"
    for name, tensor in found.items():
        np.testing.assert_array_equal(tensor.array(), saved[name].numpy())


class Hostile:
    def __reduce__(self):
        return os.mkdir, ("should-not-be-there",)


def test_nothing_but_tensors_is_taken_from_a_pickle(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"J": Hostile()}, "hostile.pt")
    with pytest.raises(InvalidRequestError, match=r"mkdir, which is refused"):
        read_torch_file(Path("hostile.pt"))
    torch.save(torch.nn.Linear(2, 2), "module.pt")
    with pytest.raises(InvalidRequestError, match="refused"):
        read_torch_file(Path("module.pt"))
    assert not Path("should-not-be-there").exists()


def test_damaged_and_foreign_files_are_refused(both: Both, tmp_path: Path):
    kit, _ = both
    path = tmp_path / "lens.pt"
    torch.save({"J": {1: torch.ones(3, 3)}, "d_model": 3}, path)
    with pytest.raises(InvalidRequestError, match="streams of 3 numbers"):
        list(logit_lens(kit, TOKENS, read_lens("jacobian", path)))
    body = path.read_bytes()
    generator = np.random.default_rng(0)
    for _ in range(150):
        damaged = bytearray(body)
        for place in generator.integers(0, len(body), 4):
            damaged[place] = generator.integers(256)
        path.write_bytes(damaged)
        try:
            read_lens("jacobian", path).matrices[1]()
        except (InvalidRequestError, KeyError):
            continue
    for content in (body[:100], b"not a file of torch"):
        path.write_bytes(content)
        with pytest.raises(InvalidRequestError):
            read_lens("jacobian", path)
    with pytest.raises(InvalidRequestError, match=r"config\.json"):
        read_lens("tuned", tmp_path)


# --- heads -------------------------------------------------------------------------------


def factors(model: torch.nn.Module, layer: int, head: int) -> dict[str, torch.Tensor]:
    """W_Q, W_K, W_V as ``[d_model, d_head]`` and W_O as ``[d_head, d_model]`` of a head."""
    inner = model.base_model
    width = HIDDEN // HEADS
    own = slice(head * width, (head + 1) * width)
    if hasattr(inner, "h"):
        attention = inner.h[layer].attn
        q, k, v = attention.c_attn.weight.detach().split(HIDDEN, dim=1)
        return {"Q": q[:, own], "K": k[:, own], "V": v[:, own],
                "O": attention.c_proj.weight.detach()[own]}  # fmt: skip
    attention = inner.layers[layer].self_attn
    of_keys = slice(head // 2 * width, (head // 2 + 1) * width)
    return {
        "Q": attention.q_proj.weight.detach()[own].T,
        "K": attention.k_proj.weight.detach()[of_keys].T,
        "V": attention.v_proj.weight.detach()[of_keys].T,
        "O": attention.o_proj.weight.detach()[:, own].T,
    }


def folded(norm: torch.nn.Module, rows: torch.Tensor) -> torch.Tensor:
    if isinstance(norm, torch.nn.LayerNorm):
        rows = rows - rows.mean(-1, keepdim=True)
    return rows * norm.weight.detach()


@pytest.mark.parametrize("layer", [0, 3])
def test_a_heads_circuits_are_the_products_of_the_folded_weights(both: Both, layer):
    kit, model = both
    inner = model.base_model
    blocks = getattr(inner, "layers", None) or inner.h
    before = getattr(blocks[layer], "input_layernorm", None) or blocks[layer].ln_1
    final = getattr(inner, "norm", None) or inner.ln_f
    embedding = folded(before, model.get_input_embeddings().weight.detach())
    head = 3
    weights = factors(model, layer, head)
    written = folded(final, weights["O"]) @ model.lm_head.weight.detach().T
    expected = {
        "OV": embedding @ weights["V"] @ written,
        "QK": embedding @ weights["Q"] @ weights["K"].T @ embedding.T,
    }
    for name, matrix in expected.items():
        found = head_circuit(kit, layer, head, name)
        scale = float(matrix.abs().max())
        for token in (0, 17, 95):
            row = matrix[token].numpy()
            np.testing.assert_allclose(found.row(token), row, atol=1e-5 * scale)
        np.testing.assert_allclose(found.diagonal, matrix.diagonal().numpy(), atol=1e-5 * scale)
        values = torch.linalg.eigvals(matrix.double())
        score = float(values.sum().real / values.abs().sum())
        assert found.score == pytest.approx(score, abs=1e-4)
    with pytest.raises(UnknownHeadError):
        head_circuit(kit, layer, HEADS, "OV")
    with pytest.raises(InvalidRequestError, match="OV, QK"):
        head_circuit(kit, layer, 0, "VO")
