"""MoAI's mixer: three experts for a picture's tokens, three for those of language, two gates."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from r2t2.models.moai.attention import Attention, Part, precise
from r2t2.models.moai.config import Config

# In the order of the gates' outputs, in the paper's names.
EXPERTS = (("I_AUX", "I_LANG", "I_SELF"), ("L_AUX", "L_IMG", "L_SELF"))
KINDS = ("image", "language")
# Logits of both gates, for the columns of a `Part` each.
Logits = tuple[Float[Tensor, "batch columns 3"], Float[Tensor, "batch columns 3"]]


class Expert(nn.Module):
    """Attention to a context through low-rank maps, added to what it starts from."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self._heads = config.moai_heads
        self.linear_q, self.linear_k = _low_rank(config), _low_rank(config)
        self.linear_v, self.linear_o = _low_rank(config), _low_rank(config)

    def forward(
        self,
        x: Float[Tensor, "batch tokens d"],
        context: Float[Tensor, "batch others d"],
        kept: Bool[Tensor, "batch others"] | None = None,
    ) -> Float[Tensor, "batch tokens d"]:
        q, k, v = (
            F.gelu(linear(tokens)).unflatten(-1, (self._heads, -1)).transpose(1, 2)
            for linear, tokens in (
                (self.linear_q, x),
                (self.linear_k, context),
                (self.linear_v, context),
            )
        )
        mask = None if kept is None else kept[:, None, None, :]
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return x + F.gelu(self.linear_o(seen.transpose(1, 2).flatten(2)))


class Mixing(Attention):
    """Attention before which the tokens of a prompt are mixed from their experts."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.moai_CA_img_aux = Expert(config)
        self.moai_CA_img_lang = Expert(config)
        self.moai_SA_img = Expert(config)
        self.moai_CA_lang_aux = Expert(config)
        self.moai_CA_lang_img = Expert(config)
        self.moai_SA_lang = Expert(config)
        self.moai_GA_img = nn.Linear(config.hidden_size, 3)
        self.moai_GA_lang = nn.Linear(config.hidden_size, 3)

    def mix(
        self,
        x: Float[Tensor, "batch tokens d"],
        image: Part,
        language: Part,
        aux: Float[Tensor, "batch latents d"],
        shift: Float[Tensor, "batch 2 3"] | None = None,
    ) -> tuple[Float[Tensor, "batch tokens d"], Logits]:
        """The normalised hidden states, mixed, and the gates' logits before they are shifted.

        Parameters
        ----------
        shift : of the logits of all image tokens, and of all language tokens.
        """
        seen, said = image.take(x), language.take(x)
        logits = _gate(self.moai_GA_img, seen), _gate(self.moai_GA_lang, said)
        images = (
            self.moai_CA_img_aux(seen, aux),
            self.moai_CA_img_lang(seen, said, language.kept),
            self.moai_SA_img(seen, seen, image.kept),
        )
        words = (
            self.moai_CA_lang_aux(said, aux),
            self.moai_CA_lang_img(said, seen, image.kept),
            self.moai_SA_lang(said, said, language.kept),
        )
        for kind, (part, made) in enumerate(((image, images), (language, words))):
            moved = logits[kind] if shift is None else logits[kind] + shift[:, kind, None]
            weights = moved.softmax(-1)
            mixed = sum(weights[..., i : i + 1] * tokens for i, tokens in enumerate(made))
            x = part.put(x, torch.as_tensor(mixed).to(x.dtype))
        return x, logits


def _low_rank(config: Config) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(config.hidden_size, config.moai_lora_rank, bias=False),
        nn.Linear(config.moai_lora_rank, config.hidden_size, bias=False),
    )


def _gate(gate: nn.Linear, x: Tensor) -> Tensor:
    # In half precision a small shift would be rounded away.
    return F.linear(precise(x), precise(gate.weight), precise(gate.bias))
