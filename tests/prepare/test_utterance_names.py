from pathlib import Path

import pytest

from tests.helpers.archive_files import write_zip
from w2v2_mt.prepare.voxceleb_utterances import StoredNames, parse_key


def keys_of(folder: Path, *names: str, archive: str = "x.zip") -> list[str]:
    """The keys of an archive of empty files."""
    stored = StoredNames()
    stored.add_archives([write_zip(folder / archive, [(name, b"") for name in names])])
    assert not stored.duplicates
    assert all(name == tuple(name.key.split("/")) for name in stored.members)
    return [name.key for name in stored.members]


@pytest.mark.parametrize("folder", ["wav/", "dev/aac/", ""])
def test_the_last_three_parts_name_the_utterance(tmp_path: Path, folder: str) -> None:
    assert keys_of(tmp_path, f"{folder}id10001/-_x1/00002.wav") == ["id10001/-_x1/00002"]
    m4a = f"{folder}id10001/-_x1/00002.m4a"
    assert keys_of(tmp_path, m4a, archive="x_aac.zip") == ["id10001/-_x1/00002"]


def test_an_archive_of_converted_files_may_hold_the_originals_too(tmp_path: Path) -> None:
    names = ["aac/id1/v/00001.m4a", "aac/id2/v/00001.m4a", "wav/id1/v/00001.wav"]
    assert keys_of(tmp_path, *names, archive="vox2_dev_wav.zip") == ["id1/v/00001"]


def test_hidden_files_are_no_utterances(tmp_path: Path) -> None:
    names = ["__MACOSX/wav/id1/v/._00001.wav", "wav/id2/v/00001.wav"]
    assert keys_of(tmp_path, *names) == ["id2/v/00001"]


@pytest.mark.parametrize("key", ["id1/00001", "id1/v/0.1", "a/b/c/d", "id1//00001", ""])
def test_another_layout_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="^list.txt names .* not <speaker>/<video>/<utterance>"):
        parse_key(key, source="list.txt")
