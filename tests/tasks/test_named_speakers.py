"""The speakers of a test are those of the metadata, whatever the keys look like."""

import numpy as np
import pytest
import torch

from w2v2_mt.core.batches import SpeakerBatch
from w2v2_mt.core.samples import EncodedSample, SpeakerSample
from w2v2_mt.core.trials import Trial
from w2v2_mt.metrics.score_normalisation import normalise_scores
from w2v2_mt.report.comparison import compare_runs
from w2v2_mt.runs.run_folder import RunFolder
from w2v2_mt.runs.run_record import write_test_outputs
from w2v2_mt.tasks.speaker_evaluation import ScoredTrials
from w2v2_mt.tasks.transcripts import Transcript, group_by_speaker, transcript_files

NUM_SPEAKERS, NUM_EACH = 10, 6


def flat_transcripts(*, is_named, offset=0):
    return [
        Transcript(
            f"rec{number:04d}",
            "A B C D",
            " ".join("ABCD"[: 1 + (number // NUM_EACH + offset) % 4]),
            16_000,
            f"speaker {number // NUM_EACH}" if is_named else None,
        )
        for number in range(NUM_SPEAKERS * NUM_EACH)
    ]


def write_run(folder, files):
    folder.mkdir()
    (folder / "config.yaml").write_text("seed: 1\n")
    write_test_outputs(folder, files)
    (folder / "metrics.json").write_text('{"tested_step": 1}\n')
    return RunFolder(folder)


@pytest.mark.parametrize(
    ("key", "metadata", "speaker"),
    [
        ("rec0001", {"speaker_id": "id7"}, "id7"),
        ("rec0001", {"speaker_id": 7}, "7"),
        ("a/b/c", {"speaker_id": "id7"}, "id7"),
        ("x/b/c", {"reader_id": "84"}, "84"),
        ("84/1/2", {}, "84"),
        ("84/1/2", {"speaker_id": None}, "84"),
    ],
)
def test_the_metadata_names_the_speaker_before_the_key(key, metadata, speaker):
    assert EncodedSample(key=key, audio=b"", metadata=metadata, shard="s").speaker == speaker


def test_errors_are_grouped_by_the_named_speaker():
    groups = group_by_speaker(flat_transcripts(is_named=True))
    assert len(groups) == NUM_SPEAKERS
    assert {len(group) for group in groups.values()} == {NUM_EACH}


def test_a_run_keeps_the_speakers_of_its_transcripts_for_a_comparison(tmp_path):
    runs = [
        write_run(
            tmp_path / name,
            transcript_files("clean", flat_transcripts(is_named=True, offset=offset)),
        )
        for name, offset in (("a", 0), ("b", 1))
    ]
    (words,) = compare_runs(*runs)
    assert words.num_speakers == NUM_SPEAKERS
    assert words.warnings == []


def test_an_old_folder_of_flat_keys_is_compared_by_utterance_with_a_warning(tmp_path):
    runs = [
        write_run(
            tmp_path / name,
            transcript_files("clean", flat_transcripts(is_named=False, offset=offset)),
        )
        for name, offset in (("a", 0), ("b", 1))
    ]
    (words,) = compare_runs(*runs)
    assert words.num_speakers == NUM_SPEAKERS * NUM_EACH
    assert "each utterance counts as a speaker of its own" in words.warnings[0]


def test_speakers_of_the_keys_need_no_file():
    rows = [Transcript("84/1/1", "A", "A", 16_000, "84")]
    assert "speakers_clean.tsv" not in transcript_files("clean", rows)


def test_trials_are_drawn_and_compared_by_the_named_speakers(tmp_path):
    keys = [f"rec{number}" for number in range(40)]
    speakers = {key: f"id{number % 8}" for number, key in enumerate(keys)}
    trials = [
        Trial(same_speaker=speakers[a] == speakers[b], left_key=a, right_key=b)
        for index, a in enumerate(keys)
        for b in keys[:index]
    ]
    generator = np.random.default_rng(0)
    scores = generator.normal(size=len(trials)) + [2 * trial.same_speaker for trial in trials]
    named = ScoredTrials(trials=trials, scores=scores, speakers=speakers).test_metrics("o")
    renamed = [
        Trial(
            trial.same_speaker,
            *(f"{speakers[key]}/{key}" for key in (trial.left_key, trial.right_key)),
        )
        for trial in trials
    ]
    assert ScoredTrials(trials=renamed, scores=scores).test_metrics("o") == named
    lines = [
        f"{int(trial.same_speaker)} {score:.9g} {trial.left_key} {trial.right_key}"
        for trial, score in zip(trials, scores, strict=True)
    ]
    rows = ["key\tspeaker", *(f"{key}\t{speaker}" for key, speaker in speakers.items())]
    files = {"scores_o.txt": lines, "trial_speakers.tsv": rows}
    (one,) = compare_runs(write_run(tmp_path / "a", files), write_run(tmp_path / "b", files))
    assert (one.num_speakers, one.warnings) == (8, [])


def test_the_own_speaker_is_no_part_of_the_cohort_of_a_flat_key():
    embeddings = {key: torch.randn(4, generator=torch.manual_seed(n)) for n, key in enumerate("xy")}
    cohort = {f"id{n}": torch.randn(4, generator=torch.manual_seed(9 + n)) for n in range(4)}
    trials = [Trial(same_speaker=False, left_key="x", right_key="y")]
    arguments = {"embeddings": embeddings, "cohort_size": None}
    named = normalise_scores(
        np.array([0.5]), trials, cohort=cohort, speakers={"x": "id0", "y": "id0"}, **arguments
    )
    others = {name: each for name, each in cohort.items() if name != "id0"}
    expected = normalise_scores(np.array([0.5]), trials, cohort=others, **arguments)
    assert named == pytest.approx(expected)


def test_a_batch_holds_the_speakers_of_its_samples():
    samples = [
        SpeakerSample(
            key=f"rec{n}", waveform=torch.zeros(10), speaker_id=f"id{n % 2}", speaker_index=None
        )
        for n in range(4)
    ]
    batch = SpeakerBatch.collate(samples, set_name="test")
    assert batch.speakers == ["id0", "id1", "id0", "id1"]
