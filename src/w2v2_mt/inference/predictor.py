"""Apply a trained network to audio files: words with times, and speaker embeddings.

A file that is longer than a window is read in overlapping windows. The tokens before the middle of
an overlap are those of the earlier window, the tokens after it those of the later one. The
embedding of a file is the mean of those of its windows, weighted by their number of frames.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from w2v2_mt.audio.files import AudioFile, Window, cut_windows, read_header, read_windows
from w2v2_mt.core.finite import find_non_finite
from w2v2_mt.core.padding import pad_sequences
from w2v2_mt.core.units import (
    SAMPLE_RATE_HZ,
    count,
    samples_from_seconds,
    seconds_from_samples,
)
from w2v2_mt.decoding.confidence import greedy_confidence
from w2v2_mt.decoding.tokenizer import TimedWord
from w2v2_mt.inference.precision import ResolvedInferencePrecision, compute_in, set_precision
from w2v2_mt.inference.trained_network import TrainedNetwork

WindowIterator = Iterator[Window]


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """The prediction for a file: words, or None without a CTC head, and likewise an embedding.

    `frame_sec` is the distance of two frames, in which the times of words count. `confidence` is
    that of the transcript, as of `greedy_confidence`.
    """

    audio: AudioFile
    words: list[TimedWord] | None
    confidence: float | None
    embedding: Float[Tensor, " embedding"] | None
    frame_sec: float

    @property
    def transcript(self) -> str | None:
        """The words as one text."""
        return None if self.words is None else " ".join(word.text for word in self.words)


@dataclass(frozen=True)
class AudioPath:
    """An audio file on disk."""

    path: Path

    def open(self) -> AudioFile:
        """Return the metadata of the audio; raise ValueError if it cannot be used."""
        return read_header(self.path)

    def windows(self, audio: AudioFile, *, window_samples: int, hop_samples: int) -> WindowIterator:
        """Yield the windows of the audio that was opened, as `read_windows`."""
        return read_windows(audio, window_samples=window_samples, hop_samples=hop_samples)


@dataclass
class LoadedAudio:
    """The audio of an utterance that is not a file of its own, decoded when its turn comes.

    Args:
        path: The name of the utterance in messages and in its prediction.
        load: Returns the waveform at 16 kHz; a ValueError skips the utterance.
    """

    path: Path
    load: Callable[[], Float[np.ndarray, " samples"]]
    waveform: Float[np.ndarray, " samples"] | None = None

    def open(self) -> AudioFile:
        """Load the waveform and return its metadata."""
        self.waveform = self.load()
        return AudioFile(
            path=self.path,
            sample_rate_hz=SAMPLE_RATE_HZ,
            num_channels=1,
            num_source_samples=len(self.waveform),
        )

    def windows(self, audio: AudioFile, *, window_samples: int, hop_samples: int) -> WindowIterator:
        """Yield the windows of the waveform, which is then released."""
        waveform, self.waveform = self.waveform, None
        assert waveform is not None
        return cut_windows([waveform], window_samples=window_samples, hop_samples=hop_samples)


@dataclass
class _OpenFile:
    """The outputs so far for a file whose windows are being read."""

    source: AudioPath | LoadedAudio
    on_refusal: Callable[[str], None]
    on_progress: Callable[[float], None]
    audio: AudioFile = field(init=False)
    tokens: list[Int[Tensor, " frames"]] = field(default_factory=list)
    log_probabilities: list[Float[Tensor, " frames"]] = field(default_factory=list)
    summed_embedding: Float[Tensor, " embedding"] | float = 0.0
    num_frames: int = 0
    share_done: float = 0.0
    is_refused: bool = False

    @property
    def path(self) -> Path:
        """Return the name of the file in messages."""
        return self.source.path

    def advance(self, share: float) -> None:
        """Report that this share of the file was completed."""
        self.share_done += share
        self.on_progress(share)

    def refuse(self, reason: str) -> None:
        """Skip the file and report why; further reasons are not reported."""
        if not self.is_refused:
            self.is_refused = True
            self.on_refusal(reason)
            self.advance(1 - self.share_done)


class Predictor:
    """A predictor of files, which batches windows of several files.

    Args:
        trained: The network, which int8 changes in place.
        device: The device to compute on.
        precision: The precision to compute in, one that the device has.
        window_sec: Files up to this length are one window.
        overlap_sec: The overlap of two windows of a longer file.
        max_batch_sec: A batch holds at most this much audio, padding included, or one window. None:
            120 s on a GPU, 10 s on a CPU, whose caches hold no more.
    """

    def __init__(
        self,
        trained: TrainedNetwork,
        *,
        device: torch.device,
        precision: ResolvedInferencePrecision,
        window_sec: float,
        overlap_sec: float,
        max_batch_sec: float | None,
    ):
        self.trained = trained
        self.device = device
        self.precision = precision
        self.network = trained.network.to(device)
        set_precision(self.network, precision)
        frame_samples = trained.network.trunk.backbone.num_samples_per_frame
        self.frame_sec = seconds_from_samples(frame_samples)
        # Frames of two windows must coincide in the overlap, which must have a middle.
        num_window_frames = samples_from_seconds(window_sec) // frame_samples
        self.half_overlap_frames = samples_from_seconds(overlap_sec) // frame_samples // 2
        self.hop_frames = num_window_frames - 2 * self.half_overlap_frames
        if not 0 < 2 * self.half_overlap_frames <= num_window_frames / 2:
            raise ValueError(
                f"overlap_sec ({overlap_sec:g}) does not suit window_sec ({window_sec:g}). Choose "
                f"an overlap of {2 * self.frame_sec:g} s to half a window."
            )
        self.window_samples = num_window_frames * frame_samples
        self.hop_samples = self.hop_frames * frame_samples
        if max_batch_sec is None:
            max_batch_sec = 10 if device.type == "cpu" else 120
        self.max_batch_samples = samples_from_seconds(max_batch_sec)

    def predict(
        self,
        sources: Iterable[Path | LoadedAudio],
        *,
        on_refusal: Callable[[str], None],
        on_progress: Callable[[float], None],
    ) -> Iterator[Prediction]:
        """Predict each readable file or waveform, in their order.

        `on_refusal` receives a sentence for each file that is skipped, and `on_progress` the number
        of files, or fraction of a file, that was completed.
        """
        batch: list[tuple[_OpenFile, Window]] = []
        opened = (
            _OpenFile(
                AudioPath(source) if isinstance(source, Path) else source, on_refusal, on_progress
            )
            for source in sources
        )
        for file, window in chain.from_iterable(map(self._read, opened)):
            longest = max(len(other.waveform) for other in (window, *(each for _, each in batch)))
            if batch and longest * (len(batch) + 1) > self.max_batch_samples:
                yield from self._predict_batch(batch)
                batch = []
            batch.append((file, window))
        if batch:
            yield from self._predict_batch(batch)

    def _read(self, file: _OpenFile) -> Iterator[tuple[_OpenFile, Window]]:
        backbone = self.network.trunk.backbone
        try:
            file.audio = file.source.open()
            for window in file.source.windows(
                file.audio, window_samples=self.window_samples, hop_samples=self.hop_samples
            ):
                if backbone.num_frames(len(window.waveform)) == 0:
                    raise ValueError(
                        f"{file.path} is {1000 * file.audio.duration_sec:.0f} ms long, too short "
                        f"for one frame. It has {count(len(window.waveform), 'sample')} at 16 kHz, "
                        f"{backbone.too_short_for_a_frame}."
                    )
                yield file, window
        except ValueError as error:
            file.refuse(str(error))

    def _predict_batch(self, batch: Sequence[tuple[_OpenFile, Window]]) -> Iterator[Prediction]:
        """Run the network on a batch, and yield the files whose last window is in it."""
        normalised = [self.trained.normaliser(window.waveform) for _, window in batch]
        waveforms, num_samples = pad_sequences(normalised)
        with torch.inference_mode(), compute_in(self.precision, self.device):
            outputs = self.network.answer(waveforms.to(self.device), num_samples.to(self.device))
        rows = set()  # of NaN or infinity, whose decoding would be arbitrary
        tokens = log_probabilities = embeddings = None
        if "speech" in outputs:
            logits = outputs["speech"].logits
            rows.update(find_non_finite(logits, outputs["speech"].num_frames))
            tokens = logits.argmax(dim=-1).cpu()
            log_probabilities = logits.float().log_softmax(dim=-1).amax(dim=-1).cpu()
        if "speaker" in outputs:
            embeddings = outputs["speaker"].embeddings.float().cpu()
            rows.update(find_non_finite(embeddings))
        for row in sorted(rows):
            batch[row][0].refuse(
                f"{batch[row][0].path} is skipped, as the network returned NaN or infinity for it. "
                "Look for NaN in the weights of the checkpoint."
            )
        num_frames = self.network.trunk.backbone.num_frames(num_samples).tolist()
        for row, (file, window) in enumerate(batch):
            if file.is_refused:
                continue
            start = 0 if window.start_sample == 0 else self.half_overlap_frames
            end = self.hop_frames + self.half_overlap_frames
            if window.is_last:
                end = num_frames[row]
            file.num_frames += end - start
            if tokens is not None and log_probabilities is not None:
                file.tokens.append(tokens[row, start:end])
                file.log_probabilities.append(log_probabilities[row, start:end])
            if embeddings is not None:
                file.summed_embedding = file.summed_embedding + embeddings[row] * (end - start)
            if not window.is_last:
                file.advance(seconds_from_samples(self.hop_samples) / file.audio.duration_sec)
                continue
            file.advance(1 - file.share_done)
            tokenizer, summed = self.trained.tokenizer, file.summed_embedding
            words = confidence = None
            if tokenizer is not None:
                file_tokens = torch.cat(file.tokens)
                words = tokenizer.decode_words(file_tokens)
                confidence = greedy_confidence(
                    file_tokens, torch.cat(file.log_probabilities), tokenizer=tokenizer
                )
            yield Prediction(
                audio=file.audio,
                words=words,
                confidence=confidence,
                embedding=summed / file.num_frames if isinstance(summed, Tensor) else None,
                frame_sec=self.frame_sec,
            )
