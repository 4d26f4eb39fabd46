"""What a model predicts, asked in an image: numbers as PyTorch calculates them."""

import numpy as np
import pytest
import torch
from neuroscope import ask

from bridge.client import LMStudioNeuroScopeClient
from systems import System

TEXT = "The capital of France is Paris"
TEXTS = ["What a joy", "What a great pity"]


@pytest.fixture(scope="module")
def reference(engine: LMStudioNeuroScopeClient, smollm2_reference: torch.nn.Module) -> dict:
    """The text's tokens, its logits, and the residual streams behind the layers, by PyTorch."""
    tokens = engine.tokenize(TEXT)["tokens"]
    with torch.no_grad():
        output = smollm2_reference(torch.tensor([tokens]), output_hidden_states=True)
    return {"tokens": tokens, "logits": output.logits[0].double(), "states": output.hidden_states}


def test_log_probabilities_and_loss_are_pytorch_s(
    system: System, engine: LMStudioNeuroScopeClient, reference: dict
) -> None:
    shares, loss, perplexity, tokens, ablated, refused = ask(
        system,
        engine,
        f"| shares ablated | shares := model logProbabilitiesOf: '{TEXT}';; "
        "model addHook: (InterventionHook layer: 29 component: #mlp type: #ablation);; "
        f"ablated := model loss: '{TEXT}';; model clearHooks;; "
        f"{{shares. model loss: '{TEXT}'. model perplexityOf: '{TEXT}'. "
        f"(model tokens: '{TEXT}') collect: [:each | {{each key. each value}}]. ablated. "
        "[model loss: #(5)] on: InsufficientDataError do: [:error | error messageText]}",
    )
    ids = torch.tensor(reference["tokens"])
    logprobs = reference["logits"].log_softmax(-1)[:-1].gather(1, ids[1:, None])[:, 0]
    assert shares == pytest.approx(logprobs.tolist(), abs=1e-3)
    assert loss == pytest.approx(float(-logprobs.mean()), abs=1e-3)
    assert perplexity == pytest.approx(float((-logprobs.mean()).exp()), rel=1e-3)
    assert [token for token, _ in tokens] == reference["tokens"]
    assert "".join(text for _, text in tokens) == TEXT
    assert abs(ablated - loss) > 0.1
    assert "nothing predicts the first" in refused


def test_the_logit_lens_is_the_norm_and_unembedding_of_each_layer_s_stream(
    system: System,
    engine: LMStudioNeuroScopeClient,
    smollm2_reference: torch.nn.Module,
    reference: dict,
) -> None:
    texts, found, last, first, report = ask(
        system,
        engine,
        f"| lens | lens := model logitLens: '{TEXT}' topK: 3;; "
        "{lens texts. (0 to: 29) asArray collect: [:each | (lens logitsOfLayer: each position: 4) "
        "collect: [:pair | {pair key. pair value}]]. lens last. "
        "lens firstLayerOf: lens last last. lens report}",
    )
    assert "".join(texts) == TEXT
    for layer in range(29):
        with torch.no_grad():
            stream = reference["states"][layer + 1][0, 4]
            logits = smollm2_reference.lm_head(smollm2_reference.model.norm(stream))
        expected = logits.topk(3)
        assert [token for token, _ in found[layer]] == expected.indices.tolist()
        assert [logit for _, logit in found[layer]] == pytest.approx(
            expected.values.tolist(), abs=2e-3
        )
    final = reference["logits"][4].topk(3)
    assert [token for token, _ in found[29]] == final.indices.tolist()
    assert last[first:] == [last[-1]] * (30 - first)
    assert first == 0 or last[first - 1] != last[-1]
    assert len(report.replace("\r", "\n").strip("\n").split("\n")) == 30


def test_texts_become_the_examples_of_a_probe(
    system: System, engine: LMStudioNeuroScopeClient, smollm2_reference: torch.nn.Module
) -> None:
    quoted = " ".join(f"'{text}'" for text in TEXTS)
    shape, data, token_shape, token_data, predicted, refused = ask(
        system,
        engine,
        f"| captured several probe | captured := model capture: #({quoted}) layers: 12 "
        "components: #residual;; "
        f"several := model capture: #({quoted}) layers: #(11 12) components: #residual;; "
        "probe := LinearProbe input: captured asExamples labels: #('glad' 'sad') "
        "regularization: 0.1;; probe train;; "
        "{captured asExamples shape. (several asExamplesAt: 12 -> #residual) data. "
        "captured asTokenExamples shape. captured asTokenExamples data. "
        "probe predictAll: captured asExamples. "
        "[several asExamples] on: InsufficientDataError do: [:error | error messageText]}",
    )
    states = []
    for text in TEXTS:
        ids = torch.tensor([engine.tokenize(text)["tokens"]])
        with torch.no_grad():
            output = smollm2_reference(ids, output_hidden_states=True)
        states.append(output.hidden_states[13][0].numpy())
    assert shape == [2, 576]
    scale = np.abs(states[0]).max()
    np.testing.assert_allclose(data, np.stack([s[-1] for s in states]).ravel(), atol=1e-4 * scale)
    assert token_shape == [sum(map(len, states)), 576]
    np.testing.assert_allclose(token_data, np.concatenate(states).ravel(), atol=1e-4 * scale)
    assert predicted == ["glad", "sad"]
    assert "layer_11_residual layer_12_residual: say which one" in refused
