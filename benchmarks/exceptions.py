"""The architectures for which a promise made of all of them does not hold, and why.

Each is a strict expected failure of its test: once it contains, the test says so.
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
    "test_chunks_capture_what_one_pass_does": {
        "minimax_m3_vl": "the indexer's query is seen before rotation; few keys leave it out",
        "phi3small": MASK_OF_ZEROS,
        "plamo3": "its cache is one token shorter than the window of its mask",
    },
    "test_decoding_captures_what_a_pass_over_the_whole_sequence_does": {
        "phi3small": MASK_OF_ZEROS,
        "plamo3": "its cache is one token shorter than the window of its mask",
    },
    "test_the_last_block_s_output_of_another_prompt_gives_that_prompt_s_logits": {
        "kimi_k3": "the logits also depend on what earlier blocks returned",
        "nanbeige": "the blocks run twice, each time to another value",
    },
    "test_what_the_mlp_reads_times_its_projections_gives_the_neurons": {
        "apertus": "its activation function, xIELU, has parameters of its own",
        "gemma3n": "its activation function is sparse",
        "gemma4": "its experts are given another norm of the stream than the MLP beside them",
        "gemma4_text": "its experts are given another norm of the stream than the MLP beside them",
        "gpt_oss": "it clips, and adds 1 to what the gate multiplies",
        "kimi_k3": "it clips",
        "lille-130m": "it norms what it is given itself",
        "llama4": "its experts are given the stream times their weights",
        "minimax_m3_vl": "it clips, and adds 1 to what the gate multiplies",
        "phi3small": "it clips, and adds 1 to what the gate multiplies",
        "rwkv7": "its projection is given a mixture of this token and the one before",
    },
}
"""By test and architecture, the reason."""
