"""The names of what can be captured: one vocabulary from the API to the taps."""

from enum import StrEnum


class ComponentType(StrEnum):
    """An internal activation of a transformer, by the field's standard name.

    Shapes: *hidden* components are ``[batch, seq, hidden]``; query-like ones
    ``[batch, heads, seq, head_dim]`` (key and value with ``kv_heads``); scores and pattern
    ``[batch, heads, query, key]``; *neurons* ``[batch, seq, d_mlp]``, and in a layer with a mixture
    of experts ``[batch, seq, chosen, d_expert]``: those of the chosen experts, in the order of
    `ROUTER_CHOICE`, without those of an expert that is shared by all tokens.
    """

    EMBEDDING = "embedding"  # token embedding as it enters the first block; hidden
    RESIDUAL = "residual"  # a block's output (as an input: the block's input); hidden
    RESIDUAL_MID = "residual_mid"  # residual stream between attention and mlp; hidden
    LAYERNORM = "layernorm"  # output of the norm before attention; hidden
    ATTENTION = "attention"  # what attention adds to the residual stream; hidden
    MLP = "mlp"  # what the mlp adds to the residual stream; hidden
    MLP_GATE = "mlp_gate"  # what the activation function is given; neurons
    MLP_HIDDEN = "mlp_hidden"  # what the down projection is given; neurons
    QUERY_PRE_ROPE = "query_pre_rope"  # query before rotation
    KEY_PRE_ROPE = "key_pre_rope"  # key before rotation
    QUERY = "query"  # query after rotation
    KEY = "key"  # key after rotation
    VALUE = "value"
    ATTENTION_SCORES = "attention_scores"  # scaled and masked, before softmax
    ATTENTION_PATTERN = "attention_pattern"  # after softmax; rows sum to 1 (with sinks: less)
    HEAD_OUTPUT = "head_output"  # pattern x value, before the output projection; query-like
    ROUTER = "router"  # weight of each expert, 0 where not chosen; [batch, seq, experts]
    ROUTER_CHOICE = "router_choice"  # ids of the chosen experts; [batch, seq, chosen]
    EXPERT_OUTPUT = "expert_output"  # per chosen expert, unweighted; [batch, seq, chosen, hidden]
    FINAL_NORM = "final_norm"  # output of the norm before the unembedding; hidden
    LOGITS = "logits"  # [batch, seq, vocab]


PER_HEAD = frozenset(
    {
        ComponentType.QUERY_PRE_ROPE,
        ComponentType.KEY_PRE_ROPE,
        ComponentType.QUERY,
        ComponentType.KEY,
        ComponentType.VALUE,
        ComponentType.ATTENTION_SCORES,
        ComponentType.ATTENTION_PATTERN,
        ComponentType.HEAD_OUTPUT,
    }
)
"""Components whose axis 1 is the head: `heads` may be selected."""

NEURONS = frozenset({ComponentType.MLP_GATE, ComponentType.MLP_HIDDEN})
"""Components whose last axis is the neuron of an MLP."""

WHOLE_MODEL = frozenset({ComponentType.EMBEDDING, ComponentType.FINAL_NORM, ComponentType.LOGITS})
"""Components that a model has once, not once a layer."""
