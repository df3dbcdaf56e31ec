"""A copy of runs elsewhere: at any address that fsspec opens, such as s3://bucket/folder.

The cache stays what is true: a folder, which one process writes under a lock. Object stores have
no locks, and a copy needs none. Files go first and the manifest that names them last, so that
whatever moment the copying ends at, what the mirror's manifest says is there.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import fsspec

from r2t2.files import written
from r2t2.runs.store import Run, UnreadableRun, is_file, locked

MANIFEST = "manifest.json"


class Mirror:
    """Runs at an address, one folder each.

    Parameters
    ----------
    address : of a folder; it is made where there is none.

    Raises
    ------
    ValueError : there is nothing here that opens such an address; the message says what would.
    """

    def __init__(self, address: str) -> None:
        try:
            self._there, self._root = fsspec.url_to_fs(address)
        except (ImportError, ValueError) as error:
            raise ValueError(f"runs cannot be copied to {address!r}: {error}") from error
        self._copied: dict[str, dict[str, str]] = {}

    def names(self) -> list[str]:
        """The folders that are there.

        Raises
        ------
        OSError : the mirror cannot be read.
        """
        self._there.invalidate_cache()
        try:
            found = self._there.ls(self._root, detail=True)
        except FileNotFoundError:
            return []
        return sorted(_name(entry) for entry in found if entry["type"] == "directory")

    def push(self, run: Run) -> None:
        """Copy what of a run is not there yet.

        Raises
        ------
        OSError : the mirror cannot be written.
        """
        name, files = run.spec.folder, run.files
        before = self._copied[name] if name in self._copied else self._listed(run)
        if any(before.get(file) not in (None, "", sha) for file, sha in files.items()):
            # The run was made anew: while its files change, no manifest may speak of the old.
            self._remove(name, MANIFEST)
        self._there.makedirs(self._at(name), exist_ok=True)
        for file, sha in files.items():
            if before.get(file) != sha:
                self._there.put_file(str(run.folder / file), self._at(name, file))
        # Not every store replaces a file at once; all rename at once, or copy and then delete.
        part = self._at(name, f".{MANIFEST}.part")
        self._there.pipe_file(part, (run.folder / MANIFEST).read_bytes())
        self._there.mv(part, self._at(name, MANIFEST))
        for file in before.keys() - files.keys():
            self._remove(name, file)
        self._copied[name] = files

    def pull(self, name: str, folder: Path) -> bool:
        """Copy a run into a folder of runs that has none of its name; whether it was copied.

        A file that is missing or damaged there is as one that is damaged here: its samples are
        computed anew.

        Raises
        ------
        UnreadableRun : what is there has no manifest of this program's.
        OSError : the mirror cannot be read.
        """
        place = folder / name
        if (place / MANIFEST).exists() or not self._there.exists(self._at(name, MANIFEST)):
            return False
        text = self._read(name)
        run = Run.parse(place, text)
        if run.spec.folder != name:
            raise UnreadableRun(f"the manifest of {name} in the mirror is another run's")
        with locked(place):
            for file in run.files:
                with suppress(FileNotFoundError), written(place / file) as part:
                    self._there.get_file(self._at(name, file), str(part))
            with written(place / MANIFEST) as part:
                part.write_text(text)
        return True

    def _listed(self, run: Run) -> dict[str, str]:
        """A run's files that are there, by what their manifest says; nothing of a damaged one."""
        name, files = run.spec.folder, run.files
        self._there.invalidate_cache()
        try:
            found = {_name(file): file["size"] for file in self._there.ls(self._at(name), True)}
        except FileNotFoundError:
            return {}
        try:
            told = Run.parse(run.folder, self._read(name)).files
        except (FileNotFoundError, UnreadableRun):
            told = {}
        listed = {file: told.get(file, "") for file in found if is_file(file)}
        for file, sha in files.items():
            if listed.get(file) == sha and found[file] != (run.folder / file).stat().st_size:
                listed[file] = ""
        return listed

    def _read(self, name: str) -> str:
        return self._there.cat_file(self._at(name, MANIFEST)).decode(errors="replace")

    def _remove(self, name: str, file: str) -> None:
        with suppress(FileNotFoundError):
            self._there.rm_file(self._at(name, file))

    def _at(self, *names: str) -> str:
        return "/".join((self._root, *names))


def _name(entry: dict[str, Any]) -> str:
    return str(entry["name"]).rstrip("/").rpartition("/")[2]
