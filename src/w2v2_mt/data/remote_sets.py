"""The place of the shards of a corpus: a folder, or addresses whose files are kept in a cache."""

import fnmatch
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from webdataset.shardlists import expand_urls

from w2v2_mt.core.addresses import PIPE, check_address, expand, explain, is_remote
from w2v2_mt.core.atomic_output import replace_text
from w2v2_mt.core.remote_files import (
    RemoteFolder,
    explain_disk,
    fetch,
    file_system,
    lock_file,
    mirror,
    remote_folder_of,
)
from w2v2_mt.core.text_files import read_json_object, read_text, split_lines
from w2v2_mt.data.shards import SHARD_PATTERN, find_shards

SHARD_LIST = "shards.txt"
"""The names of the shards of a remote folder, for servers that do not list folders."""


@dataclass(frozen=True, kw_only=True)
class RemoteAccess:
    """The rules for shards on other machines.

    Args:
        cache_folder: The folder in which downloaded files are kept.
        allow_pipe: True runs the commands of `pipe:` addresses.
    """

    cache_folder: str
    allow_pipe: bool


@dataclass(frozen=True, kw_only=True)
class ShardStore:
    """The place of the files of a corpus.

    Args:
        root: The folder of the corpus, or its address.
        access: The rules for addresses. None: they are refused.
    """

    root: str
    access: RemoteAccess | None

    def folder(self, name: str) -> Path:
        """Return the folder of a set on this machine; the name of a set may be an address."""
        address = self._address(name)
        return Path(self.root, name) if address is None else self._mirror(address)[0]

    def file(self, name: str) -> Path:
        """Return the path of a file on this machine, where it is now if it exists anywhere."""
        address = self._address(name)
        if address is None:
            return Path(self.root, name)
        base, mark, query = address.partition("?")
        folder, _, file = base.rpartition("/")
        path = self._mirror(folder + mark + query)[0] / file
        fetch(path, is_optional=True)
        return path

    def file_of_set(self, set_name: str, name: str) -> Path:
        """Return the path of a file in the folder of a set, as `file` does."""
        path = self.folder(set_name) / name
        fetch(path, is_optional=True)
        return path

    def shards(self, name: str, *, producer: str) -> list[Path]:
        """Return the shards of a set, which are downloaded when they are read.

        Raises:
            ValueError: It has none, or cannot be asked for them.
        """
        address = self._address(name)
        if address is None:
            return find_shards(self.folder(name), producer=producer)
        folder, names = self._mirror(address)
        found = remote_folder_of(folder)
        assert found is not None
        remote, below = found
        if remote.commands:
            return [folder / each for each in names]
        sizes = _read_listing(address, folder, remote, below, names)
        prefix = "" if below == "." else f"{below}/"
        remote.sizes.update(
            {f"{prefix}{each}": size for each, size in sizes.items() if size is not None}
        )
        return [folder / each for each in sizes]

    def _address(self, name: str) -> str | None:
        """Return the address of a set or file, and None for one on this machine."""
        if not is_remote(name):
            if not is_remote(self.root):
                return None
            base, mark, query = self.root.partition("?")
            name = f"{base.rstrip('/')}/{name}".rstrip("/") + mark + query
        check_address(name)
        if self.access is None:
            raise ValueError(f"{name} must be a folder, since no cache folder is set. Set one.")
        if name.startswith(PIPE) and not self.access.allow_pipe:
            raise ValueError(
                f"{name} must not be run, since the command of a pipe may do anything. If you "
                "trust it, set remote.allow_pipe=true."
            )
        return name

    def _mirror(self, address: str) -> tuple[Path, list[str]]:
        """Return the folder of an address on this machine, and the names of shards in it."""
        assert self.access is not None
        cache_folder = Path(self.access.cache_folder)
        if address.startswith(PIPE):
            commands = {
                f"shard_{number:06d}.tar": f"{PIPE}{command.removeprefix(PIPE)}"
                for number, command in enumerate(expand_urls(address))
            }
            digest = hashlib.sha256(address.encode()).hexdigest()[:16]
            remote = RemoteFolder(url=f"{PIPE}{digest}", commands=commands)
            return mirror(remote, cache_folder), list(commands)
        base, mark, query = address.partition("?")
        if not base.endswith(".tar"):
            return mirror(RemoteFolder(url=base, query=mark + query), cache_folder), []
        urls = [url.rpartition("/") for url in expand_urls(base)]
        folders = dict.fromkeys(folder for folder, _, _ in urls)
        if len(folders) > 1:
            raise ValueError(
                f"{address} must name shards of one folder, not of {len(folders)}. Name a set for "
                "each folder."
            )
        remote = RemoteFolder(url=next(iter(folders)), query=mark + query)
        return mirror(remote, cache_folder), [name for _, _, name in urls]


def _read_listing(
    address: str, folder: Path, remote: RemoteFolder, below: str, names: list[str]
) -> dict[str, int | None]:
    """Return the shards of a remote set and their sizes, from the cache if they were asked for.

    Args:
        folder: The mirror of the set.
        below: The path of the set in the remote folder.
        names: The names of its shards. Empty: all shards of the folder.
    """
    digest = hashlib.sha256(address.encode()).hexdigest()[:16]
    path = folder / f".listing-{digest}.json"
    with explain_disk(path):
        folder.mkdir(parents=True, exist_ok=True)
        with lock_file(path):
            if path.exists():
                content = read_json_object(path, advice="Remove it.")
                return {str(name): size for name, size in content.items()}
            sizes = _ask_for_sizes(address, folder, remote, below, names)
            replace_text(path, json.dumps(sizes))
    return sizes


def _ask_for_sizes(
    address: str, folder: Path, remote: RemoteFolder, below: str, names: list[str]
) -> dict[str, int | None]:
    url = remote.url if below == "." else f"{remote.url}/{below}"
    system, place = file_system(f"{url}{remote.query}")
    sizes: dict[str, int | None] = dict.fromkeys(names or _read_names(folder))
    try:
        if not sizes:
            entries = {_base_name(each["name"]): each["size"] for each in system.ls(place)}
            sizes = {name: entries[name] for name in sorted(fnmatch.filter(entries, SHARD_PATTERN))}
        if None in sizes.values():
            places = [expand(f"{url}/{name}{remote.query}") for name in sizes]
            sizes = dict(zip(sizes, system.sizes(places), strict=True))
    except Exception as error:  # Each protocol has errors of its own.
        raise explain(address, error) from None
    if not sizes:
        raise ValueError(
            f"{address} must list shards ({SHARD_PATTERN}), but lists none. Name them, as in "
            f"https://host/folder/train-{{000000..000009}}.tar, or write their names to "
            f"{SHARD_LIST} in this folder, one a line."
        )
    return sizes


def _read_names(folder: Path) -> Iterator[str]:
    """Yield the names in the list of shards of a remote folder, if it has one."""
    path = folder / SHARD_LIST
    fetch(path, is_optional=True)
    if path.exists():
        for line in split_lines(read_text(path)):
            if (name := line.strip()) and name == _base_name(name):
                yield name


def _base_name(name: str) -> str:
    return unquote(urlsplit(name).path.rstrip("/").rpartition("/")[2])
