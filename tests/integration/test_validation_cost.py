"""What the checks on loading a model cost."""

import pytest
from support import tiny

from arithloc.benchmark.models import validate


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_two_forwards_of_two_prompts_of_four_tokens(family):
    """16 tokens go through each block, which a prompt of a few tokens and its counterfactual come to as well; the last
    block's attention runs three times more, for query, key and value of one head."""
    model, tokens = tiny.subject(family, layers=3), {}

    def counted(part, where):
        def note(_, args, kwargs):
            found = args[0] if args else kwargs["hidden_states"]
            tokens[part] = tokens.get(part, 0) + found.shape[0] * found.shape[1]

        where.register_forward_pre_hook(note, with_kwargs=True)

    for layer in range(3):
        counted(f"mlp {layer}", model.mlp(layer))
        counted(f"z {layer}", model.attention_output(layer))
    counted("final", model.final_norm)
    validate(model)
    assert tokens.pop("z 2") <= 5 * 8
    assert max(tokens.values()) <= 3 * 8
    assert sum(count for part, count in tokens.items() if part != "final") == 5 * 16
