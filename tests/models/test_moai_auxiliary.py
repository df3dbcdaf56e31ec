"""MoAI's auxiliary inputs: their words and colours, the models behind them, and what is kept."""

import importlib.metadata
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from PIL import Image, ImageDraw, ImageFont

from r2t2.models import batching
from r2t2.models.moai.auxiliary import Auxiliary, Graph, finders, squared, words
from r2t2.models.moai.auxiliary.kept import Kept
from tests.models import families

torch.set_num_threads(1)
transformers.utils.logging.disable_progress_bar()
ROOT = Path(__file__).resolve().parents[2]
NONE = dict.fromkeys(words.ORDER, False)
# The settings that the released checkpoint has, but for a smaller size.
PROCESSOR = {
    "_max_size": 1333,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "ignore_index": 255,
    "image_mean": [0.485, 0.456, 0.406],
    "image_processor_type": "Mask2FormerImageProcessor",
    "image_std": [0.229, 0.224, 0.225],
    "num_labels": 133,
    "reduce_labels": False,
    "resample": 2,
    "rescale_factor": 1 / 255,
    "size": {"height": 64, "width": 64},
    "size_divisor": 32,
}


@pytest.fixture(scope="module")
def golden():
    path = ROOT / ".." / "shared" / "golden" / "moai_prompts.json"
    if not path.exists():
        if os.environ.get("CI"):
            pytest.fail(f"{path.name} is missing, and CI must hold the words against it")
        pytest.skip(f"{path.name} is not beside this checkout")
    return json.loads(path.read_text())


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Folders of tiny random models of the two architectures, as the hub would give them."""
    folder = tmp_path_factory.mktemp("models")
    _segmenter(folder / "segmentation")
    _detector(folder / "detection")
    return {name: str(folder / name) for name in ("segmentation", "detection")}


@pytest.fixture(scope="module")
def offline(tmp_path_factory):
    """What the hub answers where there is none."""
    with pytest.MonkeyPatch.context() as patch:

        def unreachable(*_, **__):
            raise OSError("there is no network")

        patch.setattr("r2t2.models.weights.snapshot_download", unreachable)
        yield


def _segmenter(folder):
    torch.manual_seed(0)
    labels = [f"thing {i}" for i in range(6)] + ["wall-other-merged", "door-stuff", "water-other"]
    backbone = {
        "model_type": "swin",
        "image_size": 64,
        "embed_dim": 8,
        "depths": [1, 1, 1, 1],
        "num_heads": [1, 1, 2, 2],
        "window_size": 4,
        "out_features": ["stage1", "stage2", "stage3", "stage4"],
    }
    config = transformers.Mask2FormerConfig(
        backbone_config=transformers.SwinConfig(**backbone),
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        encoder_feedforward_dim=16,
        dim_feedforward=16,
        encoder_layers=1,
        decoder_layers=2,
        num_attention_heads=2,
        num_queries=6,
        id2label=dict(enumerate(labels)),
        label2id={label: i for i, label in enumerate(labels)},
    )
    network = transformers.Mask2FormerForUniversalSegmentation(config)
    with torch.no_grad():  # so sure of themselves that the thresholds let them through
        network.class_predictor.weight.mul_(1000)
        network.class_predictor.bias[-1] = -100
        for name, weight in network.named_parameters():
            if "mask_embedder" in name and weight.dim() > 1:
                weight.mul_(6)
    network.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))


def _detector(folder):
    torch.manual_seed(0)
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2}
    config = transformers.Owlv2Config(
        text_config={**small, "num_attention_heads": 2, "vocab_size": len(families.TOKENS) + 4},
        vision_config={**small, "num_attention_heads": 2, "image_size": 64, "patch_size": 16},
        projection_dim=16,
    )
    network = transformers.Owlv2ForObjectDetection(config)
    with torch.no_grad():  # so that some scores lie on either side of the threshold
        for name, weight in network.named_parameters():
            if weight.dim() > 1 and "position" not in name:
                torch.nn.init.normal_(weight, 0, 0.4)
    network.save_pretrained(folder)
    transformers.Owlv2ImageProcessorPil(size={"height": 64, "width": 64}).save_pretrained(folder)
    families.tokenizer().save_pretrained(folder)


def _pictures(n=3):
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 256, (n, 6, 8, 3), dtype=np.uint8)
    return [Image.fromarray(block).resize((200 + 40 * i, 150)) for i, block in enumerate(blocks)]


def _written(*lines):
    image = Image.new("RGB", (600, 400), "white")
    for i, line in enumerate(lines):
        font = ImageFont.load_default(60)
        ImageDraw.Draw(image).text((40, 40 + 110 * i), line, "black", font)
    return image


def _only(name, tmp_path, **options):
    return Auxiliary({**NONE, name: True}, cache=tmp_path, **options)


def _spied(auxiliary, name, monkeypatch):
    """How many pictures a model is shown, call by call."""
    shown, real = [], auxiliary._finders[name]

    def spy(images):
        shown.append(len(images))
        return real(images)

    spy.fingerprint, spy.source = real.fingerprint, real.source
    monkeypatch.setitem(auxiliary._finders, name, spy)
    return shown


def _runtime_fails(*_, **__):
    raise AssertionError("a model ran")


# The words.


def test_the_words_and_thresholds_are_the_checkpoints(golden):
    forms = golden["verbalise"]
    assert forms["order"] == list(words.ORDER)
    assert forms["joined_by"] == words.JOINED_BY
    heads = {"segmentation": words.OBJECTS, "scene_graph": words.RELATIONS, "ocr": words.TEXTS}
    for name, head in heads.items():
        form = forms[name]
        assert (form["head"], form["join"], form["end"]) == (head, words.JOIN, words.END)
    assert forms["segmentation"]["thresholds"] == {
        "score": words.SEGMENT_SCORE,
        "mask": words.MASK_SCORE,
    }
    detection, graph = forms["detection"], forms["scene_graph"]
    assert detection["threshold"] == words.DETECTION_SCORE
    assert detection["candidate_threshold"] == words.CANDIDATE_SCORE
    assert (graph["top"], graph["threshold"]) == (words.MOST_RELATIONS, words.RELATION_SCORE)
    assert forms["ocr"]["threshold"] == words.TEXT_SCORE
    assert {name: forms[name]["model"] for name in finders.MODELS} == finders.MODELS
    assert golden["image_size"] == [finders.SIDE, finders.SIDE]


def test_the_items_have_the_checkpoints_form(golden):
    forms = golden["verbalise"]
    box = words.verbalise_boxes(["class"], [(1, 2, 3, 4)], (100, 100))
    form = forms["segmentation"]
    corners = zip(("x1", "y1", "x2", "y2"), ("0.01", "0.02", "0.03", "0.04"), strict=True)
    item = form["item"]
    for name, value in corners:
        item = item.replace(name, value)
    assert box == form["head"] + item + form["end"]
    form = forms["scene_graph"]
    graph = Graph(["subject", "object"], [(0, "predicate", 1, 1.0)])
    assert words.verbalise_graph(graph) == form["head"] + form["item"] + form["end"]


def test_boxes_are_fractions_with_two_decimals():
    said = words.verbalise_boxes(["cat", "old door"], [(0, 49, 245, 490), (1, 2, 3, 4)], (490, 490))
    assert said == (
        "The image includes bounding box coordinates and their objects: "
        "[0.00, 0.10, 0.50, 1.00] cat, and [0.00, 0.00, 0.01, 0.01] old door."
    )
    assert "[0.10, 0.10, 0.30, 0.20]" in words.verbalise_boxes(["a"], [(10, 5, 30, 10)], (100, 50))


def test_panoptic_labels_lose_their_endings():
    cleaned = map(words.clean, ("wall-other-merged", "door-stuff", "sky-other-merged", "cat"))
    assert list(cleaned) == ["wall", "door", "sky", "cat"]
    assert words.clean("floor-wood") == "floor-wood"


def test_relations_are_the_ten_surest_and_sure_enough_and_name_duplicates():
    graph = Graph(
        ["person", "wall-other-merged", "person"],
        [(0, "beside", 1, 0.8), (2, "riding", 0, 0.9), (0, "on", 2, 0.79)],
    )
    assert words.verbalise_graph(graph) == (
        "The image includes relationships between objects: "
        "person (#2) is riding person (#1), and person (#1) is beside wall."
    )
    many = Graph(["a", "b"], [(0, f"r{i}", 1, 0.99 - i / 100) for i in range(12)])
    assert words.verbalise_graph(many).count(" is ") == 10


def test_text_is_told_where_it_was_read_with_certainty():
    assert words.verbalise_texts(("STOP", "stap", "go"), (0.85, 0.84, 1)) == (
        "The image includes text descriptions: STOP, and go."
    )


def test_what_was_not_found_is_empty_and_keeps_its_space():
    assert words.verbalise_boxes([], [], (490, 490)) == ""
    assert words.verbalise_graph(Graph(["a", "b"], [(0, "on", 1, 0.1)])) == ""
    assert words.verbalise_texts((), ()) == ""
    assert words.joined({}) == "   "
    assert words.joined({"ocr": "D.", "detection": "B."}) == " B.  D."


def test_the_colours_are_those_of_pascals_label_maps():
    # VOC's own: background, aeroplane, bicycle, bird, boat, bottle, cat, person, monitor, void.
    known = {
        0: (0, 0, 0),
        1: (128, 0, 0),
        2: (0, 128, 0),
        3: (128, 128, 0),
        4: (0, 0, 128),
        5: (128, 0, 128),
        8: (64, 0, 0),
        15: (192, 128, 128),
        20: (0, 64, 128),
        255: (224, 224, 192),
    }
    drawn = words.coloured(np.array([list(known)]))
    assert [drawn.getpixel((x, 0)) for x in range(len(known))] == list(known.values())


def test_boxes_of_segments_end_just_outside():
    segments = np.zeros((4, 6), int)
    segments[1:3, 2:5] = 7
    segments[3, 0] = 2
    assert words.boxes_of(segments, (7, 2)) == [(2, 1, 5, 3), (0, 3, 1, 4)]


def test_the_vocabulary_is_ade20k_and_then_imagenet():
    names = finders.vocabulary()
    assert len(names) == 847 + 1000
    assert names[0] == "wall"
    assert names[846:849] == ("adding machine", "tench", "goldfish")
    assert names[-1] == "toilet paper"
    assert all(name == name.strip() and name for name in names)


# The models.


def test_segments_are_told_and_drawn_alike(sources, tmp_path):
    auxiliary = _only("segmentation", tmp_path, sources=sources)
    found = auxiliary(_pictures())
    said = [re.findall(r"\[([^]]*)\] ([^,.]*)", one.text) for one in found]
    assert all(len(items) > 2 for items in said)
    for one, items in zip(found, said, strict=True):
        pixels = np.asarray(one.panoptic).reshape(-1, 3)
        assert one.panoptic.size == (490, 490)
        colours = {tuple(c) for c in np.unique(pixels, axis=0)} - {(0, 0, 0)}
        assert len(colours) == len(items)
        boxes = set()
        for colour in colours:
            rows, columns = (np.asarray(one.panoptic) == colour).all(-1).nonzero()
            box = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
            boxes.add(", ".join(f"{corner / 490:.2f}" for corner in box))
        assert boxes == {box for box, _ in items}
        assert not any(ending in one.text for ending in words.ENDINGS)


def test_nothing_segmented_is_no_words_and_a_black_map(sources, tmp_path, monkeypatch):
    monkeypatch.setattr(words, "SEGMENT_SCORE", 1.0)
    (found,) = _only("segmentation", tmp_path, sources=sources)(_pictures(1))
    assert found.text == "   "
    assert found.panoptic.getextrema() == ((0, 0), (0, 0), (0, 0))


def test_detection_is_what_the_whole_model_of_transformers_says(sources, tmp_path):
    picture = squared(_pictures(1)[0])
    processor = transformers.Owlv2Processor(
        transformers.Owlv2ImageProcessorPil.from_pretrained(sources["detection"]),
        transformers.AutoTokenizer.from_pretrained(sources["detection"]),
    )
    network = transformers.Owlv2ForObjectDetection.from_pretrained(sources["detection"])
    names = list(finders.vocabulary())
    inputs = processor(
        text=[names], images=picture, return_tensors="pt", max_length=16, truncation=True
    )
    with torch.no_grad():
        (result,) = processor.post_process_grounded_object_detection(
            network(**inputs), 0.1, [(490, 490)], [names]
        )
    sure = (result["scores"] >= 0.5).nonzero()[:, 0].tolist()
    assert 0 < len(sure) < 16
    items = [
        f"[{', '.join(f'{x:.2f}' for x in (result['boxes'][i] / 490).tolist())}] "
        f"{result['text_labels'][i]}"
        for i in sure
    ]
    (found,) = _only("detection", tmp_path, sources=sources)([picture])
    assert found.text == f" {words.OBJECTS}{', and '.join(items)}.  "


@pytest.mark.parametrize("name", ["segmentation", "detection"])
def test_many_pictures_are_each_seen_as_if_alone(sources, tmp_path, name):
    together = _only(name, tmp_path / "together", sources=sources)(_pictures())
    alone = _only(name, tmp_path / "alone", sources=sources)
    for picture, one in zip(_pictures(), together, strict=True):
        (other,) = alone([picture])
        assert (one.text, one.ran) == (other.text, other.ran)
        if name == "segmentation":  # at an edge, rounding may decide whose a pixel is
            differs = np.asarray(one.panoptic) != np.asarray(other.panoptic)
            assert differs.any(-1).mean() < 1e-4
    assert len({one.text for one in together}) > 1


def test_written_text_is_read(tmp_path):
    empty, sign = _only("ocr", tmp_path)(
        [Image.new("RGB", (90, 60)), _written("BAKERY", "Open 24")]
    )
    assert empty.text == "   "
    assert sign.text == "   The image includes text descriptions: BAKERY, and Open 24."
    assert sign.panoptic is None
    assert sign.ran == ("ocr",)


class Plug:
    """A scene graph model as a user may bring it."""

    source, fingerprint = "a plug", "1"

    def __call__(self, images):
        assert {image.size for image in images} == {(490, 490)}
        return [Graph(["dog", "grass-merged"], [(0, "lying on", 1, 0.9)]) for _ in images]


def test_a_scene_graph_model_can_be_brought(tmp_path):
    auxiliary = _only("scene_graph", tmp_path, scene_graph=Plug())
    (found,) = auxiliary(_pictures(1))
    assert found.text == (
        "  The image includes relationships between objects: dog is lying on grass. "
    )
    assert "scene graph (a plug)" in auxiliary.notice


def test_a_scene_graph_model_can_be_an_installed_package(tmp_path, monkeypatch):
    offer = importlib.metadata.EntryPoint("plug", f"{__name__}:Offered", finders.PLUGS)
    monkeypatch.setattr(offer.__class__, "load", lambda self: lambda device: Plug())
    offers = [offer]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: offers)
    assert _only("scene_graph", tmp_path).ran == ("scene_graph",)
    offers.append(offer)
    auxiliary = _only("scene_graph", tmp_path)
    assert auxiliary.ran == ()
    assert "keep one of them" in auxiliary.notice
    monkeypatch.setattr(offer.__class__, "load", _runtime_fails)
    del offers[0]
    assert "a model ran" in _only("scene_graph", tmp_path).notice


# Which of them run.


def test_all_together_speak_in_order(sources, tmp_path):
    auxiliary = Auxiliary(cache=tmp_path, sources=sources, scene_graph=Plug())
    (found,) = auxiliary([_written("HOTEL")])
    assert found.ran == auxiliary.ran == words.ORDER
    places = [found.text.rfind(head) for head in (words.OBJECTS, words.RELATIONS, words.TEXTS)]
    assert places == sorted(places)
    assert "HOTEL" in found.text
    assert found.panoptic is not None


def test_a_model_that_is_switched_off_says_nothing(sources, tmp_path):
    switches = {"segmentation": False, "ocr": False, "scene_graph": False}
    auxiliary = Auxiliary(switches, cache=tmp_path, sources=sources)
    (found,) = auxiliary([_written("HOTEL")])
    assert found.ran == ("detection",)
    assert found.panoptic is None
    assert "HOTEL" not in found.text
    assert "Switched off: segmentation, scene graph, OCR." in auxiliary.notice
    assert "Missing" not in auxiliary.notice


def test_all_may_be_off(tmp_path):
    (found,) = Auxiliary(NONE, cache=tmp_path)(_pictures(1))
    assert (found.text, found.panoptic, found.ran) == ("   ", None, ())


def test_no_pictures_are_no_findings(tmp_path):
    assert _only("ocr", tmp_path)([]) == []


def test_switches_and_sources_of_no_model_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no auxiliary model depth; there are segmentation, "):
        Auxiliary({"depth": True}, cache=tmp_path)
    with pytest.raises(ValueError, match="no auxiliary model ocr"):
        Auxiliary(sources={"ocr": "folder"}, cache=tmp_path)


def test_models_whose_weights_are_absent_are_skipped_and_named(offline, tmp_path):
    auxiliary = Auxiliary(cache=tmp_path / "cache", sources={"detection": str(tmp_path)})
    assert auxiliary.ran == ("ocr",)
    assert "that run: OCR (RapidOCR" in auxiliary.notice
    for name in finders.MODELS.values():
        assert f"hf download {name}" in auxiliary.notice
    assert "scene graph: its public weights are hard to get" in auxiliary.notice
    (found,) = auxiliary([_written("HOTEL")])
    assert found.ran == ("ocr",)


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(finders.importlib.metadata, "version", absent)
    assert "OCR: pip install -r requirements.txt brings it" in _only("ocr", tmp_path).notice


def test_weights_that_lack_a_tensor_are_refused(sources, tmp_path):
    from safetensors.torch import load_file, save_file

    source, broken = Path(sources["detection"]), tmp_path / "broken"
    broken.mkdir()
    for file in source.iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    tensors = load_file(broken / "model.safetensors")
    del tensors["class_head.dense0.bias"]
    save_file(tensors, broken / "model.safetensors", {"format": "pt"})
    auxiliary = _only("detection", tmp_path, sources={"detection": str(broken)})
    with pytest.raises(ValueError, match=r"class_head\.dense0\.bias: download it again"):
        auxiliary(_pictures(1))


def test_old_checkpoints_in_bin_files_are_read(sources, tmp_path):
    from safetensors.torch import load_file

    for file in Path(sources["detection"]).iterdir():
        if file.suffix == ".safetensors":
            torch.save(load_file(file), tmp_path / "pytorch_model.bin")
        else:
            (tmp_path / file.name).write_bytes(file.read_bytes())
    old = _only("detection", tmp_path / "a", sources={"detection": str(tmp_path)})
    new = _only("detection", tmp_path / "b", sources=sources)
    assert old(_pictures(1)) == new(_pictures(1))


def test_a_batch_that_does_not_fit_is_halved(tmp_path):
    class Large(Plug):
        def __call__(self, images):
            if len(images) > 1:
                raise batching.OUT_OF_MEMORY[0]("too many")
            return super().__call__(images)

    assert len(_only("scene_graph", tmp_path, scene_graph=Large())(_pictures())) == 3


# What is kept.


def test_a_picture_is_looked_at_once(sources, tmp_path, monkeypatch):
    first = _only("segmentation", tmp_path, sources=sources)
    shown = _spied(first, "segmentation", monkeypatch)
    one, two, _ = _pictures()
    found = first([one, two, one])
    assert shown == [2]
    assert found[0] == found[2]
    again = _only("segmentation", tmp_path, sources=sources)
    monkeypatch.setattr(finders, "_load", _runtime_fails)
    assert again([two, one]) == [found[1], found[0]]


def test_other_weights_or_thresholds_are_looked_with_anew(sources, tmp_path, monkeypatch):
    class Other(Plug):
        fingerprint = "2"

    prints = {_only("scene_graph", tmp_path, scene_graph=p()).fingerprint for p in (Plug, Other)}
    assert len(prints) == 2
    _only("scene_graph", tmp_path, scene_graph=Plug())(_pictures(1))
    other = _only("scene_graph", tmp_path, scene_graph=Other())
    shown = _spied(other, "scene_graph", monkeypatch)
    other(_pictures(1))
    assert shown == [1]
    before = _only("detection", tmp_path, sources=sources).fingerprint
    monkeypatch.setattr(words, "DETECTION_SCORE", 0.6)
    assert _only("detection", tmp_path, sources=sources).fingerprint != before


@pytest.mark.parametrize("suffix", [".json", ".png"])
def test_damaged_entries_are_made_again(sources, tmp_path, monkeypatch, suffix):
    auxiliary = _only("segmentation", tmp_path, sources=sources)
    found = auxiliary(_pictures(1))
    shown = _spied(auxiliary, "segmentation", monkeypatch)
    (file,) = tmp_path.rglob(f"*{suffix}")
    whole = file.read_bytes()
    damages = [b"", whole[:-9], whole[: len(whole) // 2], whole[:20], b"[1]", b'{"text": 1}']
    for number, damage in enumerate(damages, 1):
        file.write_bytes(damage)
        assert auxiliary(_pictures(1)) == found
        assert len(shown) == number
        assert file.read_bytes() == whole
    file.unlink()
    assert auxiliary(_pictures(1)) == found


def test_only_json_and_png_are_kept(sources, tmp_path):
    _only("segmentation", tmp_path, sources=sources)(_pictures(2))
    assert sorted(f.suffix for f in tmp_path.rglob("*.*")) == [".json", ".json", ".png", ".png"]


def test_the_oldest_go_when_there_are_too_many(tmp_path):
    kept = Kept(tmp_path, most=10)
    for age in range(12):
        kept.put("ocr-1", f"{age}", finders.Seen(f"text {age}"))
        os.utime(tmp_path / "ocr-1" / f"{age}.json", (age, age))
    known = [age for age in range(12) if kept.get("ocr-1", f"{age}")]
    assert len(known) <= 10
    assert known == list(range(12 - len(known), 12))
    assert len(known) >= 9


def test_what_is_kept_lies_in_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("R2T2_CACHE", str(tmp_path))
    Auxiliary({**NONE, "scene_graph": True}, scene_graph=Plug())(_pictures(1))
    assert len(list((tmp_path / "auxiliary").rglob("*.json"))) == 1
