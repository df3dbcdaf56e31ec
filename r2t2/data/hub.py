"""Splits of datasets on the Hugging Face hub, or of copies of them, through `datasets`.

Only the files of the split are fetched. What is fetched lies in the hub's own cache, where a
download that was cut off goes on; a large split is read as it comes and goes on from where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from r2t2.data.catalogue import Entry, Hub
from r2t2.data.rows import Row, Skip, later, of_cell, text

if TYPE_CHECKING:
    from datasets import DatasetBuilder, IterableDataset

# The errors by which `datasets` says that a repository, a config or a split is not there.
_ABSENT = (OSError, ValueError, KeyError)


class HubSource:
    """A split of a dataset, to be read row by row.

    Parameters
    ----------
    entry : with `hub` and `cells`.
    folder : a copy of the repository to read instead of the hub.

    Attributes
    ----------
    told, size : where it is from, for people, and its rows; 0 where the hub does not say.

    Raises
    ------
    ConnectionError : the hub cannot be reached, or has it under none of its names.
    FileNotFoundError : the folder holds no such split.
    """

    def __init__(self, entry: Entry, folder: Path | None = None) -> None:
        assert entry.hub is not None
        assert entry.cells is not None
        self._hub, self._cells, self._folder = entry.hub, entry.cells, folder
        self._stream: IterableDataset | None = None
        self._builder = _builder(entry, entry.hub, folder)
        of = f"{entry.hub.config}, {entry.hub.split}"
        self.told = f"{self._builder.repo_id or folder} ({of})"
        splits = self._builder.info.splits or {}
        self.size = int(splits[entry.hub.split].num_examples) if entry.hub.split in splits else 0

    def rows(self, pictures: bool, state: dict[str, Any] | None = None) -> Iterator[Row | Skip]:
        """Its rows in their order.

        Parameters
        ----------
        pictures : whether they will be asked for; without them little is read.
        state : what `state` returned after the last row that was had.
        """
        stream = self._open(self._builder, self._hub.split, pictures)
        if state is not None:
            stream.load_state_dict(state)
        self._stream = stream
        shown = self._apart() if pictures and self._hub.pictures else None
        for cells in stream:
            try:
                yield self._row(cells, pictures, shown)
            except Skip as why:
                yield why

    def _row(
        self, cells: dict[str, Any], pictures: bool, shown: Callable[[str], Any] | None
    ) -> Row:
        if not pictures:
            return self._cells(cells, later)
        cell = shown(text(cells["imageId"])) if shown else cells.get(self._hub.image)
        return self._cells(cells, of_cell(cell))

    def state(self) -> dict[str, Any] | None:
        """Where it is, as JSON; `rows` goes on after it."""
        return None if self._stream is None else self._stream.state_dict()

    def _apart(self) -> Callable[[str], Any]:
        """The pictures that another config has, by their ids; in memory are their places alone."""
        from datasets import load_dataset

        hub = self._hub
        builder = _named(hub, hub.pictures, self._folder, "pictures")
        files = _local(builder, hub.split)
        table = load_dataset("parquet", data_files={hub.split: files}, split=hub.split)
        table = table.cast_column("image", _undecoded())
        places = {text(id): place for place, id in enumerate(table["id"])}
        return lambda id: table[places[id]]["image"] if id in places else None

    def _open(self, builder: DatasetBuilder, split: str, pictures: bool) -> IterableDataset:
        from datasets import Image, load_dataset

        if builder.config.data_files is None:
            # A dataset that an earlier program fetched and prepared: it opens without the hub.
            builder.download_and_prepare()
            stream = builder.as_dataset(split=split).to_iterable_dataset()
        else:
            files = list(builder.config.data_files[split]) if self._hub.large else None
            files = files or _local(builder, split)
            stream = load_dataset("parquet", data_files={split: files}, split=split, streaming=True)
        features = stream.features or {}
        images = [name for name, feature in features.items() if isinstance(feature, Image)]
        if not pictures:
            return stream.remove_columns(images)
        for name in images:
            stream = stream.cast_column(name, _undecoded())
        return stream


def _undecoded() -> Any:
    from datasets import Image

    return Image(decode=False)


def _builder(entry: Entry, hub: Hub, folder: Path | None) -> DatasetBuilder:
    builder = _named(hub, hub.config, folder, entry.title)
    files = builder.config.data_files
    if files is not None and hub.split not in files:
        raise FileNotFoundError(
            f"{folder or builder.repo_id} has no split {hub.split} of {entry.title}; it has "
            f"{', '.join(map(str, files))}"
        )
    return builder


def _named(hub: Hub, config: str, folder: Path | None, title: str) -> DatasetBuilder:
    from datasets import load_dataset_builder

    if folder is not None:
        try:
            if (folder / "README.md").exists():  # it says which files are of which config
                return load_dataset_builder(str(folder), config)
            files = _of_split(folder, config, hub.split)
            return load_dataset_builder("parquet", data_files={hub.split: files})
        except _ABSENT as error:
            raise FileNotFoundError(
                f"{folder} holds no {config}, {hub.split} of {title}: {_line(error)}"
            ) from error
    problems = []
    for id in hub.ids:
        try:
            return load_dataset_builder(id, config)
        except _ABSENT as error:
            problems.append(f"{id}: {_line(error)}")
    raise ConnectionError(f"the hub did not give {title} ({'; '.join(problems)})")


def _of_split(folder: Path, config: str, split: str) -> list[str]:
    """The files of a split where no README tells: in a folder of the config's name, if any is."""
    for place in (folder / config, folder / "data", folder):
        if files := sorted(place.glob(f"{split}[-_.]*parquet")):
            return list(map(str, files))
    raise FileNotFoundError(f"no {split}-*.parquet in it, nor in {config}/ or data/")


def _local(builder: DatasetBuilder, split: str) -> list[str]:
    """The files of a split on this machine, fetched where they are not."""
    from datasets import DownloadConfig, DownloadManager

    files = list(builder.config.data_files[split])
    manager = DownloadManager(download_config=DownloadConfig(token=builder.token))
    try:
        return [str(path) for path in manager.download(files)]
    except OSError as error:
        raise ConnectionError(
            f"the download of {builder.repo_id} broke off ({_line(error)}); the same command goes "
            "on from there"
        ) from error


def _line(error: object) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
