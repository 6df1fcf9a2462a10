from collections import Counter
from collections.abc import Iterable
from itertools import islice
from random import Random
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from tests.data.shard_files import encoded_audio, voice
from w2v2_mt.core.samples import EncodedSample
from w2v2_mt.data.stages import (
    AttachLetters,
    AttachSpeaker,
    ChunkSelector,
    Decode,
    DecodedSample,
    NormaliseWaveform,
    SelectChunks,
)
from w2v2_mt.data.tokenizer import LetterTokenizer

SAMPLE_RATE_HZ = 16_000
RAMP = np.arange(100_000, dtype=np.int16) % 30_000
"""100,000 samples, 6.25 s, in which a value tells its position, up to 30,000."""


def _encoded(audio: bytes, **facts: Any) -> EncodedSample:
    return EncodedSample(key="84/1/2", audio=audio, facts=facts, shard="x.tar")


def _decoded(waveform: torch.Tensor, **facts: Any) -> DecodedSample:
    return DecodedSample(key="84/1/2", waveform=waveform, facts=facts, shard="x.tar")


def _selector(strategy: Any, length_sec: float = 3) -> ChunkSelector:
    return ChunkSelector(
        desired_chunk_length_sec=length_sec,
        selection_strategy=strategy,
        match_speech_lengths=False,
    )


def _decode(sample: EncodedSample, selector: ChunkSelector | None = None) -> list[DecodedSample]:
    samples: Iterable[EncodedSample] = [sample]
    if selector is not None:
        samples = SelectChunks(selector=selector, shuffle_buffer_size=1)(samples, Random(0))
    return list(Decode()(samples, Random(0)))


@pytest.fixture
def num_frames_read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of frames of each read from an audio file."""
    reads: list[int] = []
    original = soundfile.SoundFile.read

    def read(self: soundfile.SoundFile, frames: int = -1, *rest: Any, **options: Any) -> Any:
        result = original(self, frames, *rest, **options)
        reads.append(len(result))
        return result

    monkeypatch.setattr(soundfile.SoundFile, "read", read)
    return reads


@pytest.mark.parametrize(
    ("strategy", "chunks"),
    [
        ("start", [range(48_000)]),
        ("end", [range(52_000, 100_000)]),
        ("contiguous", [range(48_000), range(48_000, 96_000)]),
    ],
)
def test_chunks_of_a_long_file(strategy: str, chunks: list[range]) -> None:
    assert _selector(strategy).chunks(100_000, Random(0)) == chunks


@pytest.mark.parametrize("strategy", ["start", "end", "random", "random_contiguous", "contiguous"])
@pytest.mark.parametrize("num_samples", [1, 47_999, 48_000])
def test_a_file_not_longer_than_a_chunk_is_used_whole(strategy: str, num_samples: int) -> None:
    assert _selector(strategy).chunks(num_samples, Random(0)) == [range(num_samples)]


def test_a_random_chunk_lies_anywhere_from_the_first_to_the_last_sample() -> None:
    selector = _selector("random", length_sec=5 / SAMPLE_RATE_HZ)
    rng = Random(0)
    chunks = [chunk for _ in range(200) for chunk in selector.chunks(8, rng)]
    assert {(chunk.start, chunk.stop) for chunk in chunks} == {(0, 5), (1, 6), (2, 7), (3, 8)}


@pytest.mark.parametrize("strategy", ["start", "end", "random"])
def test_drawn_lengths_are_those_that_are_given(strategy: str) -> None:
    selector = _selector(strategy).with_drawn_lengths([100, 100, 100, 900])
    rng = Random(0)
    chunks = [chunk for _ in range(4_000) for chunk in selector.chunks(1_000, rng)]
    assert all(0 <= chunk.start <= chunk.stop <= 1_000 for chunk in chunks)
    lengths = [len(chunk) for chunk in chunks]
    assert set(lengths) == {100, 900}
    # Four standard deviations of a share of a quarter.
    assert abs(lengths.count(900) - 1_000) < 110


def test_a_file_shorter_than_the_drawn_length_is_used_whole() -> None:
    selector = _selector("random").with_drawn_lengths([500])
    assert selector.chunks(499, Random(0)) == [range(499)]
    assert len(selector.chunks(501, Random(0))[0]) == 500


def test_contiguous_chunks_of_a_file_have_one_drawn_length() -> None:
    selector = _selector("contiguous").with_drawn_lengths([100, 300])
    drawn = {tuple(selector.chunks(650, Random(seed))) for seed in range(20)}
    assert drawn == {
        tuple(range(start, start + 100) for start in range(0, 600, 100)),
        (range(300), range(300, 600)),
    }


def test_a_selector_that_is_told_lengths_leaves_the_first_one_alone() -> None:
    selector = _selector("start")
    selector.with_drawn_lengths([100])
    assert selector.chunks(100_000, Random(0)) == [range(48_000)]


def test_random_contiguous_chunks_are_the_contiguous_ones_in_a_drawn_order() -> None:
    selector = _selector("random_contiguous", length_sec=10 / SAMPLE_RATE_HZ)
    in_order = _selector("contiguous", length_sec=10 / SAMPLE_RATE_HZ).chunks(205, Random(0))
    drawn = selector.chunks(205, Random(0))
    assert len(in_order) == 20
    assert sorted(drawn, key=lambda chunk: chunk.start) == in_order != drawn
    assert selector.chunks(205, Random(0)) == drawn != selector.chunks(205, Random(1))


@pytest.mark.parametrize("strategy", ["start", "end", "random"])
def test_only_the_chunk_is_decoded(num_frames_read: list[int], strategy: str) -> None:
    (sample,) = _decode(_encoded(encoded_audio(RAMP)), _selector(strategy))
    assert num_frames_read == [48_000]
    assert sample.waveform.shape == (48_000,)


@pytest.mark.parametrize("audio_format", ["WAV", "FLAC"])
def test_a_chunk_holds_the_samples_of_its_place(audio_format: str) -> None:
    encoded = _encoded(encoded_audio(RAMP, format=audio_format))
    first, second = _decode(encoded, _selector("contiguous"))
    assert first.key == second.key == "84/1/2"
    assert torch.equal(first.waveform * 32_768, torch.from_numpy(RAMP[:48_000]).float())
    assert torch.equal(second.waveform * 32_768, torch.from_numpy(RAMP[48_000:96_000]).float())


def test_a_whole_file_is_decoded_in_one_read(num_frames_read: list[int]) -> None:
    (sample,) = _decode(_encoded(encoded_audio(RAMP), num_frames=100_000))
    assert num_frames_read == [100_000]
    assert sample.waveform.dtype == torch.float32
    assert sample.facts == {"num_frames": 100_000}


@pytest.mark.parametrize(
    ("audio", "facts", "problem"),
    [
        (encoded_audio(RAMP, sample_rate_hz=8_000), {}, "has a sample rate of 8000 Hz, not 16000"),
        (encoded_audio(np.zeros((50, 2))), {}, "has 2 channels, not 1"),
        (encoded_audio(np.zeros(0)), {}, "is empty"),
        (encoded_audio(np.array([0, np.nan]), subtype="FLOAT"), {}, "holds NaN or infinite values"),
        (encoded_audio(np.array([0, np.inf]), subtype="FLOAT"), {}, "holds NaN or infinite values"),
        (b"no audio at all", {}, "cannot be decoded"),
        (b"", {}, "cannot be decoded"),
        (encoded_audio(RAMP), {"num_frames": 7}, "has 100000 samples, not 7 as its json says"),
        (encoded_audio(RAMP)[:-10], {"num_frames": 100_000}, "has 99995 samples, not 100000"),
    ],
    # Not the bytes: those of a file of floats hold the time at which it was written.
    ids=[
        "another rate",
        "two channels",
        "no samples",
        "not a number",
        "infinite",
        "text",
        "no bytes",
        "longer than stated",
        "cut off",
    ],
)
def test_unusable_audio_is_named(audio: bytes, facts: dict[str, Any], problem: str) -> None:
    message = rf"the audio of utterance 84/1/2 in shard x\.tar {problem}.*: write the shard again"
    with pytest.raises(ValueError, match=message):
        _decode(_encoded(audio, **facts))


@pytest.mark.parametrize("strategy", ["contiguous", "random_contiguous"])
def test_the_chunks_of_a_file_are_shuffled_among_those_of_others(
    num_frames_read: list[int], strategy: str
) -> None:
    audio = encoded_audio(RAMP)
    files = [
        EncodedSample(key=str(number), audio=audio, facts={"num_frames": len(RAMP)}, shard="x.tar")
        for number in range(40)
    ]
    num_taken = 0

    def taken() -> Iterable[EncodedSample]:
        nonlocal num_taken
        for file in files:
            num_taken += 1
            yield file

    # Ten chunks of each file; about seven files wait.
    selector = _selector(strategy, length_sec=10_000 / SAMPLE_RATE_HZ)
    stage = SelectChunks(selector=selector, shuffle_buffer_size=64)
    chunks = iter(stage(taken(), Random(0)))
    batches = [list(islice(chunks, 20))]
    assert num_taken == 9
    while batch := list(islice(chunks, 20)):
        batches.append(batch)
    assert num_frames_read == []
    drawn = [(chunk.key, chunk.chunk) for batch in batches for chunk in batch]
    assert len(set(drawn)) == len(drawn) == 40 * 10
    for batch in batches:
        assert max(Counter(chunk.key for chunk in batch).values()) <= 10
        assert len({chunk.key for chunk in batch}) >= 4
    again = list(stage(files, Random(0)))
    assert [(chunk.key, chunk.chunk) for chunk in again] == drawn
    (first,) = Decode()(again[:1], Random(0))
    assert num_frames_read == [len(first.waveform)] == [10_000]


def test_one_chunk_of_each_file_stays_in_the_order_of_the_files() -> None:
    files = [_encoded(encoded_audio(RAMP), number=number) for number in range(20)]
    stage = SelectChunks(selector=_selector("random"), shuffle_buffer_size=64)
    chunks = list(stage(files, Random(0)))
    assert [chunk.facts["number"] for chunk in chunks] == list(range(20))
    assert {len(chunk.chunk) for chunk in chunks if chunk.chunk} == {48_000}


def test_each_of_several_short_files_is_used_whole() -> None:
    samples = [_encoded(encoded_audio(RAMP[:length])) for length in (10, 20, 30)]
    chunks = SelectChunks(selector=_selector("random"), shuffle_buffer_size=1)(samples, Random(0))
    decoded = Decode()(chunks, Random(0))
    assert [len(sample.waveform) for sample in decoded] == [10, 20, 30]


def test_normalising_by_hand() -> None:
    stage = NormaliseWaveform(eps=1.0)
    # mean 2, variance 8/3 + 1
    expected = torch.tensor([-2.0, 0.0, 2.0]) / (8 / 3 + 1) ** 0.5
    torch.testing.assert_close(stage.normalised(torch.tensor([0.0, 2.0, 4.0])), expected)


def test_normalising_is_that_of_the_feature_extractor_of_wav2vec2() -> None:
    transformers = pytest.importorskip("transformers")
    extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=True)
    waveform = voice(3, 20_000, np.random.default_rng(0)).astype(np.float32) * 0.01 + 0.2
    expected = extractor(waveform, sampling_rate=SAMPLE_RATE_HZ).input_values[0]
    (sample,) = NormaliseWaveform(eps=1e-7)([_decoded(torch.from_numpy(waveform))], Random(0))
    torch.testing.assert_close(sample.waveform, torch.as_tensor(expected), rtol=1e-4, atol=1e-4)


def test_silence_stays_finite() -> None:
    silence = NormaliseWaveform(eps=1e-7).normalised(torch.full((50,), 0.1))
    assert torch.isfinite(silence).all()
    assert silence.abs().max() < 1e-3


def test_letters_are_attached() -> None:
    tokenizer = LetterTokenizer(vocabulary_path=None)
    decoded = _decoded(torch.ones(5), transcription="A TEA")
    (sample,) = AttachLetters(tokenizer=tokenizer)([decoded], Random(0))
    assert (sample.key, sample.transcription) == ("84/1/2", "A TEA")
    assert sample.letters.tolist() == [7, 4, 6, 5, 7]
    assert sample.waveform is decoded.waveform


def test_a_foreign_letter_is_named_with_its_utterance() -> None:
    stage = AttachLetters(tokenizer=LetterTokenizer(vocabulary_path=None))
    decoded = _decoded(torch.ones(5), transcription="CAFÉ")
    with pytest.raises(ValueError, match=r"utterance 84/1/2 in shard x\.tar: the letter 'É' of"):
        list(stage([decoded], Random(0)))


def test_a_missing_fact_is_named() -> None:
    stage = AttachLetters(tokenizer=LetterTokenizer(vocabulary_path=None))
    with pytest.raises(ValueError, match=r"84/1/2 in shard x\.tar has no 'transcription', only \["):
        list(stage([_decoded(torch.ones(5), speaker_id="x")], Random(0)))


@pytest.mark.parametrize("is_training", [True, False])
def test_speakers_are_attached(is_training: bool) -> None:
    decoded = _decoded(torch.ones(5), speaker_id="id10001", speaker_id_idx=7)
    (sample,) = AttachSpeaker(is_training=is_training)([decoded], Random(0))
    assert (sample.key, sample.speaker_id, sample.speaker_index) == ("84/1/2", "id10001", 7)


def test_only_in_training_a_speaker_needs_an_index() -> None:
    decoded = _decoded(torch.ones(5), speaker_id="id10001", speaker_id_idx=None)
    (sample,) = AttachSpeaker(is_training=False)([decoded], Random(0))
    assert sample.speaker_index is None
    with pytest.raises(
        ValueError, match=r"training utterance 84/1/2 in shard x\.tar has no speake"
    ):
        list(AttachSpeaker(is_training=True)([decoded], Random(0)))
