"""lhotse's side of `peers.py`: batches of waveforms by its dynamic buckets.

`load` reads audio files that cuts name, `load_shar` its own shards, which hold the same audio.
"""

from pathlib import Path
from typing import Any

from lhotse import CutSet, MonoCut, Recording, SupervisionSegment
from lhotse.dataset import (
    DynamicBucketingSampler,
    IterableDatasetWrapper,
    UnsupervisedWaveformDataset,
)
from peer_turns import Job, Round, Variant, audio_path, loading_result, read_utterances, serve
from torch.utils.data import DataLoader

NUM_BUCKETS = 30
"""The default of many recipes of icefall."""

UTTERANCES_PER_SHARD = 100


def make_cuts(job: Job, audio_format: str) -> CutSet:
    """Return a cut of each audio file, with its transcription."""
    cuts = []
    for each in read_utterances(job):
        recording = Recording.from_file(audio_path(job, each, audio_format), each["key"])
        supervision = SupervisionSegment(
            id=each["key"],
            recording_id=each["key"],
            start=0.0,
            duration=recording.duration,
            text=each["text"],
            speaker=each["speaker"],
        )
        cut = MonoCut(
            id=each["key"],
            start=0.0,
            duration=recording.duration,
            channel=0,
            recording=recording,
            supervisions=[supervision],
        )
        cuts.append(cut)
    return CutSet.from_cuts(cuts)


def read_epoch(job: Job, cuts: CutSet) -> dict[str, Any]:
    """Read all cuts once, in this process as all sides do."""
    num_buckets = min(NUM_BUCKETS, len(read_utterances(job)))
    sampler = DynamicBucketingSampler(
        cuts, max_duration=job["max_batch_sec"], num_buckets=num_buckets, shuffle=True
    )
    batches = IterableDatasetWrapper(dataset=UnsupervisedWaveformDataset(), sampler=sampler)
    loader: Any = DataLoader(batches, batch_size=None, num_workers=0)
    return loading_result([batch["audio_lens"].tolist() for batch in loader])


def load(job: Job) -> Round:
    """Return one pass over the audio files."""
    cuts = {name: make_cuts(job, name).to_eager() for name in ("flac", "wav")}
    return lambda variant: read_epoch(job, cuts[variant["format"]])


def load_shar(job: Job) -> Round:
    """Return one pass over shards of the same audio."""
    folders = {name: Path(job["output"], f"shar_{name}") for name in ("flac", "wav")}
    for name, folder in folders.items():
        if not folder.exists():
            folder.mkdir(parents=True)
            fields = {"recording": name}
            make_cuts(job, name).to_shar(folder, fields=fields, shard_size=UTTERANCES_PER_SHARD)

    def run_round(variant: Variant) -> dict[str, Any]:
        cuts = CutSet.from_shar(in_dir=folders[variant["format"]], shuffle_shards=True, seed=0)
        return read_epoch(job, cuts)

    return run_round


if __name__ == "__main__":
    serve({"load": load, "load_shar": load_shar})
