"""Datasets by name: how they get here, what is missing, and how they open."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import Any

from r2t2.data import cells, stored
from r2t2.data.catalogue import CIRCULAR, ENTRIES, PAPER_REFERENCE, REFERENCES, Entry
from r2t2.data.rows import Folder
from r2t2.data.stored import About, Files, Report, Source, Stored
from r2t2.paths import official_folder
from r2t2.samples import Dataset, Sample

PLUS = "+"


def names(role: str = "") -> tuple[str, ...]:
    """What can be opened here: single datasets, then what is made of them.

    Parameters
    ----------
    role : only datasets of this role; "" for all.
    """
    found = stored.here()
    order = [name for name in ENTRIES if name in found]
    order += [name for name in found if name not in ENTRIES]
    kept = [name for name in order if role in ("", found[name].manifest["role"])]
    made = [(CIRCULAR, "benchmark", ("mmbench",)), (PAPER_REFERENCE, "reference", REFERENCES)]
    kept += [
        name for name, of, parts in made if role in ("", of) and all(p in found for p in parts)
    ]
    return tuple(kept)


def known(name: str) -> bool:
    """Whether a name is that of a dataset outside the embedded world, here or not."""
    single = (*ENTRIES, CIRCULAR, PAPER_REFERENCE, *stored.here())
    return all(part in single for part in name.split(PLUS))


def dataset(name: str) -> Dataset:
    """A dataset that is here, by its name; several joined by "+" are one after the other.

    Raises
    ------
    KeyError : there is no such dataset.
    FileNotFoundError : it is not here; the message says how to get it.
    ValueError : it is damaged.
    """
    if name == PAPER_REFERENCE:
        return _renamed(_joined(REFERENCES), name)
    if PLUS in name:
        return _joined(name.split(PLUS))
    if name == CIRCULAR:
        return _circular()
    try:
        return stored.find(name).dataset()
    except FileNotFoundError:
        if name not in ENTRIES:
            raise KeyError(
                f"there is no dataset {name!r}; 'python -m r2t2 data list' names those that there "
                "are, and 'python -m r2t2 data add' takes in your own"
            ) from None
        raise FileNotFoundError(f"{ENTRIES[name].title} is not here; {how(name)}") from None


def _renamed(of: Dataset, name: str) -> Dataset:
    """The same samples under another name."""
    return Dataset(name, len(of), of.__getitem__, of.fingerprint)


def _joined(parts: Sequence[str]) -> Dataset:
    """Several datasets, one after the other."""
    datasets = [dataset(part) for part in parts]
    ends = list(accumulate(map(len, datasets)))

    def make(position: int) -> Sample:
        which = bisect_right(ends, position)
        return datasets[which][position - (ends[which - 1] if which else 0)]

    return Dataset(PLUS.join(parts), ends[-1], make, _hash(*(one.fingerprint for one in datasets)))


def _circular() -> Dataset:
    """MMBench's questions, each with every rotation of its choices; a question's form a group."""
    whole = stored.find("mmbench")
    turns = [len(choices) for choices in whole.table["choices"].to_pylist()]
    ends = list(accumulate(turns))

    def make(position: int) -> Sample:
        which = bisect_right(ends, position)
        sample, turn = whole.sample(which), position - (ends[which] - turns[which])
        choices = sample.choices[turn:] + sample.choices[:turn]
        return replace(
            sample,
            id=f"{sample.id}-{turn}",
            choices=choices,
            dataset=CIRCULAR,
            metric="option:circular",
            group=sample.id,
            prompt=cells.mmbench_prompt(sample.hint, sample.question, choices),
        )

    return Dataset(CIRCULAR, ends[-1], make, _hash(CIRCULAR, whole.manifest["fingerprint"]))


def _hash(*texts: str) -> str:
    return hashlib.sha256(" ".join(texts).encode()).hexdigest()[:16]


def get(
    name: str,
    folder: Path | None = None,
    again: bool = False,
    report: Report = lambda done, total: None,
) -> Stored:
    """Take a dataset of the paper in: from official files where they are here, else from the hub.

    Parameters
    ----------
    folder : where official files are looked for; `official_folder` by default.
    again : anew, although it is here.
    report : as `stored.store` says.

    Raises
    ------
    KeyError : the paper has no such dataset.
    FileNotFoundError, ConnectionError : it cannot be had; the message says how it can.
    ValueError : its files are not what they should be.
    """
    if name not in ENTRIES:
        raise KeyError(f"there is no dataset {name!r} to get; there are {', '.join(ENTRIES)}")
    entry = ENTRIES[name]
    about = About(name, entry.title, entry.role, entry.metric, entry.most)
    if not again and name in stored.here():
        return stored.find(name)
    return stored.store(about, _source(entry, folder or official_folder()), again, report)


def _source(entry: Entry, folder: Path) -> Source:
    from r2t2.data.hub import HubSource

    if (local := found(entry, folder)) is not None:
        return local
    if entry.hub is None:
        raise FileNotFoundError(f"{entry.title} has to be put here by hand: {_by_hand(entry)}")
    try:
        return HubSource(entry)
    except ConnectionError as error:
        raise ConnectionError(f"{error}. {_by_hand(entry)}") from error


def found(entry: Entry, folder: Path) -> Source | None:
    """The local files of a dataset, if they are there: the hub's, or the official ones."""
    from r2t2.data.hub import HubSource

    place = folder / entry.name
    if entry.hub is not None and next(place.glob("**/*.parquet"), None) is not None:
        return HubSource(entry, place)
    try:
        # The first row asks for every file but pictures.
        next(iter(entry.read(Folder(folder, entry.name))), None)
    except FileNotFoundError:
        return None
    return Files(str(place), lambda: entry.read(Folder(folder, entry.name)))


def _by_hand(entry: Entry) -> str:
    return (
        f"Official files: put {entry.files} into {official_folder() / entry.name} (or name the "
        f"folder above it with --data-dir, or by R2T2_DATA) and run 'python -m r2t2 data get "
        f"{entry.name}' again"
    )


def how(name: str, folder: Path | None = None) -> str:
    """How to get a dataset of the paper, in a sentence; official files go below the folder."""
    entry, usual = ENTRIES[name], official_folder()
    given = f" --data-dir {folder}" if folder not in (None, usual) else ""
    command = f"'python -m r2t2 data get {name}{given}'"
    place = (folder or usual) / name
    if entry.hub is None:
        return f"the hub lacks it: put {entry.files} into {place}, then {command}"
    return f"{command} fetches it from the hub, or takes {entry.files} in {place}"


def missing(wanted: Iterable[str], folder: Path | None = None) -> list[str]:
    """The datasets among some, or parts of them, that are not here but whose local files are."""
    parts = dict.fromkeys(part for one in wanted for part in _parts(one))
    here, place = stored.here(), folder or official_folder()
    return [
        name
        for name in parts
        if name in ENTRIES and name not in here and found(ENTRIES[name], place) is not None
    ]


def _parts(name: str) -> tuple[str, ...]:
    if name == PAPER_REFERENCE:
        return REFERENCES
    return ("mmbench",) if name == CIRCULAR else tuple(name.split(PLUS))


def listed() -> list[dict[str, Any]]:
    """A row per dataset: name, title, role, whether it is here, and its size."""
    here = stored.here()
    rows = [
        {
            "name": name,
            "title": entry.title,
            "role": entry.role,
            "here": name in here,
            "samples": here[name].manifest["size"] if name in here else 0,
            "in the paper": entry.paper,
            "hub": entry.hub.ids[0] if entry.hub else "",
            "metric": entry.metric,
        }
        for name, entry in ENTRIES.items()
    ]
    for name, kept in here.items():
        if name not in ENTRIES:
            of = kept.manifest
            told = {"title": of["title"], "role": of["role"], "here": True, "samples": of["size"]}
            own = {"in the paper": 0, "hub": "", "metric": of["metric"]}
            rows.append({"name": name, **told, **own})
    return rows


def checked(wanted: Sequence[str], folder: Path | None = None) -> list[dict[str, Any]]:
    """What is here of some datasets, what is missing, and how to get it.

    Returns
    -------
    name, state ("here", "damaged", "files found" or "missing"), samples, and what is to be said.
    """
    rows = []
    for name in wanted:
        state, size, said = _state(name, folder or official_folder())
        rows.append({"name": name, "state": state, "samples": size, "note": said})
    return rows


def _state(name: str, folder: Path) -> tuple[str, int, str]:
    try:
        kept = stored.find(name)
        verified(kept)
    except FileNotFoundError:
        if name not in ENTRIES:
            raise KeyError(
                f"there is no dataset {name!r}; there are {', '.join(ENTRIES)}"
            ) from None
    except ValueError as error:
        return "damaged", 0, str(error)
    else:
        return "here", kept.manifest["size"], differs(kept)
    try:
        if (local := found(ENTRIES[name], folder)) is not None:
            return "files found", 0, f"'python -m r2t2 data get {name}' takes {local.told} in"
    except (OSError, ValueError, KeyError) as error:
        return "damaged", 0, f"the files in {folder / name} cannot be read: {error}"
    return "missing", 0, how(name, folder)


def verified(kept: Stored) -> None:
    """Whether the rows are those that the manifest vouches for; pictures' bytes included.

    Raises
    ------
    ValueError : they are not.
    """
    if stored.fingerprint(kept.table) != kept.manifest["fingerprint"]:
        raise ValueError(
            f"{kept.name} is not what its manifest says; make it again with "
            f"'python -m r2t2 data get {kept.name} --again'"
        )


def differs(kept: Stored) -> str:
    """In what a dataset that is here differs from the paper's, and what was skipped; or nothing."""
    told = kept.manifest
    said = []
    if told["size"] < told["rows"]:
        said.append(f"{told['size']:,} drawn from {told['rows']:,} with seed {told['seed']}")
    entry = ENTRIES.get(kept.name)
    if entry is not None and told["size"] != entry.paper:
        said.append(f"the paper has {entry.paper:,}")
    said += [f"{count:,} skipped {why}" for why, count in told["skipped"].items()]
    return "; ".join(said)
