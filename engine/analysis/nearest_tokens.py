"""The tokens whose embeddings point in the direction of another token's."""

import numpy as np

from engine.runs.kit import ModelKit


def embedding_cosines(kit: ModelKit, token: int) -> np.ndarray:
    """The cosine of the angle between a token's embedding and each token's, ``[vocab]`` in float32.

    The embeddings are the rows of ``W_E``, dequantised. It is 0 for a row of zeros. Raises
    UnknownWeightError where the model has no embedding of tokens, InvalidRequestError for a token
    that there is not.
    """
    rows = kit.weights.read("W_E").arrays["W_E"]
    own = kit.weights.read("W_E", tokens=[token]).arrays["W_E"][0]
    lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(own)
    return np.divide(rows @ own, lengths, out=np.zeros_like(lengths), where=lengths > 0)
