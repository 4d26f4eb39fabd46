"""The analyses of the demonstration: which prompts, which hooks, what is read from them."""

from bridge import api_types as api
from bridge.demo import findings
from bridge.demo.checks import PROMPT
from bridge.demo.study import Study

EMBEDDING: api.HookSpec = {"layer_name": "embedding", "component": "embedding"}
INDUCTION = "The cat sat near the door. The dog slept near the window. The cat sat near the"


def studies(layers: int) -> list[Study]:
    """The analyses, of a model with so many layers."""
    flow = (findings.contributions, findings.next_tokens, findings.settled)
    parts = ("residual", "attention", "mlp")
    return [
        Study(
            "activation_capture_demo",
            "What the first, the middle and the last layer calculate while a text is generated.",
            PROMPT,
            parts,
            [findings.contributions],
            layers=sorted({0, layers // 2, layers - 1}),
        ),
        Study(
            "circuit_analysis_mathematical_reasoning",
            "Where the answer to a sum is decided.",
            "2 + 2 = 4. 3 + 3 = 6. 4 + 4 =",
            parts,
            flow,
        ),
        Study(
            "circuit_analysis_factual_recall",
            "Where a fact is recalled.",
            "The capital of France is",
            parts,
            flow,
        ),
        Study(
            "circuit_analysis_creative_writing",
            "Where the next word of a story, which could be many, is decided.",
            "Once upon a time, in a forest far away, there lived a",
            parts,
            flow,
        ),
        Study(
            "circuit_analysis_attention_patterns",
            "What the heads look at, in a text that repeats itself.",
            INDUCTION,
            ("attention_pattern",),
            [findings.head_kinds, findings.attention_entropy],
            max_tokens=1,
        ),
        Study(
            "circuit_analysis_residual_stream",
            "How the residual stream grows and turns, layer by layer.",
            PROMPT,
            ("residual",),
            [findings.stream_norms, findings.next_tokens, findings.settled],
            extra=[EMBEDDING],
        ),
        Study(
            "circuit_analysis_mlp_processing",
            "Which neurons the MLPs use, and what these promote.",
            "The capital of France is",
            ("mlp_hidden", "mlp"),
            [findings.neurons],
            max_tokens=1,
        ),
    ]
