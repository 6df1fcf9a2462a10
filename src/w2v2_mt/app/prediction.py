"""What a trained network says of audio files: words with times, and an embedding of the voice.

A file that is longer than a window is read in overlapping ones. Of two, the letters are taken from
the earlier one up to the middle of the overlap and from the later one behind it. The embedding of
a file is the mean of those of its windows, weighted by how many frames each of them contributes.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from w2v2_mt.app.trained import TrainedNetwork, answers
from w2v2_mt.core.padding import pad_sequences
from w2v2_mt.core.units import samples_from_seconds, seconds_from_samples
from w2v2_mt.data.audio_files import AudioFile, read_header
from w2v2_mt.data.audio_windows import Window, read_windows
from w2v2_mt.data.tokenizer import TimedWord


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What was found in a file.

    Args:
        words: None where the network knows no letters.
        embedding: None where it knows no speakers.
        frame_sec: the distance of two frames.
    """

    audio: AudioFile
    words: list[TimedWord] | None
    embedding: Float[Tensor, " embedding"] | None
    frame_sec: float

    @property
    def transcript(self) -> str | None:
        return None if self.words is None else " ".join(word.text for word in self.words)


@dataclass(kw_only=True)
class _OpenFile:
    """What is known so far of a file whose windows are being read."""

    audio: AudioFile
    letters: list[Int[Tensor, " frames"]] = field(default_factory=list)
    summed_embedding: Float[Tensor, " embedding"] | float = 0.0
    num_frames: int = 0
    share_done: float = 0.0


@dataclass(frozen=True, kw_only=True)
class _Part:
    """A window on its way through the network."""

    file: _OpenFile
    window: Window


class Predictor:
    """Predicts files, with windows of several files side by side in a batch.

    Args:
        device: where the network computes.
        window_sec: files up to this length are answered in one piece.
        overlap_sec: what two windows of a longer file have in common.
        max_batch_sec: a batch holds so much audio, padding included, or one window.
    """

    def __init__(
        self,
        trained: TrainedNetwork,
        *,
        device: torch.device,
        window_sec: float,
        overlap_sec: float,
        max_batch_sec: float,
    ):
        self.trained = trained
        self.device = device
        self.network = trained.network.to(device)
        frame_samples = trained.network.trunk.backbone.num_samples_per_frame
        self.frame_sec = seconds_from_samples(frame_samples)
        # Frames of windows have to fall on each other, and an overlap has a middle.
        num_window_frames = samples_from_seconds(window_sec) // frame_samples
        self.half_overlap_frames = samples_from_seconds(overlap_sec) // frame_samples // 2
        self.hop_frames = num_window_frames - 2 * self.half_overlap_frames
        if not 0 < 2 * self.half_overlap_frames <= num_window_frames / 2:
            raise ValueError(
                f"overlap_sec={overlap_sec:g} does not suit window_sec={window_sec:g}; choose an "
                f"overlap of {2 * self.frame_sec:g} s to half a window."
            )
        self.window_samples = num_window_frames * frame_samples
        self.hop_samples = self.hop_frames * frame_samples
        self.max_batch_samples = samples_from_seconds(max_batch_sec)

    def predict(
        self,
        paths: Iterable[Path],
        *,
        on_refusal: Callable[[str], None],
        on_progress: Callable[[float], None],
    ) -> Iterator[Prediction]:
        """A prediction of each readable file, in their order.

        Args:
            on_refusal: is told in a sentence why a file is left out.
            on_progress: is told by how many files, or which part of one, the work has advanced.
        """
        batch: list[_Part] = []
        for part in self._parts(paths, on_refusal, on_progress):
            longest = max(len(other.window.waveform) for other in [*batch, part])
            if batch and longest * (len(batch) + 1) > self.max_batch_samples:
                yield from self._answered(batch, on_progress)
                batch = []
            batch.append(part)
        if batch:
            yield from self._answered(batch, on_progress)

    def _parts(
        self,
        paths: Iterable[Path],
        on_refusal: Callable[[str], None],
        on_progress: Callable[[float], None],
    ) -> Iterator[_Part]:
        for path in paths:
            file = None
            try:
                file = _OpenFile(audio=read_header(path))
                for window in read_windows(
                    file.audio, window_samples=self.window_samples, hop_samples=self.hop_samples
                ):
                    self._check_length(file.audio, window)
                    yield _Part(file=file, window=window)
            except ValueError as error:
                on_refusal(str(error))
                on_progress(1 if file is None else 1 - file.share_done)

    def _check_length(self, audio: AudioFile, window: Window) -> None:
        num_samples = torch.tensor([len(window.waveform)])
        if int(self.network.trunk.backbone.num_frames(num_samples)) == 0:
            raise ValueError(
                f"{audio.path} is {1000 * audio.duration_sec:.0f} ms long, too short for one frame."
            )

    def _answered(
        self, batch: Sequence[_Part], on_progress: Callable[[float], None]
    ) -> Iterator[Prediction]:
        """The predictions of the files whose last window is in the batch."""
        normalised = self.trained.normaliser.normalised
        waveforms, num_samples = pad_sequences([normalised(part.window.waveform) for part in batch])
        with torch.inference_mode():
            speech, speaker = answers(
                self.network, waveforms.to(self.device), num_samples.to(self.device)
            )
        letters = None if speech is None else speech.logits.argmax(dim=-1).cpu()
        embeddings = None if speaker is None else speaker.embeddings.float().cpu()
        num_frames = self.network.trunk.backbone.num_frames(num_samples).tolist()
        for row, part in enumerate(batch):
            file, window = part.file, part.window
            start = 0 if window.start_sample == 0 else self.half_overlap_frames
            end = self.hop_frames + self.half_overlap_frames
            if window.is_last:
                end = num_frames[row]
            file.num_frames += end - start
            if letters is not None:
                file.letters.append(letters[row, start:end])
            if embeddings is not None:
                file.summed_embedding = file.summed_embedding + embeddings[row] * (end - start)
            if window.is_last:
                on_progress(1 - file.share_done)
                yield self._prediction(file)
            else:
                share = seconds_from_samples(self.hop_samples) / file.audio.duration_sec
                file.share_done += share
                on_progress(share)

    def _prediction(self, file: _OpenFile) -> Prediction:
        tokenizer = self.trained.tokenizer
        summed = file.summed_embedding
        return Prediction(
            audio=file.audio,
            words=None if tokenizer is None else tokenizer.decode_words(torch.cat(file.letters)),
            embedding=summed / file.num_frames if isinstance(summed, Tensor) else None,
            frame_sec=self.frame_sec,
        )
