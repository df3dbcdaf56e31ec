"""Where a large model's files lie, what they hold, and how they get into a network."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from huggingface_hub import snapshot_download
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from r2t2.models.headers import held

SMALL_FILES = ("*.json", "*.jinja", "*.txt", "*.model")
WEIGHT_FILES = ("*.safetensors", "pytorch_model*.bin")
_NAMED = 6  # tensors that an error names before it counts the rest


def folder(path: str, patterns: Sequence[str]) -> Path:
    """A model's folder: the one that was named, or what the hub has of that name.

    Raises
    ------
    FileNotFoundError : it is neither; the message says what can be done.
    """
    if Path(path).is_dir():
        return Path(path)
    try:
        return Path(snapshot_download(path, allow_patterns=list(patterns)))
    except (OSError, ValueError) as error:  # the hub's errors are such
        raise FileNotFoundError(
            f"{path!r} is neither a folder here nor a model that the hub could be asked for "
            f"({error}). Check the name, or download the model and give its folder"
        ) from error


def fingerprint(where: Path, salt: str) -> str:
    """A hash of all small files, and of every weight file's size, header and a thin sample."""
    digest = hashlib.sha256(salt.encode())
    for file in sorted({file for glob in SMALL_FILES for file in where.glob(glob)}):
        digest.update(file.name.encode() + file.read_bytes())
    for weights in _files(where):
        size = weights.stat().st_size
        digest.update(f"{weights.name} {size}".encode())
        with weights.open("rb") as data:
            if weights.suffix == ".safetensors":
                digest.update(data.read(8 + int.from_bytes(data.read(8), "little")))
            for block in range(64):
                data.seek(size * block // 64)
                digest.update(data.read(4096))
    return digest.hexdigest()[:16]


def tensors(where: Path) -> Iterator[tuple[str, Tensor]]:
    """Every tensor of a checkpoint by name, in main memory, one at a time.

    A checkpoint is `*.safetensors` or, where there are none, `pytorch_model*.bin`, of which
    nothing but tensors is unpacked.

    Raises
    ------
    FileNotFoundError, ValueError : there is no such file, or one is damaged.
    """
    files = _files(where)
    if not files:
        raise FileNotFoundError(
            f"{where} holds no weights ({' or '.join(WEIGHT_FILES)}): download the model again"
        )
    for file in files:
        try:
            if file.suffix == ".safetensors":
                with safe_open(file, "pt") as opened:
                    for name in opened.keys():  # noqa: SIM118 (it is no dict)
                        yield name, opened.get_tensor(name)
            else:
                yield from torch.load(file, "cpu", weights_only=True, mmap=True).items()
        except Exception as error:
            raise ValueError(
                f"{file.name} in {where} is damaged or no checkpoint ({error}): download it again"
            ) from error


def names(where: Path) -> set[str]:
    """The names of all tensors of a checkpoint, those that its index tells of included.

    Raises
    ------
    ValueError : a file is damaged.
    """
    found = held(where)
    for file in () if found else _files(where):
        try:
            found |= set(torch.load(file, "cpu", weights_only=True, mmap=True))
        except Exception as error:
            raise ValueError(
                f"{file.name} in {where} is damaged or no checkpoint ({error}): download it again"
            ) from error
    return found


@contextmanager
def weightless() -> Iterator[None]:
    """Modules made within it have weights without memory (on the meta device), ready for `load`.

    What no checkpoint holds, such as tables of positions, is made as usual.
    """
    thread = threading.get_ident()

    def emptied(module: nn.Module, name: str, weight: nn.Parameter) -> nn.Parameter | None:
        return nn.Parameter(weight.to("meta")) if threading.get_ident() == thread else None

    hook = register_module_parameter_registration_hook(emptied)  # type: ignore[arg-type]
    try:
        yield
    finally:
        hook.remove()


def load(
    network: nn.Module,
    named: Iterator[tuple[str, Tensor]],
    dtype: torch.dtype,
    device: torch.device | str,
    rename: Callable[[str], str | None] = lambda name: name,
) -> None:
    """Put a checkpoint into a network, strictly: nothing missing, nothing left over.

    Parameters
    ----------
    network : may lie on the meta device, so that memory holds every weight once.
    rename : a tensor's name in the checkpoint -> in the network; None for one that is not used.

    Raises
    ------
    ValueError : a tensor is missing, left over or of another shape; the message names them.
    """
    places = network.state_dict(keep_vars=True)
    wanted = {name: tuple(place.shape) for name, place in places.items()}
    extra: list[str] = []
    for original, tensor in named:
        name = rename(original)
        if name is None:
            continue
        if wanted.get(name) != tuple(tensor.shape):
            extra.append(f"{original} {list(tensor.shape)}")
            continue
        del wanted[name]
        kind = dtype if tensor.is_floating_point() else tensor.dtype
        owner, _, own = name.rpartition(".")  # told to the whole network, each would pass all of it
        part = {own: tensor.to(device, kind)}
        network.get_submodule(owner).load_state_dict(part, strict=False, assign=True)
    missing = [f"{name} {list(shape)}" for name, shape in wanted.items()]
    problems = [
        f"{what}: {', '.join(names[:_NAMED])}"
        + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
        for what, names in (("missing", missing), ("left over or of another shape", extra))
        if names
    ]
    if problems:
        raise ValueError(
            f"the checkpoint is not of this architecture; {'; '.join(problems)}. Check that the "
            "download is complete and of the model named"
        )
    network.eval().requires_grad_(False)


def _files(where: Path) -> list[Path]:
    found = (sorted(where.glob(pattern)) for pattern in WEIGHT_FILES)
    return next((files for files in found if files), [])
