"""What is known of speech recognition after a pass over evaluation sets."""

from collections.abc import Sequence

from torch import Tensor

from w2v2_mt.core.batches import SpeechBatch
from w2v2_mt.core.keys import speaker_of
from w2v2_mt.core.processes import gathered_from_processes
from w2v2_mt.data.beam_search import BeamSearch
from w2v2_mt.data.tokenizer import LetterTokenizer
from w2v2_mt.metrics.bootstrap import NUM_RESAMPLES, SEED, Interval, error_rate_interval
from w2v2_mt.metrics.word_error_rate import (
    Edits,
    character_edits,
    total,
    word_edits,
    word_error_rate,
)
from w2v2_mt.models.networks import SpeechOutput
from w2v2_mt.tasks.transcripts import Transcript, texts_of


class SpeechEvaluation:
    """Collects transcripts and losses, a batch at a time, apart for each set."""

    def __init__(self, tokenizer: LetterTokenizer, *, beam_search: BeamSearch | None = None):
        """`beam_search` finds the transcripts of a test; None: greedy decoding does."""
        self.tokenizer = tokenizer
        self.beam_search = beam_search
        self.transcripts: dict[str, list[Transcript]] = {}
        self._summed_losses: dict[str, float] = {}

    def reset(self) -> None:
        self.transcripts = {}
        self._summed_losses = {}

    def decode(self, output: SpeechOutput) -> list[str]:
        """The best letter of each real frame, collapsed to text."""
        return self.tokenizer.decode_batch(
            output.logits.argmax(dim=-1).cpu(), output.num_frames.cpu()
        )

    def add(self, batch: SpeechBatch, output: SpeechOutput, loss: Tensor) -> None:
        """A batch of a validation; `loss` is its mean."""
        self._add_transcripts(batch, self.decode(output))
        summed = self._summed_losses.get(batch.set_name, 0.0)
        self._summed_losses[batch.set_name] = summed + float(loss) * len(batch)

    def add_tested(self, batch: SpeechBatch, output: SpeechOutput) -> None:
        """A batch of a test."""
        if self.beam_search is None:
            self._add_transcripts(batch, self.decode(output))
        else:
            texts = self.beam_search.decode_batch(output.logits, output.num_frames)
            self._add_transcripts(batch, texts)

    def _add_transcripts(self, batch: SpeechBatch, hypotheses: Sequence[str]) -> None:
        columns = (batch.keys, batch.transcriptions, hypotheses, batch.num_samples.tolist())
        self.transcripts.setdefault(batch.set_name, []).extend(
            Transcript(key=key, reference=reference, hypothesis=hypothesis, num_samples=num_samples)
            for key, reference, hypothesis, num_samples in zip(*columns, strict=True)
        )

    def gather(self) -> None:
        """Bring together what the processes of a run have, ordered by key; every one calls it."""
        parts = gathered_from_processes((self.transcripts, self._summed_losses))
        self.reset()
        for transcripts, summed_losses in parts:
            for set_name, of_process in transcripts.items():
                self.transcripts.setdefault(set_name, []).extend(of_process)
            for set_name, summed in summed_losses.items():
                self._summed_losses[set_name] = self._summed_losses.get(set_name, 0.0) + summed
        for of_set in self.transcripts.values():
            of_set.sort(key=lambda transcript: transcript.key)

    def word_edits(self) -> dict[str, Edits]:
        """The edits of all utterances together, by set name."""
        return {
            set_name: total(word_edits(*texts_of(transcripts)))
            for set_name, transcripts in self.transcripts.items()
        }

    def character_edits(self) -> dict[str, Edits]:
        """As `word_edits`, in characters."""
        return {
            set_name: total(character_edits(*texts_of(transcripts)))
            for set_name, transcripts in self.transcripts.items()
        }

    def word_error_rates(self) -> dict[str, float]:
        """Word error rate by set name, over all utterances of a set."""
        return {
            set_name: word_error_rate(*texts_of(transcripts))
            for set_name, transcripts in self.transcripts.items()
        }

    def word_error_rate_intervals(self) -> dict[str, Interval]:
        """95 % interval by set name, over speakers; sets of one speaker have none."""
        intervals = {}
        for set_name, transcripts in self.transcripts.items():
            speakers = [speaker_of(transcript.key) for transcript in transcripts]
            if len(set(speakers)) < 2:
                continue
            edits = word_edits(*texts_of(transcripts))
            intervals[set_name] = error_rate_interval(
                [edit.num_errors for edit in edits],
                [edit.num_references for edit in edits],
                speakers,
                num_resamples=NUM_RESAMPLES,
                seed=SEED,
            )
        return intervals

    def losses(self) -> dict[str, float]:
        """Mean loss of an utterance by set name."""
        return {
            set_name: summed / len(self.transcripts[set_name])
            for set_name, summed in self._summed_losses.items()
        }
