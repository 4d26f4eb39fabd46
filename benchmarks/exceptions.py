"""The architectures for which a promise made of all of them does not hold, and why.

Each is a strict expected failure of its test: once it holds, the test says so.
"""

MASK_OF_ZEROS = "mlx-lm adds its mask as zeros and ones, so that tokens attend to later ones"

EXCEPTIONS: dict[str, dict[str, str]] = {
    "test_attention_and_mlp_are_what_the_block_adds_to_the_residual_stream": {
        "falcon_h1": "the block also adds what a state-space mixer beside attention returns",
        "gemma4": "the block also adds an input for each layer, and multiplies by a factor",
        "gemma4_text": "the block also adds an input for each layer, and multiplies by a factor",
        "kimi_k3": "the block also attends to what earlier blocks returned",
        "longcat_flash": "the block adds attention and mlp twice, and a shortcut",
        "longcat_flash_ngram": "the block adds attention and mlp twice, and a shortcut",
        "rwkv7": "the first block adds to its input after a norm",
        "talkie": "the block also adds the embedding",
    },
    "test_no_token_attends_to_a_later_one": {"phi3small": MASK_OF_ZEROS},
    "test_decoding_captures_what_a_pass_over_the_whole_sequence_does": {
        "gear": "each head has its keys before they are seen, unless a cache sees them first",
        "gemma3n": "later layers share keys with earlier ones only where there is a cache",
        "mistral4": "for one token, the rotated part of query and key is kept apart",
        "phi3small": MASK_OF_ZEROS,
        "plamo3": "its cache is one token shorter than the window of its mask",
    },
    "test_the_last_block_s_output_of_another_prompt_gives_that_prompt_s_logits": {
        "kimi_k3": "the logits also depend on what earlier blocks returned",
        "nanbeige": "the blocks run twice, each time to another value",
    },
}
"""By test and architecture, the reason."""
