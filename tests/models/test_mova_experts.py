"""Vision experts at tiny size: against other implementations, and from the checkpoint's names."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from transformers import SamVisionConfig
from transformers.models.sam.modeling_sam import SamVisionEncoder

from r2t2.models.mova import experts
from r2t2.models.mova.adapter import Shape
from r2t2.models.mova.codetr import CoDetr, CoDetrShape
from r2t2.models.mova.layers import Rope
from r2t2.models.mova.sam import Sam, SamShape, windowed
from r2t2.models.mova.views import CLIP_MEAN, CLIP_STD, Patches, View
from tests.models import mova

torch.set_num_threads(1)
SIZES = {"image_size": 80, "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2}


def _random(network, seed=0):
    torch.manual_seed(seed)
    for weight in network.parameters():
        nn.init.normal_(weight, 0, 0.2)
    return network.eval().requires_grad_(False)


def test_sam_is_that_of_transformers_and_a_convolution():
    """With windows that do not divide the picture: 5 patches in windows of 3."""
    own = _random(
        Sam(SamShape(**SIZES, window_size=3, global_attn_indexes=(1,), output_channels=8))
    )
    config = SamVisionConfig(**SIZES, window_size=3, global_attn_indexes=[1], output_channels=8)
    other = SamVisionEncoder(config).eval()
    names = experts.SegmentAnything(experts.SegmentAnything.published | SIZES, _common())
    weights = {
        new: part
        for name, t in own.state_dict().items()
        if not name.startswith("net_2")
        for new, part in names.places(name, t)
    }
    other.load_state_dict(weights)
    pixels = torch.randn(2, 3, 80, 80)
    expected = own.net_2(other(pixel_values=pixels).last_hidden_state).flatten(2).transpose(1, 2)
    torch.testing.assert_close(own(pixels), expected, atol=1e-5, rtol=1e-5)
    assert own(pixels).shape == (2, 9, 512)


def test_codetr_in_one_window_is_plain_attention_with_turned_tokens():
    """Windows as large as the picture and layers that see everything are then the same."""
    shape = CoDetrShape(64, 16, 32, 2, 2, window_size=4, span=4, every=2, output_channels=8, out=3)
    network = _random(CoDetr(shape))
    pixels = torch.randn(2, 3, 40, 40)
    made = network(pixels)
    assert made.shape == (2, 9, 8)
    for block in network.blocks:
        block.window = 0
    torch.testing.assert_close(network(pixels), made, atol=1e-5, rtol=1e-5)
    x = torch.randn(1, 4, 4, 32)
    attention, rope = network.blocks[0].attn, network.rope_win
    q = (attention.q_proj(x) + attention.q_bias).view(16, 2, 16)
    k = attention.k_proj(x).view(16, 2, 16)
    v = (attention.v_proj(x) + attention.v_bias).view(16, 2, 16)
    for head in range(2):
        scores = rope(q[:, head]) @ rope(k[:, head]).T / 4
        q[:, head] = scores.softmax(-1) @ v[:, head]
    expected = attention.proj(q.reshape(1, 4, 4, 32))
    torch.testing.assert_close(attention(x, rope), expected, atol=1e-5, rtol=1e-5)


def test_angles_depend_on_how_far_apart_tokens_are_alone():
    rope = Rope(6, 16)
    q, k = torch.randn(16).expand(36, -1), torch.randn(16).expand(36, -1)
    scores = (rope(q) @ rope(k).T).view(6, 6, 6, 6)
    torch.testing.assert_close(scores[1, 2, 3, 0], scores[2, 4, 4, 2], atol=1e-4, rtol=1e-4)
    assert not torch.isclose(scores[1, 2, 3, 0], scores[1, 2, 3, 1], atol=1e-3)


def test_windows_are_whole_and_in_place():
    x = torch.arange(2 * 5 * 4.0).view(2, 5, 4, 1)
    assert torch.equal(windowed(lambda part: part, x, 3), x)
    sums = windowed(lambda part: part.sum((1, 2), keepdim=True).expand_as(part), x, 3)
    assert torch.equal(sums[0, :3, :3, 0], x[0, :3, :3, 0].sum().expand(3, 3))
    assert torch.equal(sums[1, 3:, 3:, 0], x[1, 3:, 3:, 0].sum().expand(2, 1))


def _common():
    return {"side": 4, "layer": -2, "pad": True, "high": 80, "patches": 3} | {
        "mean": CLIP_MEAN,
        "std": CLIP_STD,
    }


@pytest.mark.parametrize("kind", experts.EXPERTS)
def test_every_expert_is_filled_from_the_checkpoints_names(kind):
    """Old names, made by the inverse of the published code's modules, reach every weight once."""
    tower = kind(kind.published | mova.VISION.get(kind.key, {}), _common())
    wanted = tower.network.state_dict()
    filled = {}
    for name, tensor in mova.old_names(kind.key, wanted).items():
        for new, part in tower.places(name, tensor):
            assert new not in filled
            filled[new] = part
    assert filled.keys() == wanted.keys()
    assert all(torch.equal(filled[name], wanted[name]) for name in wanted)


def test_what_an_expert_can_do_without_is_left_out():
    biomed = experts.Biomed(experts.Biomed.published | mova.VISION["biomedclip"], _common())
    assert not list(biomed.places("head.proj.weight", torch.ones(1)))


def test_full_experts_have_the_channels_that_the_adapter_expects():
    numbers = [f"model.vision_tower.vision_tower_{number}.x" for number in range(8)]
    sizes = {"clip": 672, "dinov2": 518, "biomedclip": 224}
    made = {}
    with torch.device("meta"):
        found = experts.towers({}, numbers)
        for key, tower in found.items():
            if key in ("pix2struct", "deplot"):  # which look at values, of which there are none
                made[key] = (tower.look.side**2, tower.network.config.hidden_size)
                continue
            size = sizes.get(key, 1024)
            made[key] = tuple(tower.eval()(torch.empty(1, 3, size, size)).shape[1:])
    assert made == {
        "clip": (2304, 1024),
        "dinov2": (1369, 1536),
        "vary": (1024, 512),
        "codetr": (1369, 256),
        "pix2struct": (2025, 1536),
        "deplot": (2025, 768),
        "biomedclip": (196, 768),
        "sam": (4096, 256),
    }
    assert tuple(channels for _, channels in list(made.values())[1:]) == Shape().expert_channels


def test_pictures_are_padded_with_the_mean_colour_or_cropped():
    wide = Image.fromarray(np.full((20, 40, 3), 255, np.uint8))
    padded = View(40, CLIP_MEAN, CLIP_STD, True)([wide])
    cropped = View(40, CLIP_MEAN, CLIP_STD, False)([wide])
    assert padded.shape == cropped.shape == (1, 3, 40, 40)
    assert padded[0, :, 0].abs().max() < 0.02
    assert torch.equal(padded[0, :, 20], cropped[0, :, 20])
    assert (cropped[0] == cropped[0, :, :1, :1]).all()


def test_patches_bear_their_rows_and_columns():
    seen = Patches(3, True)(
        [Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 50, 3), np.uint8))]
    )
    assert seen.shape == (1, 9, 2 + 3 * 256)
    assert seen[0, :, :2].tolist() == [[r, c] for r in (1, 2, 3) for c in (1, 2, 3)]


def test_a_size_that_an_expert_has_not_is_refused():
    with pytest.raises(ValueError, match="no depth"):
        experts.Vary({"depth": 3}, _common())
