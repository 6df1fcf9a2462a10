"""One of the processes of test_one_evaluation.py: python <this> <rank> <count> <folder> <data>.

Tests a network with random weights on its part of the data, and saves what all of them found.
"""

import sys
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import DDPStrategy

from tests.helpers.joint_training import (
    small_optimization,
    small_speaker_objective,
    small_speech_objective,
)
from tests.helpers.small_networks import save_architecture, small_multi_task_network
from w2v2_mt.data.joint import JointData
from w2v2_mt.data.loading import SpeakerLoading, SpeechLoading
from w2v2_mt.data.speaker import SpeakerCorpus, SpeakerData
from w2v2_mt.data.speech import SpeechCorpus, SpeechData
from w2v2_mt.data.transforms import ChunkSelector, NormaliseWaveform
from w2v2_mt.decoding.tokenizer import LetterTokenizer
from w2v2_mt.tasks.training_task import TrainingTask

DURATION_SEC = 1.2


def data_of(folder: Path, *, batch: dict[str, int | None], num_workers: int) -> JointData:
    """LibriSpeech's test-clean and VoxCeleb1 from the shards of a data folder."""
    loading = {**batch, "num_workers": num_workers, "pin_memory": False}
    normaliser = NormaliseWaveform(eps=1e-7)
    speech = SpeechData(
        corpus=SpeechCorpus(
            shards_folder=str(folder / "librispeech_shards"),
            train_sets=[],
            val_sets={"clean": "test_clean"},
            test_sets={"clean": "test_clean"},
            prepared_by="the test",
        ),
        loading=SpeechLoading(
            train_max_num_samples=1, max_queue_size=1, max_eval_utterances=40, **loading
        ),
        normaliser=normaliser,
        tokenizer=LetterTokenizer(vocabulary_path=None),
        seed=1,
    )
    speaker = SpeakerData(
        corpus=SpeakerCorpus(
            shards_folder=str(folder / "vox1_shards"),
            train_set="train",
            val_set="val",
            val_trials="val/val_trials.txt",
            test_sets={"o": "test"},
            test_trials={"o": "test/test_trials.txt"},
            prepared_by="the test",
        ),
        loading=SpeakerLoading(
            train_batch_size=1, shuffle_queue_size=1, max_eval_trials=100, **loading
        ),
        selector_train=ChunkSelector(
            desired_chunk_length_sec=3, selection_strategy="start", match_speech_lengths=False
        ),
        normaliser=normaliser,
        test_durations_sec=[DURATION_SEC],
        score_normalisation="as_norm",
        cohort_utterances_per_speaker=2,
        seed=1,
    )
    return JointData(speech=speech, speaker=speaker)


def found(
    folder: Path,
    data_folder: Path,
    *,
    batch: dict[str, int | None],
    num_workers: int = 0,
    num_processes: int = 1,
) -> dict[str, object]:
    """Transcripts, scores, embeddings by set and metrics of a test."""
    torch.manual_seed(1)
    data: Any = data_of(data_folder, batch=batch, num_workers=num_workers)
    speech = small_speech_objective()
    speaker = small_speaker_objective(
        val_trials=data.data_of_task["speaker"].val_trial_lists["val"],
        test_trials=data.data_of_task["speaker"].test_trial_lists,
        # Not normalized: embeddings of random weights are so alike that rounding would matter.
        durations_sec=[DURATION_SEC],
    )
    task = TrainingTask(
        network=small_multi_task_network(save_architecture(str(folder), "base")),
        objectives={"speech": speech, "speaker": speaker},
        optimization=small_optimization(),
    )
    strategy = DDPStrategy(process_group_backend="gloo") if num_processes > 1 else "auto"
    trainer = pl.Trainer(
        default_root_dir=folder,
        accelerator="cpu",
        devices=num_processes,
        strategy=strategy,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.test(task, data, verbose=False)
    return {
        "transcripts": [
            (each.key, each.reference, each.hypothesis)
            for each in speech.evaluation.transcripts["clean"]
        ],
        "scores": {
            name: torch.as_tensor(scored.scores)
            for name, scored in speaker.evaluation.scored_trials.items()  # type: ignore[attr-defined]
        },
        "embeddings": {
            name: dict(sorted(embeddings.items()))
            for name, embeddings in speaker.evaluation.embeddings.items()  # type: ignore[attr-defined]
        },
        "metrics": {name: float(value) for name, value in trainer.callback_metrics.items()},
    }


def main() -> None:
    rank, num_processes = int(sys.argv[1]), int(sys.argv[2])
    folder, data_folder = Path(sys.argv[3]), Path(sys.argv[4])
    torch.distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder / 'meeting_point'}",
        rank=rank,
        world_size=num_processes,
    )
    result = found(
        folder / str(rank),
        data_folder,
        batch={"eval_max_num_samples": 640_000, "val_batch_size": None},
        num_processes=num_processes,
    )
    torch.save(result, folder / f"found_by_{rank}.pt")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
