"""Names of large models, and checkpoints that are read strictly."""

from dataclasses import dataclass

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from r2t2.models import weights
from r2t2.models.names import is_here, parse

WEIGHTS = {"0.weight": torch.ones(2, 3), "0.bias": torch.zeros(2), "1.weight": torch.ones(1, 2)}


@dataclass(frozen=True)
class Options:
    """A family's."""

    dtype: str = "auto"
    tokens: int = 4
    ocr: bool = True


def _network():
    with torch.device("meta"):
        return nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1, bias=False))


def _load(folder, **options):
    network = _network()
    weights.load(network, weights.tensors(folder), torch.float32, "cpu", **options)
    return network


def test_a_name_may_leave_the_folder_to_the_family():
    assert parse("moe?tokens=2&ocr=off", Options, "org/moe") == (
        "org/moe",
        Options("auto", 2, False),
    )
    assert parse("moe:a/b", Options, "org/moe") == ("a/b", Options())
    with pytest.raises(ValueError, match="followed by a folder"):
        parse("moe", Options)
    with pytest.raises(ValueError, match="on or off"):
        parse("moe:a?ocr=yes", Options)


def test_a_model_is_here_when_its_folder_is(tmp_path):
    assert not is_here(f"moe:{tmp_path}")
    (tmp_path / "config.json").write_text("{}")
    assert is_here(f"moe:{tmp_path}?tokens=2")
    assert is_here("moe", str(tmp_path))


@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_a_checkpoint_in_several_files_fills_the_network(tmp_path, kind):
    for number, name in enumerate(WEIGHTS):
        part = {name: WEIGHTS[name]}
        if kind == "bin":
            torch.save(part, tmp_path / f"pytorch_model-{number}.bin")
        else:
            save_file(part, tmp_path / f"model-{number}.safetensors")
    network = _load(tmp_path)
    assert all(torch.equal(network.state_dict()[name], t) for name, t in WEIGHTS.items())
    assert not any(weight.requires_grad for weight in network.parameters())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("0.bias"), r"missing: 0.bias \[2\]"),
        (lambda w: w.update(more=torch.ones(1)), r"left over or of another shape: more \[1\]"),
        (lambda w: w.update({"0.bias": torch.ones(3)}), r"of another shape: 0.bias \[3\]"),
    ],
)
def test_what_does_not_fit_the_architecture_is_named(tmp_path, change, message):
    wrong = dict(WEIGHTS)
    change(wrong)
    save_file(wrong, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=message):
        _load(tmp_path)


def test_tensors_may_be_renamed_or_left_out(tmp_path):
    save_file(
        {f"net.{n}": t for n, t in WEIGHTS.items()} | {"no": torch.ones(1)},
        tmp_path / "model.safetensors",
    )
    _load(tmp_path, rename=lambda name: name.removeprefix("net.") if name != "no" else None)


def test_a_file_that_runs_code_when_unpacked_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return print, ("run",)

    torch.save({"0.weight": Evil()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match="damaged or no checkpoint"):
        _load(tmp_path)


def test_an_empty_folder_and_a_truncated_file_say_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match="download the model again"):
        _load(tmp_path)
    save_file(WEIGHTS, tmp_path / "model.safetensors")
    whole = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[:-5])
    with pytest.raises(ValueError, match="download it again"):
        _load(tmp_path)


def test_names_are_known_from_an_index_before_the_files_are_here(tmp_path):
    assert weights.names(tmp_path) == set()
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": {"0.weight": "a"}}')
    assert weights.names(tmp_path) == {"0.weight"}
    save_file({"more": torch.ones(1)}, tmp_path / "more.safetensors")
    assert weights.names(tmp_path) == {"0.weight", "more"}


def test_names_of_a_bin_are_read_and_damage_is_told(tmp_path):
    torch.save(WEIGHTS, tmp_path / "pytorch_model.bin")
    assert weights.names(tmp_path) == set(WEIGHTS)
    (tmp_path / "pytorch_model.bin").write_bytes(b"no")
    with pytest.raises(ValueError, match="download it again"):
        weights.names(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 12)
    with pytest.raises(ValueError, match="download it again"):
        weights.names(tmp_path)


def test_hollow_modules_have_weights_without_memory_and_tables_with_it():
    class Table(nn.Module):
        def __init__(self):
            super().__init__()
            self.map = nn.Linear(2, 2)
            self.register_buffer("numbers", torch.arange(3), persistent=False)

    with weights.weightless():
        made = Table()
    assert made.map.weight.is_meta
    assert made.numbers.tolist() == [0, 1, 2]
    assert not Table().map.weight.is_meta
