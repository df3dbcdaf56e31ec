"""MoVA's networks: tensors in, tensors out, no samples, no text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers.cache_utils import DynamicCache
from transformers.models.bert.configuration_bert import BertConfig
from transformers.models.llama.configuration_llama import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaForCausalLM

from r2t2.contract import Batch
from r2t2.models.logits import shift
from r2t2.models.mova.about import PLACE
from r2t2.models.mova.adapter import Adapter, Mixed, Shape
from r2t2.models.mova.experts import EXPERTS, Tower, towers
from r2t2.models.mova.prompts import IMAGE, PAD
from r2t2.models.mova.routing import ANSWER, TOKENS, fewer
from r2t2.models.speaker import greedy, mean_nll
from r2t2.models.weights import weightless

_LARGE = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16}
_ADAPTER = "model.mm_projector."
_BUFFERS = ("rotary_emb.inv_freq", "position_ids")  # in old checkpoints; computed today


class Network(nn.Module):
    """The language model, the adapter and the vision experts that a checkpoint has.

    Parameters
    ----------
    config : the checkpoint's; under "text_encoder" and "adapter" it may give sizes other than
        the published ones.
    here : names of the checkpoint's tensors.
    """

    def __init__(self, config: Mapping[str, Any], here: Iterable[str]) -> None:
        super().__init__()
        text = BertConfig(**{**_LARGE, "intermediate_size": 4096, **config.get("text_encoder", {})})
        # Heads in the configuration are the language model's; the adapter's are always of 64.
        own = {name: size for name, size in config.items() if name != "head_dim"}
        own |= {"text_feat": text.hidden_size, **config.get("adapter", {})}
        shape = Shape.read(own)
        llama = {name: value for name, value in config.items() if name != "model_type"}
        self.language: Any = LlamaForCausalLM(LlamaConfig.from_dict(llama))
        self.adapter = Adapter(shape, text)
        self.towers = towers(config, here)
        self.routing = int(config.get("num_routing_tokens", TOKENS))

    @property
    def experts(self) -> dict[str, Tower]:
        """CLIP and the experts whose weights the checkpoint holds, by their keys."""
        return {key: tower for key, tower in self.towers.items() if isinstance(tower, Tower)}

    @property
    def present(self) -> Bool[Tensor, " experts"]:
        """Which experts' weights the checkpoint holds."""
        return torch.tensor([expert.key in self.towers for expert in EXPERTS])

    def place(self, named: Iterator[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
        """A checkpoint's tensors under their names here."""
        by_number = {tower.number: (key, tower) for key, tower in self.experts.items()}
        for name, tensor in named:
            if name.endswith(_BUFFERS):
                continue
            found = PLACE.fullmatch(name)
            if found and int(found[1]) in by_number:
                key, tower = by_number[int(found[1])]
                for new, part in tower.places(found[2], tensor):
                    yield f"towers.{key}.network.{new}", part
            elif name.startswith(_ADAPTER):
                yield f"adapter.{name.removeprefix(_ADAPTER)}", tensor
            else:
                yield f"language.{name}", tensor

    def route(
        self,
        base: Float[Tensor, "batch tokens channels"],
        text: Float[Tensor, "batch text"],
        ids: Int[Tensor, "batch prompt"],
        stops: Int[Tensor, " stops"],
    ) -> Int[Tensor, "batch said"]:
        """The language model's reply when asked which experts can help, -1 after its end.

        Parameters
        ----------
        base : which, through the adapter but without experts, is all of the picture that it sees.
        """
        nobody = torch.zeros(len(base), len(EXPERTS), dtype=torch.bool, device=base.device)
        plain = self.adapter(base, [None] * len(EXPERTS), text, nobody).tokens
        return self._say(ids, fewer(plain, self.routing), stops, ANSWER)[0]

    def mix(self, encoded: Batch, r: Float[Tensor, "batch sites experts"] | None = None) -> Mixed:
        """The adapter's tokens under `r`, or under its own routing."""
        held = encoded.tensors
        moved = None if r is None else shift(r, held["r0"].to(r), r.shape[-1])
        experts = [held.get(expert.key) for expert in EXPERTS]
        return self.adapter(held["clip"], experts, held["text"], held["coarse"], moved)

    def nll(
        self,
        encoded: Batch,
        answers: Int[Tensor, "answers tokens"],
        r: Float[Tensor, "batch sites experts"],
        owner: Int[Tensor, " answers"],
    ) -> Float[Tensor, " answers"]:
        """-log p of answers in nats, the mean over each one's tokens; differentiable in r.

        Parameters
        ----------
        answers : -1 after an answer's end.
        owner : the row of `encoded` and `r` that each answer belongs to.
        """
        pictures = self.mix(encoded, r).tokens
        prompts = encoded.tensors["prompt"]

        def logits(some: Tensor, length: int) -> Tensor:
            ids, mask = _trimmed(prompts[owner[some]])
            said = answers[some, : length - 1].clamp_min(0)
            embedded = torch.cat([self._embed(ids, pictures[owner[some]]), self._words(said)], 1)
            mask = torch.cat([mask, torch.ones_like(said)], 1)
            return self._logits(embedded, mask, length)

        return mean_nll(answers, owner, logits)

    def generate(
        self,
        encoded: Batch,
        r: Float[Tensor, "batch sites experts"],
        stops: Int[Tensor, " stops"],
        most: int,
    ) -> tuple[Int[Tensor, "batch tokens"], Float[Tensor, " batch"]]:
        """The greedy answers, -1 after their end, and the mean log p of their tokens."""
        return self._say(encoded.tensors["prompt"], self.mix(encoded, r).tokens, stops, most)

    def _words(self, ids: Int[Tensor, "batch tokens"]) -> Float[Tensor, "batch tokens hidden"]:
        return self.language.get_input_embeddings()(ids)

    def _embed(
        self, ids: Int[Tensor, "batch tokens"], pictures: Float[Tensor, "batch _ hidden"]
    ) -> Float[Tensor, "batch tokens hidden"]:
        words = self._words(ids.clamp_min(0))
        return words.masked_scatter((ids == IMAGE)[..., None], pictures.to(words.dtype))

    def _logits(
        self,
        embedded: Float[Tensor, "batch tokens hidden"],
        mask: Int[Tensor, "batch all"],
        keep: int,
        cache: Any = None,
    ) -> Float[Tensor, "batch keep vocabulary"]:
        positions = (mask.cumsum(1) - 1).clamp_min(0)[:, -embedded.shape[1] :]
        made = self.language(
            inputs_embeds=embedded,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=cache is not None,
            logits_to_keep=keep,
        ).logits
        return made if made.dtype == torch.float64 else made.float()

    @torch.no_grad()
    def _say(
        self, prompts: Tensor, pictures: Tensor, stops: Tensor, most: int
    ) -> tuple[Int[Tensor, "batch tokens"], Float[Tensor, " batch"]]:
        ids, mask = _trimmed(prompts)
        cache = DynamicCache(config=self.language.config)

        def say(last: Tensor | None) -> Tensor:
            nonlocal mask
            if last is None:
                return self._logits(self._embed(ids, pictures), mask, 1, cache)[:, -1]
            mask = torch.cat([mask, torch.ones_like(last)], 1)
            return self._logits(self._words(last), mask, 1, cache)[:, -1]

        return greedy(say, stops, most)


def _trimmed(prompts: Int[Tensor, "batch width"]) -> tuple[Tensor, Tensor]:
    """Prompts without the padding that all of them have, and which tokens are no padding."""
    first = int((prompts != PAD).any(0).int().argmax())
    ids = prompts[:, first:]
    return ids, (ids != PAD).long()


def hollow(files: Path, here: Iterable[str]) -> tuple[dict[str, Any], Network]:
    """A model's configuration, and its network without weights.

    Parameters
    ----------
    here : the names of the checkpoint's tensors.

    Raises
    ------
    ValueError : the configuration is missing or damaged.
    """
    config = _config(files)
    with weightless():
        return config, Network(config, here)


def _config(files: Path) -> dict[str, Any]:
    try:
        return json.loads((files / "config.json").read_text())
    except (OSError, ValueError) as error:
        raise ValueError(
            f"config.json in {files} is missing or damaged ({error}): download the model again"
        ) from error
