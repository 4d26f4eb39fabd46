"""Gradients of targets, and what they say of tokens, agree with PyTorch."""

import numpy as np
import pytest
import torch
from tiny import tiny_kit

from engine.analysis.saliency import Baseline, saliency
from engine.analysis.target import Target
from engine.captures.hooks import ActivationHookSpec, resolve_hooks
from engine.errors import InvalidRequestError, UnknownPositionError, UnsupportedOperationError
from engine.runs.kit import ModelKit, load_model, single_token, tokenize

PROMPT = "The capital of France is"
HEADS, HEAD_DIM, LAYER = 9, 64, 7
TOLERANCE = {"logit": 2e-5, "logit_difference": 2e-5}
"""Of which 1.04e-5 was seen, where the order in which threads add up was another one."""
OF_PROBABILITIES = 1e-4
"""Such gradients are multiples of 1 - p, of which float32's last digits of a logit are 1e-5."""


@pytest.fixture(scope="module")
def smollm2(smollm2_path) -> ModelKit:
    return load_model(smollm2_path, dtype="float32")


def targets(kit: ModelKit) -> dict[str, Target]:
    paris, rome = (single_token(kit, name) for name in (" Paris", " Rome"))
    return {
        "logit": Target("logit", [paris], positions=[-1, 2]),
        "logit_difference": Target("logit_difference", [paris], [rome]),
        "log_probability": Target("log_probability", [paris, rome]),
        "probability": Target("probability", [paris], [rome]),
        "loss": Target("loss"),
        "loss of given tokens": Target("loss", [rome, paris], positions=[1, -1]),
    }


def expected_score(name: str, target: Target, logits: torch.Tensor, tokens: list[int]):
    """The target as PyTorch has it, from logits ``[seq, vocab]``."""
    ids, against = list(target.tokens), list(target.against)
    logs = logits.log_softmax(-1)
    match name:
        case "logit":
            return (logits[-1, ids[0]] + logits[2, ids[0]]) / 2
        case "logit_difference":
            return logits[-1, ids[0]] - logits[-1, against[0]]
        case "log_probability":
            return logs[-1].exp()[ids].sum().log()
        case "probability":
            return logs[-1].exp()[ids[0]] - logs[-1].exp()[against[0]]
        case "loss":
            following = torch.tensor(tokens[1:])
            return torch.nn.functional.cross_entropy(logits[:-1], following)
    return -(logs[1, ids[0]] + logs[-1, ids[1]]) / 2


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference, in shares of the largest number; of zeros by themselves."""
    return float(np.abs(found - expected).max() / (np.abs(expected).max() or 1.0))


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(
    "name",
    [
        "logit",
        "logit_difference",
        "log_probability",
        "probability",
        "loss",
        "loss of given tokens",
    ],
)
def test_gradients_of_each_target_agree_with_pytorch(smollm2, smollm2_reference, name):
    target, tokens = targets(smollm2)[name], tokenize(smollm2, PROMPT)
    hooks = resolve_hooks(
        [
            ActivationHookSpec("embedding", "embedding", "tokens"),
            ActivationHookSpec(str(LAYER), "head_output", "head", heads=(4,), positions=(-1,)),
            ActivationHookSpec(str(LAYER), "residual", "stream"),
        ],
        smollm2.structure,
    )
    found = saliency(smollm2, tokens, target, hooks)
    model, kept = smollm2_reference, {}

    def keep(key):
        def hook(module, args, output=None):
            value = args[0] if output is None else output
            value = value[0] if isinstance(value, tuple) else value
            value.retain_grad()
            kept[key] = value

        return hook

    block = model.model.layers[LAYER]
    handles = [
        block.self_attn.o_proj.register_forward_pre_hook(keep("head")),
        block.register_forward_hook(keep("stream")),
    ]
    embeddings = model.model.embed_tokens(torch.tensor([tokens])).detach().requires_grad_()
    score = expected_score(name, target, model(inputs_embeds=embeddings).logits[0], tokens)
    score.backward()
    for handle in handles:
        handle.remove()
    model.zero_grad()
    assert found.score == pytest.approx(score.item(), rel=1e-5, abs=2e-5)
    gradient, most = embeddings.grad.numpy(), TOLERANCE.get(name, OF_PROBABILITIES)
    head = kept["head"].grad.reshape(1, -1, HEADS, HEAD_DIM)[:, -1:, 4:5].transpose(1, 2)
    for hook, expected in (
        ("tokens", gradient),
        ("head", head.numpy()),
        ("stream", kept["stream"].grad.numpy()),
    ):
        assert relative(found.gradients[hook][0].data, expected) < most
    values = embeddings.detach().numpy()
    assert relative(found.gradient_x_input, (values * gradient).sum(-1)[0]) < most
    assert relative(found.norm, np.linalg.norm(gradient[0], axis=-1)) < most


@pytest.mark.usefixtures("one_thread")
def test_integrated_gradients_agree_with_pytorch_and_are_complete(smollm2, smollm2_reference):
    target, tokens = targets(smollm2)["logit_difference"], tokenize(smollm2, PROMPT)
    other = tokenize(smollm2, "The capital of Italy is")
    found = saliency(smollm2, tokens, target, baseline=Baseline(other), steps=10).integrated
    model = smollm2_reference
    with torch.no_grad():
        ends = [model.model.embed_tokens(torch.tensor([each])) for each in (other, tokens)]
        scores = [
            expected_score("logit_difference", target, model(inputs_embeds=each).logits[0], tokens)
            for each in ends
        ]
    total = torch.zeros_like(ends[0])
    for step in range(10):  # the midpoint rule
        line = (ends[0] + (step + 0.5) / 10 * (ends[1] - ends[0])).requires_grad_()
        logits = model(inputs_embeds=line).logits[0]
        score = expected_score("logit_difference", target, logits, tokens)
        total += torch.autograd.grad(score, line)[0]
    expected = ((ends[1] - ends[0]) * total / 10).sum(-1)[0].numpy()
    assert relative(found.attributions, expected) < 1e-5
    assert found.baseline_score == pytest.approx(scores[0].item(), rel=1e-5)
    difference = (scores[1] - scores[0]).item()
    assert found.delta == pytest.approx(float(expected.sum()) - difference, abs=1e-3)
    assert abs(found.delta) < 0.05 * abs(difference)
    assert np.flatnonzero(np.abs(found.attributions) > 1e-6).tolist() == [3]  # " France"


def test_what_a_target_cannot_be_is_said():
    kit = tiny_kit("llama")
    for target, error, message in (
        (Target("logit"), InvalidRequestError, "a logit is of at least one token"),
        (Target("logit_difference", [1]), InvalidRequestError, "against at least one token"),
        (Target("logit", [1], [2]), InvalidRequestError, "a logit is against nothing"),
        (Target("probability", [1], [1]), InvalidRequestError, "token 1 is on both sides"),
        (Target("logit", [96]), InvalidRequestError, "96 is outside the vocabulary of 96"),
        (Target("logit", [1], positions=[3]), UnknownPositionError, "positions 0 to 2"),
        (Target("loss", positions=[2]), InvalidRequestError, "no next token"),
        (Target("loss", [1, 2]), InvalidRequestError, "at 1 positions has as many tokens, not 2"),
        (Target("entropy"), InvalidRequestError, "'entropy' is none of logit, "),
    ):
        with pytest.raises(error, match=message):
            saliency(kit, [3, 31, 4], target)
    with pytest.raises(InvalidRequestError, match="it has 2 tokens and the prompt 3"):
        saliency(kit, [3, 31, 4], Target("loss"), baseline=Baseline([1, 2]), steps=2)


def test_an_operation_without_a_gradient_is_refused_by_name():
    with pytest.raises(UnsupportedOperationError, match=r"deepseek_v41 calculates with .*gather"):
        saliency(tiny_kit("deepseek_v41"), [3, 31, 4], Target("loss"))
