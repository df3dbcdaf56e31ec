"""The auxiliary models: each says, and one also draws, what it sees in pictures."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Protocol

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from transformers import (
    AutoTokenizer,
    Mask2FormerForUniversalSegmentation,
    Mask2FormerImageProcessorPil,
    Owlv2ForObjectDetection,
    Owlv2ImageProcessorPil,
)

from r2t2.models import weights
from r2t2.models.moai.auxiliary import words

SIDE = 490  # pixels; what MoAI looks at, and all of its auxiliary models with it
MODELS = {
    "segmentation": "facebook/mask2former-swin-base-coco-panoptic",
    "detection": "google/owlv2-base-patch16-ensemble",
}
SIZES = {"segmentation": "0.43 GB", "detection": "0.62 GB"}
PLUGS = "r2t2.scene_graph"  # the entry points among which a scene graph model is looked for
# Part of the fingerprints: raised whenever what is made of a model's outputs changes.
_ARITHMETIC = 1
_NAMES_AT_ONCE = 256


class Missing(Exception):
    """An auxiliary model cannot run here; the message says how to get it."""


@dataclass(frozen=True)
class Seen:
    """What one auxiliary model makes of one picture: words, and of segments a map."""

    text: str
    panoptic: Image.Image | None = None


class Finder(Protocol):
    """An auxiliary model; it loads its weights when it is first called.

    Attributes
    ----------
    source : what it is, for people.
    fingerprint : a hash that changes when what it sees may.
    """

    source: str
    fingerprint: str

    def __call__(self, images: Sequence[Image.Image]) -> list[Seen]:
        """What it sees in square RGB pictures of SIDE pixels."""


class SceneGraph(Protocol):
    """A scene graph model from outside, such as PSGTR.

    Attributes
    ----------
    source, fingerprint : as a `Finder` has them.
    """

    source: str
    fingerprint: str

    def __call__(self, images: Sequence[Image.Image]) -> list[words.Graph]:
        """The graphs of square RGB pictures."""


class _Transformers:
    """A model of transformers: looked for when it is made, loaded when it is first needed.

    Parameters
    ----------
    name : of `MODELS`.
    kind, processor : its classes; transformers' plain processors, which need no torchvision.
    salt : what its findings depend on besides its files.
    """

    def __init__(
        self, name: str, path: str, device: str, kind: Any, processor: Any, *salt: object
    ) -> None:
        self.source, self._device = path, device
        self._kind, self._kind_of_processor = kind, processor
        self._folder = _folder(name, path)
        self.fingerprint = weights.fingerprint(self._folder, f"{_ARITHMETIC} {salt}")

    @cached_property
    def _network(self) -> Any:
        return _load(self._kind, self._folder, self._device)

    @cached_property
    def _processor(self) -> Any:
        return self._kind_of_processor.from_pretrained(self._folder)


class Segmentation(_Transformers):
    """Mask2Former's panoptic segments: their boxes in words, and all of them as a map.

    Raises
    ------
    Missing : its weights are not here.
    """

    def __init__(self, path: str, device: str) -> None:
        network, processor = Mask2FormerForUniversalSegmentation, Mask2FormerImageProcessorPil
        scores = words.SEGMENT_SCORE, words.MASK_SCORE
        super().__init__("segmentation", path, device, network, processor, *scores)

    @torch.inference_mode()
    def __call__(self, images: Sequence[Image.Image]) -> list[Seen]:
        pixels = self._processor(images=list(images), return_tensors="pt").to(self._device)
        results = self._processor.post_process_panoptic_segmentation(
            self._network(**pixels),
            threshold=words.SEGMENT_SCORE,
            mask_threshold=words.MASK_SCORE,
            label_ids_to_fuse=set(),
            target_sizes=[(SIDE, SIDE)] * len(images),
        )
        return [self._seen(result) for result in results]

    def _seen(self, result: dict[str, Any]) -> Seen:
        # Where nothing was found, transformers gives -1 everywhere.
        segments = result["segmentation"].clamp(min=0).long().cpu().numpy()
        names = self._network.config.id2label
        labels = [words.clean(names[info["label_id"]]) for info in result["segments_info"]]
        boxes = words.boxes_of(segments, [info["id"] for info in result["segments_info"]])
        text = words.verbalise_boxes(labels, boxes, (SIDE, SIDE))
        return Seen(text, words.coloured(segments))


class Detection(_Transformers):
    """OWLv2's objects among the names of ADE20K and ImageNet, in words.

    Raises
    ------
    Missing : its weights are not here.
    """

    def __init__(self, path: str, device: str) -> None:
        network, processor = Owlv2ForObjectDetection, Owlv2ImageProcessorPil
        scores = words.CANDIDATE_SCORE, words.DETECTION_SCORE
        super().__init__("detection", path, device, network, processor, *scores, vocabulary())

    @cached_property
    def _queries(self) -> Float[Tensor, "names width"]:
        """The vocabulary's embeddings: the same for every picture."""
        tokenizer = AutoTokenizer.from_pretrained(self._folder)
        tokens = tokenizer(
            list(vocabulary()),
            padding="max_length",
            max_length=self._network.config.text_config.max_position_embeddings,
            truncation=True,
            return_tensors="pt",
        ).to(self._device)
        embeddings = [
            self._network.owlv2.get_text_features(ids, mask).pooler_output
            for ids, mask in zip(
                tokens["input_ids"].split(_NAMES_AT_ONCE),
                tokens["attention_mask"].split(_NAMES_AT_ONCE),
                strict=True,
            )
        ]
        return torch.nn.functional.normalize(torch.cat(embeddings), dim=-1)

    @torch.inference_mode()
    def __call__(self, images: Sequence[Image.Image]) -> list[Seen]:
        pixels = self._processor(images=list(images), return_tensors="pt")["pixel_values"]
        features, _ = self._network.image_embedder(pixels.to(self._device))
        patches = features.flatten(1, 2)
        logits, _ = self._network.class_predictor(
            patches, self._queries.expand(len(images), -1, -1)
        )
        results = self._processor.post_process_object_detection(
            _Detected(logits, self._network.box_predictor(patches, features)),
            threshold=words.CANDIDATE_SCORE,
            target_sizes=[(SIDE, SIDE)] * len(images),
        )
        return [self._seen(result) for result in results]

    def _seen(self, result: dict[str, Tensor]) -> Seen:
        sure = result["scores"] >= words.DETECTION_SCORE
        labels = [vocabulary()[label] for label in result["labels"][sure].tolist()]
        return Seen(words.verbalise_boxes(labels, result["boxes"][sure].tolist(), (SIDE, SIDE)))


class Ocr:
    """RapidOCR's lines of text, on the processor; its weights come with the package.

    Raises
    ------
    Missing : the package is not installed.
    """

    def __init__(self) -> None:
        try:
            version = importlib.metadata.version("rapidocr")
            runtime = importlib.metadata.version("onnxruntime")
        except importlib.metadata.PackageNotFoundError as error:
            raise Missing("pip install -r requirements.txt brings it") from error
        self.source = f"RapidOCR {version}"
        self.fingerprint = f"{_ARITHMETIC}-{version}-{runtime}-{words.TEXT_SCORE}"

    @cached_property
    def _reader(self) -> Any:
        from rapidocr import RapidOCR  # takes a second to import

        threads = "EngineConfig.onnxruntime.intra_op_num_threads"
        return RapidOCR(params={"Global.log_level": "error", threads: torch.get_num_threads()})

    def __call__(self, images: Sequence[Image.Image]) -> list[Seen]:
        results = [self._reader(image) for image in images]
        # A picture without text has None of both.
        return [Seen(words.verbalise_texts(r.txts or (), r.scores or ())) for r in results]


class Relations:
    """A scene graph model from outside, in words."""

    def __init__(self, plug: SceneGraph) -> None:
        self._plug, self.source = plug, plug.source
        self.fingerprint = f"{_ARITHMETIC}-{plug.fingerprint}"

    def __call__(self, images: Sequence[Image.Image]) -> list[Seen]:
        return [Seen(words.verbalise_graph(graph)) for graph in self._plug(images)]


def plugged(device: str) -> SceneGraph:
    """The scene graph model that an installed package offers.

    Its entry point in the group `PLUGS` is called with a device's name and returns the model.

    Raises
    ------
    Missing : no package offers one, several do, or it fails.
    """
    offers = list(importlib.metadata.entry_points(group=PLUGS))
    if not offers:
        raise Missing(
            "its public weights are hard to get, so none comes along; a package with an entry "
            f"point in {PLUGS} brings one (docs/moai-auxiliary.md)"
        )
    if len(offers) > 1:
        raise Missing(f"{', '.join(offer.value for offer in offers)} offer one: keep one of them")
    try:
        return offers[0].load()(device)
    except Exception as error:  # of a package that nobody here knows
        raise Missing(f"{offers[0].value} fails ({error}): repair or uninstall it") from error


@lru_cache
def vocabulary() -> tuple[str, ...]:
    """What is looked for: 847 names of ADE20K, then 1,000 of ImageNet, as MoAI's code lists them.

    The former are the first names of the classes of ADE20K's full set, in MaskFormer's order; the
    latter are CLIP's names of the classes of ImageNet-1k, in the order of their synsets.
    """
    here = Path(__file__).parent
    files = (here / "ade20k-847.txt", here / "imagenet-1k.txt")
    return tuple(name for file in files for name in file.read_text().splitlines())


@dataclass(frozen=True)
class _Detected:
    """The part of OWLv2's output that its processor reads."""

    logits: Tensor
    pred_boxes: Tensor


def _folder(name: str, path: str) -> Path:
    for pattern in weights.WEIGHT_FILES:
        try:
            where = weights.folder(path, (*weights.SMALL_FILES, pattern))
        except FileNotFoundError:
            break
        if (where / "config.json").is_file() and any(where.glob(pattern)):
            return where
    raise Missing(
        f"no weights in {path} on this machine; `hf download {MODELS[name]}` fetches them where "
        f"the hub can be reached ({SIZES[name]})"
    )


def _load(kind: Any, folder: Path, device: str) -> Any:
    network, info = kind.from_pretrained(
        folder, dtype=torch.float32, trust_remote_code=False, output_loading_info=True
    )
    # Nobody would notice weights left at random. Buffers are computed, not learned.
    learned = {name for name, _ in network.named_parameters()}
    lacking = sorted(learned & set(info["missing_keys"])) + sorted(
        str(key) for key in info["mismatched_keys"]
    )
    if lacking:
        raise ValueError(
            f"{folder} does not hold the weights {', '.join(lacking[:6])}"
            f"{' and others' if len(lacking) > 6 else ''}: download it again"
        )
    return network.to(device).eval().requires_grad_(False)
