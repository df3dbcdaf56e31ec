"""MoAI-7B on the contract: 4 mixers x 2 kinds of tokens = 8 sites of 3 experts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from r2t2.contract import Batch
from r2t2.models import choices
from r2t2.models.batching import Batches
from r2t2.models.moai.about import USUAL, always
from r2t2.models.moai.config import Config
from r2t2.models.moai.estimate import dtype, estimate, shrinks
from r2t2.models.moai.mixer import sites
from r2t2.models.moai.network import Network
from r2t2.models.moai.options import Options
from r2t2.models.moai.prompts import Prompts
from r2t2.models.moai.vision import map_pixels, pixels
from r2t2.models.names import parse
from r2t2.models.quantise import package, quantise
from r2t2.models.speaker import Speaker, choice_tokens
from r2t2.models.weights import SMALL_FILES, WEIGHT_FILES, fingerprint, folder, load, tensors
from r2t2.samples import Sample

# Part of the fingerprint: raised whenever the arithmetic or the words of a prompt change.
ARITHMETIC = 1
MOST_AT_ONCE = 64


class MoAI(Speaker):
    """MoAI-7B; docs/moai.md says what `r` means here and what is kept of a sample.

    Raises
    ------
    FileNotFoundError, OSError : there is no such model, or a file is missing.
    MemoryError : its weights do not fit.
    ValueError : an option is wrong, or the checkpoint is not of this architecture.
    """

    prompts: Prompts

    def __init__(self, name: str, device: str = "cpu") -> None:
        from r2t2.models.moai.auxiliary import Auxiliary

        path, self.options = parse(name, Options, USUAL)
        self.name, self.device = name, torch.device(device)
        if self.options.quantise != "none":
            package()
        config = Config.read(folder(path, SMALL_FILES))
        with torch.device("meta"):
            self.network = Network(config)
        self.estimate = estimate(config, self.network, self.options, device)
        self.estimate.check()
        self.at_once = self.estimate.at_once
        files = folder(path, (*SMALL_FILES, *WEIGHT_FILES))
        self.prompts = Prompts(files, config, self.options)
        self._dtype = dtype(config, self.options)
        whole = self.options.quantise == "none"
        load(self.network, tensors(files), self._dtype, device if whole else "cpu")
        if not whole:
            quantise(self.network, shrinks(self.network), self.options.quantise, self.device)
        self.network.to(self.device)
        self._auxiliary = Auxiliary(self.options.switches, device)
        self.sites = sites(config)
        # Without one of the auxiliary models its answers are another model's.
        salt = f"{ARITHMETIC} {self.options} {self._auxiliary.fingerprint}"
        self.fingerprint = fingerprint(files, salt)
        self.notice = f"{always(path)} {self._auxiliary.notice}"
        self._batches = Batches(self._room(config), self._near.give_up)

    @torch.no_grad()
    def encode(self, samples: Sequence[Sample]) -> Batch:
        # Kept in main memory: there are many references, and each is as large as its prompt.
        return Batch.cat(
            self._batches(len(samples), lambda rows: self._encode(samples[rows]).to("cpu"))
        )

    @torch.no_grad()
    def target(self, samples: Sequence[Sample]) -> Batch:
        """Labels' tokens, and what the first mixer's layer takes of them: it knows no `r`."""
        tokens = super().target(samples).tensors["tokens"]

        def part(rows: slice) -> Tensor:
            fed = tokens[rows, :-1].to(self.device)
            length = int((fed >= 0).sum(1).max())
            width = self.network.config.hidden_size
            made = torch.zeros(*fed.shape, width, dtype=self._dtype)
            if (tokens[rows, 1:] >= 0).any():
                prompts = self.prompts(samples[rows]).to(self.device)
                vision = self._look(samples[rows])
                said = self.network.below(prompts, vision, fed[:, :length].clamp_min(0))
                made[:, :length] = said.states[-1][:, -length:].cpu()
            return made

        return Batch({"tokens": tokens, "hidden": torch.cat(self._batches(len(samples), part))})

    def _encode(self, samples: Sequence[Sample]) -> Batch:
        replies = choice_tokens(
            samples, self.prompts.answer, self.options.choices, self.options.answer
        )
        names = choices.write(samples, self.options.choices)
        prompts = self.prompts(samples).to(self.device)
        encoded = self.network.encode(
            prompts, self._look(samples), self._find(samples), self.options.prompt
        )
        return Batch({**encoded.tensors, "choices": replies, "names": names})

    def _look(self, samples: Sequence[Sample]) -> Float[Tensor, "batch tokens width"]:
        side = self.network.config.vision_config.image_size
        images = pixels([sample.image for sample in samples], side)
        return self.network.vit(images.to(self.device, self._dtype))

    def _find(self, samples: Sequence[Sample]) -> Float[Tensor, "batch latents d"]:
        """What auxiliary models find in the pictures, compressed."""
        found = self._auxiliary([sample.image for sample in samples])
        text = self.prompts.found([one.text for one in found]).to(self.device)
        mapped = [one.panoptic for one in found if one.panoptic is not None]
        there = torch.tensor([one.panoptic is not None for one in found], device=self.device)
        sizes = self.network.config.vision_config
        maps = torch.zeros(
            len(found), sizes.tokens, sizes.hidden_size, dtype=self._dtype, device=self.device
        )
        if mapped:
            seen = map_pixels(mapped, sizes.image_size).to(self.device, self._dtype)
            maps[there] = self.network.vit(seen)
        return self.network.compress(text, maps, there)

    def _nll(self, encoded: Batch, answers: Batch, r: Tensor, owner: Tensor) -> Tensor:
        return self.network.nll(encoded, answers, r, owner)

    def _generate(self, encoded: Batch, r: Tensor) -> tuple[Int[Tensor, "batch tokens"], Tensor]:
        stops = self.prompts.stops.to(self.device)
        return self.network.generate(encoded, r, stops, self.options.answer)

    def _room(self, config: Config) -> int:
        """Rows that a gradient has room for, about; where there is little, layers are recomputed.

        Of each token autograd keeps what 21 hidden states and three of a feed-forward take, in
        every layer; counted with its hooks on a small network of the same proportions.
        """
        left = self.estimate.free - self.estimate.weights - 2 * self.estimate.encoding
        token = self.options.prompt * self._dtype.itemsize
        layer = (21 * config.hidden_size + 3 * config.intermediate_size) * token
        layers = config.num_hidden_layers - config.mixers[0]
        asked = self.options.recompute
        again = asked == "on" or (asked == "auto" and left < 2 * layers * layer)
        self.network.model.recompute = again
        row = layer + layers * config.hidden_size * token if again else layers * layer
        return min(MOST_AT_ONCE, max(1, left // row))
