"""How many floating-point operations a training step takes, by formula.

A matrix of P weights costs 2 P operations a token forward, and 2 P a token for each of the two
gradients, of its input and of itself: Kaplan et al. 2020, "Scaling Laws for Neural Language
Models", section 2.1. Attention adds 4 T C a token and block forward, T positions and C width, and
twice that backward: Chowdhery et al. 2022, "PaLM", appendix B, which likewise does not halve it for
the causal rule. LayerNorms, activations, embeddings and a head of two classes are left out.

Here it is counted block by block, because the gradients are not needed everywhere: below the
lowest block that trains there are none, and a frozen matrix has no gradient of itself. A block of
GPT-2 has 12 C² weights in matrices: 3 C² for query, key and value, C² after attention, 8 C² in the
MLP.
"""

LOWEST_TRAINED = {"last_layer": None, "last_block": 1, "last_two_blocks": 2, "all": 0, "lora": 0}
"""How many of the last blocks train; ``None``: none, 0: all of them."""

VOCABULARY = 50257


def adapter_weights(n_embd: int, rank: int, *, is_shared: bool) -> int:
    """Weights of the adapters on all linear layers of a block.

    Args:
        n_embd: C.
        rank: of each adapter.
        is_shared: whether one adapter serves query, key and value, as in PEFT.
    """
    qkv = 4 if is_shared else 6
    return rank * n_embd * (qkv + 2 + 5 + 5)


def step_flops(
    *,
    n_layer: int,
    n_head: int,
    n_embd: int,
    strategy: str,
    rows: int,
    width: int,
    first_block: int = 0,
    selects_one: bool = False,
    adapters: int = 0,
) -> float:
    """Operations of one forward and backward pass over a batch.

    Args:
        n_layer: blocks.
        n_head: H.
        n_embd: C.
        strategy: what trains, a key of ``LOWEST_TRAINED``.
        rows: examples.
        width: positions of each, padding included.
        first_block: the lowest block that is run at all.
        selects_one: whether the last block computes one position of each row and no other.
        adapters: weights of the adapters of a block; with them the matrices stay frozen.
    """
    blocks = LOWEST_TRAINED[strategy]
    lowest = n_layer if blocks is None else n_layer - blocks if blocks else 0
    total = 0.0
    for block in range(first_block, n_layer):
        tokens = computed = rows * width
        square = n_embd * n_embd
        everywhere, state_width = 0, n_embd
        if selects_one and block == n_layer - 1:
            computed = rows
            if adapters:  # query, key and value of all positions, as one matrix
                everywhere = 3 * square
            else:  # each head looks at states of full width instead of keys and values
                state_width = n_head * n_embd
        matrices = 2.0 * (everywhere * tokens + (12 * square - everywhere) * computed)
        attention = 4.0 * width * state_width * computed
        low_rank = 2.0 * adapters * computed
        total += matrices + attention + low_rank
        if block >= lowest:
            own_gradients = 0.0 if adapters else matrices
            total += matrices + own_gradients + 2 * attention + 2 * low_rank
    return total


def response_flops(*, n_layer: int, n_embd: int, prompt: int, response: int) -> float:
    """Operations of a prompt at once and of the response after it, a token at a time.

    Args:
        n_layer: blocks.
        n_embd: C.
        prompt: tokens, padding left out.
        response: tokens, each with logits for all of the vocabulary.
    """
    inputs = prompt + response - 1  # the last token is no input
    looks = prompt * prompt + sum(range(prompt + 1, prompt + response))
    blocks = n_layer * (24.0 * n_embd * n_embd * inputs + 4.0 * n_embd * looks)
    return blocks + 2.0 * n_embd * VOCABULARY * response
