"""A quantised cache works in every pass, with everything captured, or is refused when it is set."""

import pytest
from subjects import everywhere
from tiny import PROMPT, tiny_kit

from benchmarks.architectures import ARCHITECTURES
from engine.errors import InvalidRequestError
from engine.runs.generation import create_generator_with_activations

pytestmark = pytest.mark.slow

WIDTHS = {
    "head_dim": 32,
    "hidden_size": 128,
    "qk_nope_head_dim": 32,
    "qk_rope_head_dim": 32,
    "v_head_dim": 32,
    "kv_lora_rank": 32,
    "n_embd": 128,
    "model_dim": 128,
    "swa_head_dim": 32,
    "swa_v_head_dim": 32,
    "hidden_size_per_head": 32,
    "kv_channels": 32,
    "index_head_dim": 64,
    "block_dim": 128,
}
"""By every name that an architecture has for them, wide enough to be quantised by groups of 32."""

READS_PLAIN_ARRAYS = {
    "bailing_hybrid",
    "bailing_moe_v3",
    "deepseek_v3",
    "gemma2",
    "glm4_moe_lite",
    "kimi_linear",
    "mistral4",
    "phi",
    "phi3small",
    "phixtral",
    "plamo",
    "plamo2",
    "stablelm",
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_quantised_cache_is_refused_at_load_or_works(name):
    try:
        kit = tiny_kit(name, kit={"kv_bits": 8, "kv_group_size": 32}, **WIDTHS)
    except InvalidRequestError as error:
        reason = str(error)
        assert reason.startswith(("kv_bits: ", "kv_group_size: "))
        assert (f"attention of {name} does not read" in reason) == (name in READS_PLAIN_ARRAYS)
        return
    hooks = everywhere(kit.structure)
    steps = list(create_generator_with_activations(kit, PROMPT, hooks, max_tokens=3))
    assert len(steps) == 3
    assert all(activations for _, activations in steps)
    assert name not in READS_PLAIN_ARRAYS
