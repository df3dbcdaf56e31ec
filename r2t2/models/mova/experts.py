"""The vision experts: seven, and CLIP that all is mixed into.

Each is loaded from the checkpoint's own tensors, `model.vision_tower.vision_tower_N.`, whose names
are those that transformers 4, timm and SAM's own code gave them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any, ClassVar

from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn
from transformers.models.clip.configuration_clip import CLIPVisionConfig
from transformers.models.clip.modeling_clip import CLIPVisionModel
from transformers.models.dinov2.configuration_dinov2 import Dinov2Config
from transformers.models.dinov2.modeling_dinov2 import Dinov2Model
from transformers.models.pix2struct.configuration_pix2struct import Pix2StructVisionConfig
from transformers.models.pix2struct.modeling_pix2struct import Pix2StructVisionModel
from transformers.models.sam.configuration_sam import SamVisionConfig
from transformers.models.sam.modeling_sam import SamVisionEncoder
from transformers.models.vit.configuration_vit import ViTConfig
from transformers.models.vit.modeling_vit import ViTModel

from r2t2.models.mova.about import numbers
from r2t2.models.mova.codetr import CoDetr, CoDetrShape
from r2t2.models.mova.sam import Sam, SamShape
from r2t2.models.mova.views import (
    CLIP_MEAN,
    CLIP_STD,
    IMAGENET_MEAN,
    IMAGENET_STD,
    Patches,
    View,
    resized,
)

PATCH = 14  # of CLIP and DINOv2, in pixels
Settings = dict[str, Any]


class Tower(nn.Module):
    """A vision expert: pictures -> a square of tokens.

    Attributes
    ----------
    key, number : in the configuration, and in the checkpoint.
    published : the sizes that it was published with.
    renamed : patterns in the checkpoint's names, and what stands there in the network's.
    split : of these the tensor in the checkpoint is cut into as many equal parts.
    unused : a pattern of names in the checkpoint that the network can do without.
    network : whose weights the checkpoint holds.
    side : tokens in a row and in a column of what comes out.
    look : what it is given to see.
    """

    key: ClassVar[str]
    number: ClassVar[int]
    published: ClassVar[Settings] = {}
    renamed: ClassVar[Mapping[str, str]] = {}
    split: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    unused: ClassVar[str] = "^$"
    network: nn.Module
    side: int
    look: Callable[[Sequence[Image.Image]], Tensor]

    def __init__(self, settings: Settings, common: Settings) -> None:
        super().__init__()

    def forward(self, seen: Tensor) -> Float[Tensor, "images tokens channels"]:
        raise NotImplementedError

    @property
    def tokens(self) -> int:
        """Of a picture."""
        return self.side**2

    def places(self, name: str, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Where a tensor of the checkpoint belongs in `network`, and in what parts."""
        if re.search(self.unused, name):
            return
        for pattern, parts in self.split.items():
            if re.search(pattern, name):
                for part, piece in zip(parts, tensor.chunk(len(parts)), strict=True):
                    yield self._new(re.sub(pattern, part, name)), piece
                return
        yield self._new(name), tensor

    def _new(self, name: str) -> str:
        for pattern, text in self.renamed.items():
            name = re.sub(pattern, text, name)
        return name


class Clip(Tower):
    """CLIP ViT-L/14 at 672 pixels, whose tokens are the base."""

    key, number = "clip", 0
    published: ClassVar[Settings] = {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "patch_size": PATCH,
    }
    renamed: ClassVar = {r"^vision_model\.": ""}

    def __init__(self, settings: Settings, common: Settings) -> None:
        super().__init__(settings, common)
        self.layer, self.side = common["layer"], common["side"]
        size = PATCH * self.side
        self.network = CLIPVisionModel(CLIPVisionConfig(**{"image_size": size, **settings}))
        self.look = View(size, CLIP_MEAN, CLIP_STD, common["pad"])

    def forward(self, seen: Tensor) -> Float[Tensor, "images tokens channels"]:
        made = self.network(pixel_values=seen, output_hidden_states=True)
        return made.hidden_states[self.layer][:, 1:]


class Dino(Tower):
    """DINOv2 giant; pictures are brought to at most the size that it was trained at."""

    key, number = "dinov2", 1
    published: ClassVar[Settings] = {
        "hidden_size": 1536,
        "num_hidden_layers": 40,
        "num_attention_heads": 24,
        "use_swiglu_ffn": True,
        "image_size": 518,
        "patch_size": PATCH,
    }
    renamed: ClassVar = {
        r"attention\.attention\.query": "attention.q_proj",
        r"attention\.attention\.key": "attention.k_proj",
        r"attention\.attention\.value": "attention.v_proj",
        r"attention\.output\.dense": "attention.o_proj",
        r"mlp\.weights_out": "mlp.down_proj",
    }
    split: ClassVar = {r"mlp\.weights_in": ("mlp.gate_proj", "mlp.up_proj")}

    def __init__(self, settings: Settings, common: Settings) -> None:
        super().__init__(settings, common)
        self.layer = common["layer"]
        self.side = min(settings["image_size"] // PATCH, common["side"])
        self.network = Dinov2Model(Dinov2Config(**settings))
        self.look = View(PATCH * common["side"], IMAGENET_MEAN, IMAGENET_STD, common["pad"])

    def forward(self, seen: Tensor) -> Float[Tensor, "images tokens channels"]:
        shown = resized(seen, PATCH * self.side)
        made = self.network(pixel_values=shown, output_hidden_states=True)
        return made.hidden_states[self.layer][:, 1:]


class Vary(Tower):
    """Vary's SAM-base, for documents and charts."""

    key, number = "vary", 2

    def __init__(self, settings: Settings, common: Settings) -> None:
        super().__init__(settings, common)
        shape = _shape(SamShape, settings)
        self.network, self.side = Sam(shape), (shape.side + 1) // 2
        self.look = View(shape.image_size, common["mean"], common["std"], common["pad"])

    def forward(self, seen: Tensor) -> Float[Tensor, "images tokens channels"]:
        return self.network(seen)


class Detector(Tower):
    """Co-DETR's ViT-L."""

    key, number = "codetr", 3
    unused = "rope"  # angles, which are computed

    def __init__(self, settings: Settings, common: Settings) -> None:
        super().__init__(settings, common)
        shape = _shape(CoDetrShape, settings)
        self.network, self.side = CoDetr(shape), shape.out
        self.look = View(common["high"], common["mean"], common["std"], common["pad"])

    def forward(self, seen: Tensor) -> Float[Tensor, "images tokens channels"]:
        return self.network(seen)


class Pix2Struct(Tower):
    """Pix2Struct large, the encoder."""

    key, number = "pix2struct", 4
    published: ClassVar[Settings] = {
        "hidden_size": 1536,
        "d_ff": 3968,
        "num_hidden_layers": 18,
        "num_attention_heads": 24,
        "d_kv": 64,
    }

    def __init__(self, settings: Settings, common: Settings) -> None:
        super().__init__(settings, common)
        self.network = Pix2StructVisionModel(Pix2StructVisionConfig(**settings))
        self.side = common["patches"]
        self.look = Patches(self.side, common["pad"])

    def forward(self, seen: Tensor) -> Float[Tensor, "images tokens channels"]:
        return self.network(flattened_patches=seen).last_hidden_state


class Deplot(Pix2Struct):
    """Deplot, the encoder: a Pix2Struct base for charts."""

    key, number = "deplot", 5
    published: ClassVar[Settings] = {
        "hidden_size": 768,
        "d_ff": 2048,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "d_kv": 64,
    }


class Biomed(Tower):
    """BiomedCLIP's ViT-B/16, which timm calls `vit_base_patch16_224`."""

    key, number = "biomedclip", 6
    published: ClassVar[Settings] = {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "image_size": 224,
        "patch_size": 16,
        "layer_norm_eps": 1e-6,
    }
    renamed: ClassVar = {
        r"^trunk\.": "",
        r"^cls_token": "embeddings.cls_token",
        r"^pos_embed": "embeddings.position_embeddings",
        r"^patch_embed\.proj": "embeddings.patch_embeddings.projection",
        r"^blocks\.": "layers.",
        r"norm1\.": "layernorm_before.",
        r"norm2\.": "layernorm_after.",
        r"attn\.proj": "attention.o_proj",
        r"^norm\.": "layernorm.",
    }
    split: ClassVar = {
        r"attn\.qkv": ("attention.q_proj", "attention.k_proj", "attention.v_proj"),
    }
    unused = r"^head\."  # onto the space it shares with texts

    def __init__(self, settings: Settings, common: Settings) -> None:
        super().__init__(settings, common)
        self.size = settings["image_size"]
        self.side = self.size // settings["patch_size"]
        self.network = ViTModel(ViTConfig(**settings), add_pooling_layer=False)
        self.look = View(PATCH * common["side"], CLIP_MEAN, CLIP_STD, common["pad"])

    def forward(self, seen: Tensor) -> Float[Tensor, "images tokens channels"]:
        return self.network(pixel_values=resized(seen, self.size)).last_hidden_state[:, 1:]


class SegmentAnything(Tower):
    """SAM huge, the image encoder."""

    key, number = "sam", 7
    published: ClassVar[Settings] = {
        "hidden_size": 1280,
        "num_hidden_layers": 32,
        "num_attention_heads": 16,
        "global_attn_indexes": [7, 15, 23, 31],
        "image_size": 1024,
        "patch_size": 16,
    }
    renamed: ClassVar = {
        r"^patch_embed\.proj": "patch_embed.projection",
        r"^blocks\.": "layers.",
        r"norm([12])\.": r"layer_norm\1.",
        r"^neck\.0\.": "neck.conv1.",
        r"^neck\.1\.": "neck.layer_norm1.",
        r"^neck\.2\.": "neck.conv2.",
        r"^neck\.3\.": "neck.layer_norm2.",
    }

    def __init__(self, settings: Settings, common: Settings) -> None:
        super().__init__(settings, common)
        self.network = SamVisionEncoder(SamVisionConfig(**settings))
        self.side = settings["image_size"] // settings["patch_size"]
        self.look = View(settings["image_size"], common["mean"], common["std"], common["pad"])

    def forward(self, seen: Tensor) -> Float[Tensor, "images tokens channels"]:
        return self.network(pixel_values=seen).last_hidden_state.flatten(2).transpose(1, 2)


# In the order of the adapter's experts.
EXPERTS: tuple[type[Tower], ...] = (
    Dino,
    Vary,
    Detector,
    Pix2Struct,
    Deplot,
    Biomed,
    SegmentAnything,
)


def towers(config: Mapping[str, Any], here: Iterable[str]) -> nn.ModuleDict:
    """CLIP and the experts whose weights are among a checkpoint's tensors, by their keys.

    Parameters
    ----------
    config : the checkpoint's; under "vision_experts" it may give sizes other than the published
        ones, by an expert's key, and under "common" what several share.
    here : names of the checkpoint's tensors.
    """
    found = numbers(here)
    given = config.get("vision_experts", {})
    common = {
        "side": config.get("image_feat_size", 48),
        "layer": config.get("mm_vision_select_layer", -2),
        "pad": config.get("image_aspect_ratio") == "pad",
        "high": 1024,
        "patches": 45,
        "mean": CLIP_MEAN,
        "std": CLIP_STD,
        **given.get("common", {}),
    }
    kinds: tuple[type[Tower], ...] = (Clip, *EXPERTS)
    return nn.ModuleDict(
        {
            kind.key: kind({**kind.published, **given.get(kind.key, {})}, common)
            for kind in kinds
            if kind.number in found or kind is Clip
        }
    )


def _shape(kind: Callable[..., Any], settings: Settings) -> Any:
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(settings) - known)
    if unknown:
        raise ValueError(f"a vision expert has no {', '.join(unknown)}")
    lists = {name: tuple(v) if isinstance(v, list) else v for name, v in settings.items()}
    return kind(**lists)
