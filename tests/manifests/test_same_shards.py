"""The same recordings through each form of a manifest give the same shards, byte for byte."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.helpers.manifests import FORMS, Entry
from w2v2_mt.app.commands import main

FORMATS = (("wav", 16_000), ("flac", 22_050), ("ogg", 48_000))
NUM_SPEAKERS = 8


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Entry]]:
    """Recordings of three formats and rates, some of them parts of one long file."""
    folder = tmp_path_factory.mktemp("recordings")
    rng = np.random.default_rng(1)
    entries: list[Entry] = []
    for speaker in range(NUM_SPEAKERS):
        (folder / f"speaker {speaker}").mkdir()
        labels = {"speaker": f"s{speaker}", "sex": "fm"[speaker % 2]}
        for number, (suffix, rate) in enumerate(FORMATS):
            path = f"speaker {speaker}/{number}.{suffix}"
            soundfile.write(folder / path, rng.uniform(-0.3, 0.3, rate * 2), rate)
            text = {"text": f"Größe {number}, sagt {speaker}", "session": str(number)}
            if suffix == "flac":
                entries.append({"path": path, "start": 0.25, "end": 0.775, **labels, **text})
                entries.append({"path": path, "start": 0.775, "end": 1.5, **labels, **text})
            else:
                entries.append({"path": path, **labels, **text})
    return folder, entries


def test_each_form_gives_the_same_shards(
    recordings: tuple[Path, list[Entry]], tmp_path: Path
) -> None:
    folder, entries = recordings
    digests: dict[str, dict[str, str]] = {}
    for form, write in FORMS.items():
        manifest = write(folder, entries)
        data_folder = tmp_path / form
        arguments = ["prepare", "manifest", str(manifest), "--name", "mine", "--num_workers", "0"]
        assert main([*arguments, "--data_folder", str(data_folder)]) == 0
        shards = data_folder / "mine_shards"
        digests[form] = {
            str(path.relative_to(shards)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(shards.rglob("*"))
            if path.is_file()
        }
        for path in folder.iterdir():  # A folder with the files of two forms would be ambiguous.
            if path.is_file():
                path.unlink()
    assert "train/train_shard_000000.tar" in digests["csv"]
    assert "val/val_trials.txt" in digests["csv"]
    for form in FORMS:
        assert digests[form] == digests["csv"], form
