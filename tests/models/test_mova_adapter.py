"""MoV-Adapter against the vectors of the original implementation, and what its gates do."""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import BertConfig

from r2t2.models.mova.adapter import Adapter, Shape, gated, top

torch.set_num_threads(1)
GOLDEN = Path(__file__).resolve().parents[2] / ".." / "shared" / "golden"
PREFIX = "model.mm_projector."


@pytest.fixture(scope="module")
def golden():
    if not GOLDEN.exists() and not os.environ.get("CI"):
        pytest.skip("the golden vectors (../shared/golden) are not here")
    shape = Shape.read(json.loads((GOLDEN / "mova_tiny_config.json").read_text()))
    weights = load_file(GOLDEN / "mova_tiny_weights.safetensors")
    adapter = Adapter(shape).eval().requires_grad_(False)
    adapter.load_state_dict({name.removeprefix(PREFIX): t for name, t in weights.items()})
    return adapter, load_file(GOLDEN / "mova_tiny_io.safetensors")


def _inputs(adapter, io):
    base, *experts = io["x"].split(
        (adapter.shape.mm_hidden_size, *adapter.shape.expert_channels), -1
    )
    return base, experts, io["text_feat"], io["coarse_routing"] > 0


def test_gates_blocks_and_output_are_those_of_the_original(golden):
    adapter, io = golden
    made = adapter(*_inputs(adapter, io))
    for number in range(adapter.shape.num_projector_layers):
        torch.testing.assert_close(
            made.logits[:, number], io[f"gate_logits.{number}"], atol=1e-4, rtol=0
        )
        torch.testing.assert_close(
            made.blocks[number], io[f"block_out.{number}"], atol=1e-4, rtol=0
        )
    torch.testing.assert_close(made.tokens, io["output"], atol=1e-4, rtol=0)


def test_angles_are_computed_as_the_checkpoint_holds_them(golden):
    adapter, _ = golden
    fresh, loaded = Adapter(adapter.shape).state_dict(), adapter.state_dict()
    angles = [name for name in loaded if ".rope." in name]
    assert len(angles) == 3 * 8 * 2
    for name in angles:
        torch.testing.assert_close(fresh[name], loaded[name], atol=1e-6, rtol=0)


def test_the_full_adapter_has_every_name_and_shape_of_the_checkpoint():
    if not GOLDEN.exists() and not os.environ.get("CI"):
        pytest.skip("the golden state dict (../shared/golden) is not here")
    wanted = json.loads((GOLDEN / "mova_adapter_state_dict.json").read_text())
    large = BertConfig(
        hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096
    )
    with torch.device("meta"):
        adapter = Adapter(Shape(), large)
    found = {PREFIX + name: list(t.shape) for name, t in adapter.state_dict().items()}
    assert found == wanted
    assert len(found) == 768


def test_batched_equals_one_by_one(golden):
    adapter, io = golden
    whole = adapter(*_inputs(adapter, io)).tokens
    for row in range(len(whole)):
        one = adapter(*_inputs(adapter, {name: t[row : row + 1] for name, t in io.items()}))
        torch.testing.assert_close(one.tokens[0], whole[row], atol=1e-5, rtol=0)


def test_a_shift_of_zero_changes_no_bit(golden):
    adapter, io = golden
    plain = adapter(*_inputs(adapter, io))
    shifted = adapter(*_inputs(adapter, io), torch.zeros_like(plain.logits))
    assert torch.equal(plain.tokens, shifted.tokens)


def test_an_expert_left_out_stays_out_whatever_the_shift():
    logits, coarse = torch.randn(4, 7), torch.tensor([[1, 0, 1, 0, 0, 1, 0]] * 4).bool()
    weights = gated(logits, coarse, 100 * torch.randn(4, 7))
    assert (weights[~coarse] == 0).all()
    torch.testing.assert_close(weights.sum(-1), torch.ones(4))


def test_a_shift_from_the_gates_weights_to_others_makes_them_the_weights():
    logits, coarse = torch.randn(4, 7), torch.tensor([[1, 0, 1, 0, 0, 1, 0]] * 4).bool()
    r = torch.rand(4, 7) * coarse
    r /= r.sum(-1, keepdim=True)
    shift = r.clamp_min(1e-6).log() - gated(logits, coarse).clamp_min(1e-6).log()
    torch.testing.assert_close(gated(logits, coarse, shift), r)


def test_a_sample_that_is_routed_to_no_expert_hears_none(golden):
    adapter, io = golden
    base, experts, text, coarse = _inputs(adapter, io)
    nobody = torch.zeros_like(coarse)
    made = adapter(base, experts, text, nobody).tokens
    assert torch.equal(made, adapter(base, [None] * 7, text, nobody).tokens)
    assert torch.equal(
        made, adapter(base, experts, text, nobody, torch.randn(len(text), 3, 7)).tokens
    )


def test_only_the_top_weights_are_kept_and_renormalised():
    weights = torch.tensor([[0.1, 0.4, 0.3, 0.15, 0.05]])
    expected = torch.tensor([[0, 0.4, 0.3, 0.15, 0]]) / 0.85
    torch.testing.assert_close(top(weights, 3), expected)


def test_an_expert_that_is_not_here_is_not_replaced(golden):
    adapter, io = golden
    base, experts, text, coarse = _inputs(adapter, io)
    gone = int(coarse[0].nonzero()[0])
    experts[gone] = None
    with pytest.raises(ValueError, match="not here"):
        adapter(base, experts, text, coarse)
