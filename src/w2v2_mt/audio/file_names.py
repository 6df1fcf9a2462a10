"""The rule that decides by its name whether a file counts as audio, in folders and archives."""

import os
from collections.abc import Iterator
from pathlib import Path, PurePath

AUDIO_SUFFIXES = frozenset(
    ".3gp .aac .ac3 .aif .aifc .aiff .amr .au .bwf .caf .flac .m4a .m4b .mka .mp2 .mp3 .mp4 .nist "
    ".oga .ogg .opus .rf64 .snd .sph .svx .voc .w64 .wav .wave .webm .wma".split()
)
"""In lower case; the case of a suffix does not matter."""


def is_hidden(name: PurePath) -> bool:
    """Return True for hidden files and what macOS adds (`._*`, `.DS_Store`, `__MACOSX/`)."""
    return any(part == "__MACOSX" or (part[0] == "." and part != "..") for part in name.parts)


def is_audio_name(name: PurePath) -> bool:
    """Return True for a path, below the folder that is searched, of what counts as audio."""
    return name.suffix.lower() in AUDIO_SUFFIXES and not is_hidden(name)


def files_below(folder: Path) -> Iterator[Path]:
    """Yield what is below a folder, and not a folder; a folder that links reach again only once."""

    def stop(error: OSError) -> None:
        raise error

    seen = {os.path.realpath(folder)}
    for root, folders, names in os.walk(folder, followlinks=True, onerror=stop):
        folders.sort()
        real_paths = {name: os.path.realpath(Path(root, name)) for name in folders}
        folders[:] = [name for name in folders if real_paths[name] not in seen]
        seen.update(real_paths[name] for name in folders)
        yield from (Path(root, name) for name in names)
