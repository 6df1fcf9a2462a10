from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from itertools import islice, pairwise
from random import Random
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from tests.helpers.shard_files import encoded_audio, voice
from w2v2_mt.core.samples import EncodedSample, SpeakerSample, SpeechSample
from w2v2_mt.data.encoded_audio import decode
from w2v2_mt.data.transforms import (
    ChunkSelector,
    NormaliseWaveform,
    make_speaker_sample,
    make_speech_sample,
    select_chunks,
)
from w2v2_mt.decoding.tokenizer import LetterTokenizer
from w2v2_mt.prepare.audio import encode

SAMPLE_RATE_HZ = 16_000
RAMP = np.arange(100_000, dtype=np.int16) % 30_000
"""100,000 samples, 6.25 s, in which a value tells its position, up to 30,000."""


def _encoded(audio: bytes, **metadata: Any) -> EncodedSample:
    return EncodedSample(key="84/1/2", audio=audio, metadata=metadata, shard="x.tar")


def _selector(strategy: Any, length_sec: float = 3) -> ChunkSelector:
    return ChunkSelector(
        desired_chunk_length_sec=length_sec,
        selection_strategy=strategy,
        match_speech_lengths=False,
    )


def _decode_chunks(sample: EncodedSample, selector: ChunkSelector) -> list[torch.Tensor]:
    chunks = select_chunks([sample], Random(0), selector=selector, shuffle_buffer_size=1)
    return [decode(chunk) for chunk in chunks]


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
    selector, drawn_from = _selector(strategy), [100, 100, 100, 900]
    rng = Random(0)
    chunks = [chunk for _ in range(4_000) for chunk in selector.chunks(1_000, rng, drawn_from)]
    assert all(0 <= chunk.start <= chunk.stop <= 1_000 for chunk in chunks)
    lengths = [len(chunk) for chunk in chunks]
    assert set(lengths) == {100, 900}
    # Four standard deviations of a share of a quarter.
    assert abs(lengths.count(900) - 1_000) < 110


@pytest.mark.parametrize("strategy", ["start", "end", "random", "random_contiguous", "contiguous"])
def test_a_file_shorter_than_the_drawn_length_is_repeated(strategy: str) -> None:
    selector = _selector(strategy)
    assert selector.chunks(499, Random(0), [1200]) == [range(1200)]
    assert len(selector.chunks(501, Random(0), [500])[0]) == 500
    expected = np.concatenate([RAMP[:499], RAMP[:499], RAMP[:202]])
    for metadata in ({}, {"num_frames": 499}):
        short = _encoded(encoded_audio(RAMP[:499]), **metadata)
        repeated = decode(replace(short, chunk=range(1200)))
        assert torch.equal(repeated * 32_768, torch.from_numpy(expected).float())


def test_each_of_the_contiguous_chunks_of_a_file_has_a_drawn_length() -> None:
    selector = _selector("contiguous")
    rng = Random(0)
    lengths = []
    for _ in range(1_000):
        chunks = selector.chunks(650, rng, [100, 300])
        assert chunks[0].start == 0
        assert chunks[-1].start < 650 <= chunks[-1].stop
        assert all(one.stop == two.start for one, two in pairwise(chunks))
        lengths += [len(chunk) for chunk in chunks]
    # Neither length is favored; four standard deviations of a share of a half.
    assert abs(lengths.count(100) / len(lengths) - 0.5) < 2 / len(lengths) ** 0.5


def test_the_last_of_contiguous_chunks_continues_at_the_beginning_of_the_file() -> None:
    waveform = decode(replace(_encoded(encoded_audio(RAMP[:650])), chunk=range(600, 900)))
    expected = np.concatenate([RAMP[600:650], RAMP[:250]])
    assert torch.equal(waveform * 32_768, torch.from_numpy(expected).float())


def test_random_contiguous_chunks_are_the_contiguous_ones_in_a_drawn_order() -> None:
    selector = _selector("random_contiguous", length_sec=10 / SAMPLE_RATE_HZ)
    in_order = _selector("contiguous", length_sec=10 / SAMPLE_RATE_HZ).chunks(205, Random(0))
    drawn = selector.chunks(205, Random(0))
    assert len(in_order) == 20
    assert sorted(drawn, key=lambda chunk: chunk.start) == in_order != drawn
    assert selector.chunks(205, Random(0)) == drawn != selector.chunks(205, Random(1))


@pytest.mark.parametrize("strategy", ["start", "end", "random"])
def test_only_the_chunk_is_decoded(num_frames_read: list[int], strategy: str) -> None:
    flac = _encoded(encoded_audio(RAMP, format="FLAC"))
    (waveform,) = _decode_chunks(flac, _selector(strategy))
    assert num_frames_read == [48_000]
    assert waveform.shape == (48_000,)


def test_a_plain_wav_file_is_read_without_a_decoder(num_frames_read: list[int]) -> None:
    samples = np.array([-32_768, -1, 0, 1, 32_767], dtype=np.int16)
    waveform = decode(_encoded(encode(samples, "wav"), num_frames=5))
    assert torch.equal(waveform, torch.from_numpy(samples).float() / 32_768)
    assert num_frames_read == []


@pytest.mark.parametrize("audio_format", ["WAV", "FLAC"])
@pytest.mark.parametrize("metadata", [{}, {"num_frames": len(RAMP)}])
def test_a_chunk_holds_the_samples_of_its_place(
    audio_format: str, metadata: dict[str, int]
) -> None:
    encoded = _encoded(encoded_audio(RAMP, format=audio_format), **metadata)
    first, second = _decode_chunks(encoded, _selector("contiguous"))
    assert torch.equal(first * 32_768, torch.from_numpy(RAMP[:48_000]).float())
    assert torch.equal(second * 32_768, torch.from_numpy(RAMP[48_000:96_000]).float())


def test_a_whole_file_is_decoded_in_one_read(num_frames_read: list[int]) -> None:
    waveform = decode(_encoded(encoded_audio(RAMP, format="FLAC"), num_frames=100_000))
    assert num_frames_read == [100_000]
    assert waveform.dtype == torch.float32


@pytest.mark.parametrize(
    ("audio", "metadata", "problem"),
    [
        (encoded_audio(RAMP, sample_rate_hz=8_000), {}, "must have 16000 Hz, not 8000"),
        (encoded_audio(np.zeros((50, 2))), {}, "must have 1 channel, not 2"),
        (encoded_audio(np.zeros(0)), {}, "must not be empty"),
        (encoded_audio(np.zeros(0)), {"num_frames": 0}, "must not be empty"),
        (
            encoded_audio(RAMP, sample_rate_hz=8_000),
            {"num_frames": 100_000},
            "must have 16000 Hz, not 8000",
        ),
        (
            encoded_audio(np.array([0, np.nan]), subtype="FLOAT"),
            {},
            "must not hold NaN or infinite values",
        ),
        (
            encoded_audio(np.array([0, np.inf]), subtype="FLOAT"),
            {},
            "must not hold NaN or infinite values",
        ),
        (b"no audio at all", {}, r"must be decodable \(.+\)"),
        (b"", {}, r"must be decodable \(.+\)"),
        (
            encoded_audio(RAMP),
            {"num_frames": 7},
            "must have 7 samples as in its json, not 100000",
        ),
        (
            encoded_audio(RAMP)[:-10],
            {"num_frames": 100_000},
            "must have 100000 samples as in its json, not 99995",
        ),
    ],
    # Not the bytes: those of a file of floats hold the time at which it was written.
    ids=[
        "another rate",
        "two channels",
        "no samples",
        "no samples, as stated",
        "another rate, as long as stated",
        "not a number",
        "infinite",
        "text",
        "no bytes",
        "longer than stated",
        "cut off",
    ],
)
def test_unusable_audio_is_named(audio: bytes, metadata: dict[str, Any], problem: str) -> None:
    message = rf"The audio of utterance 84/1/2 in shard x\.tar {problem}\. Write the shard again\.$"
    with pytest.raises(ValueError, match=message):
        decode(_encoded(audio, **metadata))


@pytest.mark.parametrize("strategy", ["contiguous", "random_contiguous"])
def test_the_chunks_of_a_file_are_shuffled_among_those_of_others(
    num_frames_read: list[int], strategy: str
) -> None:
    audio = encoded_audio(RAMP, format="FLAC")
    files = [
        EncodedSample(
            key=str(number), audio=audio, metadata={"num_frames": len(RAMP)}, shard="x.tar"
        )
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
    stage = partial(select_chunks, selector=selector, shuffle_buffer_size=64)
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
    assert len(decode(again[0])) == 10_000
    assert num_frames_read == [10_000]


def test_one_chunk_of_each_file_stays_in_the_order_of_the_files() -> None:
    files = [_encoded(encoded_audio(RAMP), number=number) for number in range(20)]
    selector = _selector("random")
    chunks = list(select_chunks(files, Random(0), selector=selector, shuffle_buffer_size=64))
    assert [chunk.metadata["number"] for chunk in chunks] == list(range(20))
    assert {len(chunk.chunk) for chunk in chunks if chunk.chunk} == {48_000}


def test_each_of_several_short_files_is_used_whole() -> None:
    samples = [_encoded(encoded_audio(RAMP[:length])) for length in (10, 20, 30)]
    selector = _selector("random")
    chunks = select_chunks(samples, Random(0), selector=selector, shuffle_buffer_size=1)
    assert [len(decode(chunk)) for chunk in chunks] == [10, 20, 30]


def test_finite_samples_are_used_although_their_sum_is_too_large() -> None:
    loud = np.array([3e38, 3e38, -1.0], dtype=np.float32)
    decoded = decode(_encoded(encoded_audio(loud, subtype="FLOAT")))
    assert decoded.tolist() == loud.tolist()


def test_normalising_by_hand() -> None:
    normaliser = NormaliseWaveform(eps=1.0)
    # mean 2, variance 8/3 + 1
    expected = torch.tensor([-2.0, 0.0, 2.0]) / (8 / 3 + 1) ** 0.5
    torch.testing.assert_close(normaliser(torch.tensor([0.0, 2.0, 4.0])), expected)


def test_normalising_is_that_of_the_feature_extractor_of_wav2vec2() -> None:
    transformers = pytest.importorskip("transformers")
    extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=True)
    waveform = voice(3, 20_000, np.random.default_rng(0)).astype(np.float32) * 0.01 + 0.2
    expected = extractor(waveform, sampling_rate=SAMPLE_RATE_HZ).input_values[0]
    ours = NormaliseWaveform(eps=1e-7)(torch.from_numpy(waveform))
    torch.testing.assert_close(ours, torch.as_tensor(expected), rtol=1e-4, atol=1e-4)


def test_silence_stays_finite() -> None:
    silence = NormaliseWaveform(eps=1e-7)(torch.full((50,), 0.1))
    assert torch.isfinite(silence).all()
    assert silence.abs().max() < 1e-3


def _speech_sample(**metadata: Any) -> SpeechSample:
    return make_speech_sample(
        _encoded(encoded_audio(RAMP), **metadata),
        normaliser=NormaliseWaveform(eps=1e-7),
        tokenizer=LetterTokenizer(vocabulary_path=None),
    )


def _speaker_sample(*, is_training: bool, **metadata: Any) -> SpeakerSample:
    normaliser = NormaliseWaveform(eps=1e-7)
    sample = _encoded(encoded_audio(RAMP), **metadata)
    return make_speaker_sample(
        sample, normaliser=normaliser, is_training=is_training, num_speakers=8
    )


def test_a_speech_sample_has_tokens_and_a_normalised_waveform() -> None:
    sample = _speech_sample(transcription="A TEA")
    assert (sample.key, sample.transcription) == ("84/1/2", "A TEA")
    assert sample.tokens.tolist() == [7, 4, 6, 5, 7]
    normalised = NormaliseWaveform(eps=1e-7)(torch.from_numpy(RAMP).float() / 32_768)
    assert torch.equal(sample.waveform, normalised)


def test_a_foreign_token_is_named_with_its_utterance() -> None:
    with pytest.raises(ValueError, match=r"Utterance 84/1/2 in shard x\.tar: The letter 'É' of"):
        _speech_sample(transcription="CAFÉ")


def test_a_missing_fact_is_named() -> None:
    with pytest.raises(
        ValueError, match=r"84/1/2 in shard x\.tar must have 'transcription', but has only \["
    ):
        _speech_sample(speaker_id="x")


@pytest.mark.parametrize("is_training", [True, False])
def test_a_speaker_sample_has_its_speaker(is_training: bool) -> None:
    sample = _speaker_sample(is_training=is_training, speaker_id="id10001", speaker_id_idx=7)
    assert (sample.key, sample.speaker_id, sample.speaker_index) == ("84/1/2", "id10001", 7)


def test_only_in_training_a_speaker_needs_an_index() -> None:
    metadata = {"speaker_id": "id10001", "speaker_id_idx": None}
    assert _speaker_sample(is_training=False, **metadata).speaker_index is None
    with pytest.raises(
        ValueError,
        match=r"training utterance 84/1/2 in shard x\.tar must have a speake",
    ):
        _speaker_sample(is_training=True, **metadata)


@pytest.mark.parametrize("index", [8, -1, 10**12, True, 1.0, "1", [1]])
def test_the_index_of_a_training_speaker_is_one_of_the_classes(index: Any) -> None:
    with pytest.raises(ValueError, match="must be an integer from 0 to 7, not"):
        _speaker_sample(is_training=True, speaker_id="id10001", speaker_id_idx=index)


@pytest.mark.parametrize("transcription", [7, None, ["A"], {"A": 1}])
def test_a_transcription_that_is_not_a_text_is_named_with_its_utterance(transcription: Any) -> None:
    with pytest.raises(ValueError, match=r"84/1/2 in shard x\.tar: The transcription .* a text"):
        _speech_sample(transcription=transcription)
