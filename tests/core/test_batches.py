from dataclasses import replace

import torch

from w2v2_mt.core.batches import JointBatch, SpeakerBatch, SpeechBatch
from w2v2_mt.core.samples import JointSample, SpeakerSample, SpeechSample


def speaker_sample(key, num_samples, index):
    return SpeakerSample(
        key=key, waveform=torch.ones(num_samples), speaker_id=f"id{key}", speaker_index=index
    )


def test_a_speech_batch_keeps_the_lengths_of_waveforms_and_tokens():
    samples = [
        SpeechSample(
            key=key,
            waveform=torch.ones(num_samples),
            transcription=text,
            tokens=torch.tensor([7] * len(text)),
        )
        for key, num_samples, text in (("a", 5, "HI"), ("b", 3, "YOU"))
    ]
    batch = SpeechBatch.collate(samples, set_name="clean")
    assert len(batch) == 2
    assert batch.set_name == "clean"
    assert batch.num_samples.tolist() == [5, 3]
    assert batch.waveforms.sum(dim=1).tolist() == [5.0, 3.0]
    assert batch.num_tokens.tolist() == [2, 3]
    assert batch.tokens.tolist() == [[7, 7, 0], [7, 7, 7]]
    assert batch.transcriptions == ["HI", "YOU"]


def test_a_speaker_outside_the_training_set_has_index_minus_one():
    batch = SpeakerBatch.collate(
        [speaker_sample("a", 2, 4), speaker_sample("b", 2, None)], set_name="val"
    )
    assert batch.speaker_indices.tolist() == [4, -1]


def test_lengths_are_read_with_padding_and_rows():
    batch = SpeakerBatch.collate(
        [speaker_sample("a", 5, 0), speaker_sample("b", 3, 1)], set_name="train"
    )
    lengths = batch.read_lengths()
    assert (lengths.num_samples, lengths.num_padded_samples) == ([5, 3], 10)
    assert lengths.rows == {"speaker": None}
    labelled = JointSample(key="c", waveform=torch.ones(2), speaker_id="idc", labelled={})
    samples = [
        labelled,
        replace(labelled, labelled={"speaker": speaker_sample("c", 2, 1)}),
    ]
    joint = JointBatch.collate(samples, set_name="train", collate={"speaker": SpeakerBatch.collate})
    assert joint.read_lengths().rows == {"speaker": [1]}


def test_only_tensors_in_page_locked_memory_are_copied_without_waiting(monkeypatch):
    batch = SpeakerBatch.collate([speaker_sample("a", 2, 4)], set_name="val")
    waits = []

    def move(tensor, device, *, non_blocking):
        waits.append(not non_blocking)
        return tensor

    monkeypatch.setattr(torch.Tensor, "is_pinned", lambda tensor: tensor is batch.waveforms)
    monkeypatch.setattr(torch.Tensor, "to", move)
    batch.to("cuda")
    assert sorted(waits) == [False, True, True]


def test_moving_a_batch_moves_every_tensor_and_nothing_else():
    batch = SpeakerBatch.collate([speaker_sample("a", 2, 4)], set_name="val")
    moved = batch.to("meta")
    assert moved.waveforms.device.type == moved.num_samples.device.type == "meta"
    assert moved.speaker_indices.device.type == "meta"
    assert moved.keys == ["a"]
    assert batch.waveforms.device.type == "cpu"
