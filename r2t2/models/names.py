"""Names of large models: `FAMILY:FOLDER_OR_HUB_NAME?OPTION=VALUE&...`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args
from urllib.parse import parse_qsl

Options = TypeVar("Options")
Dtype = Literal["auto", "float64", "float32", "bfloat16", "float16"]
Quantise = Literal["none", "8bit", "4bit"]


def parse(name: str, kind: type[Options], usual: str = "") -> tuple[str, Options]:
    """A model's name -> its folder or hub name, and its options.

    Parameters
    ----------
    kind : a dataclass whose fields have defaults. A field whose default is a whole number takes
        one, or a text that the dataclass itself accepts; one whose default is a bool takes on
        or off; the others take any text. The dataclass checks the values.
    usual : the hub name of a family that has one checkpoint.

    Raises
    ------
    ValueError : there is no such option, or its value is not one; the message says what is.
    """
    head, _, query = name.partition("?")
    family, _, path = head.partition(":")
    path = path or usual
    if not path:
        raise ValueError(
            f"{family}: must be followed by a folder or the name of a model on the hub"
        )
    known: dict[str, Any] = {field.name: field.default for field in fields(kind)}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for key, text in parse_qsl(query, keep_blank_values=True):
        if key not in known or key in values:
            problem = "is given twice" if key in values else "is no option"
            raise ValueError(f"{key!r} {problem} of {path}; there are {', '.join(known)}")
        values[key] = _value(key, text, known[key], kind)
    return path, kind(**values)


def check(options: object, kinds: Mapping[str, Any], ranges: Mapping[str, tuple[int, int]]) -> None:
    """Refuse options that lie outside their range.

    Parameters
    ----------
    kinds : the `Literal` that an option's value must be one of.
    ranges : the least and the most that an option may be.

    Raises
    ------
    ValueError : one does; the message names it and the range.
    """
    for name, kind in kinds.items():
        value, known = getattr(options, name), get_args(kind)
        if value not in known:
            raise ValueError(f"{name} is {value!r}; it must be one of {', '.join(known)}")
    for name, (low, high) in ranges.items():
        value = getattr(options, name)
        if value not in getattr(options, "WORDS", {}).get(name, ()) and not low <= value <= high:
            raise ValueError(f"{name} is {value}; it must lie between {low} and {high}")


def title(name: str) -> str:
    """A model's name as people read it: where it lies and how options are written left out.

    "hf:org/OLMoE-1B-7B?layers=last5&tokens=1" is "OLMoE-1B-7B (layers last5, tokens 1)".
    """
    head, _, query = name.partition("?")
    short = head.partition(":")[2].rstrip("/").rpartition("/")[2] or head
    options = ", ".join(f"{key} {value}" for key, value in parse_qsl(query, keep_blank_values=True))
    return f"{short} ({options})" if options else short


def titles(names: Iterable[str]) -> dict[str, str]:
    """Names and their titles; those that would share one keep their names."""
    made = {name: title(name) for name in names}
    several = Counter(made.values())
    return {name: short if several[short] == 1 else name for name, short in made.items()}


def is_here(name: str, usual: str = "") -> bool:
    """Whether a model lies on this machine: in the folder named, or fetched from the hub before."""
    return here(name.partition("?")[0].partition(":")[2] or usual) is not None


def here(path: str) -> Path | None:
    """The folder of a model that lies on this machine: named, or fetched from the hub before."""
    if (Path(path) / "config.json").is_file():
        return Path(path)
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(path, "config.json")
    except HFValidationError:  # no name that the hub could have
        return None
    return Path(found).parent if isinstance(found, str) else None


def _value(key: str, text: str, default: Any, kind: type) -> Any:
    if isinstance(default, bool):
        if text not in ("on", "off"):
            raise ValueError(f"{key} is {text!r}; it must be on or off")
        return text == "on"
    if isinstance(default, int):
        if text.isdecimal():
            return int(text)
        if text not in getattr(kind, "WORDS", {}).get(key, ()):
            raise ValueError(f"{key} is {text!r}; it must be a whole number")
    return text
