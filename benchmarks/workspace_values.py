"""The values of the variables that NeuroScope's documents use without an assignment.

A name in angle brackets stands for another value of the table.
"""

BEFORE = "DocumentWorkspace at: 'self' put: nil"
"""What is evaluated before each block."""
VALUES = {
    "model": "TransformerModel fromHuggingFace: 'gpt2-small'",
    "tokens": "<model> tokenizer encode: 'The cat sat on the mat'",
    "text": "'The cat sat on the mat'",
}
"""A Smalltalk expression for each variable."""
