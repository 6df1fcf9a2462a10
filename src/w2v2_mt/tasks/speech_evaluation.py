"""Speech recognition results on evaluation sets: transcripts, losses and error rates."""

from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import starmap
from statistics import mean

from w2v2_mt.core.batches import SpeechBatch
from w2v2_mt.core.distributed import gather_from_processes
from w2v2_mt.core.finite import check_finite
from w2v2_mt.decoding.background_search import BackgroundSearch
from w2v2_mt.decoding.beam_search import BeamSearch
from w2v2_mt.decoding.tokenizer import Tokenizer
from w2v2_mt.losses.ctc import CtcLoss
from w2v2_mt.metrics.bootstrap import error_rate_interval
from w2v2_mt.metrics.word_error_rate import (
    Edits,
    character_edits,
    error_rate,
    total,
    word_edits,
    word_error_rate,
)
from w2v2_mt.models.heads import SpeechOutput
from w2v2_mt.tasks.evaluation import Evaluation, Metrics, merge
from w2v2_mt.tasks.transcripts import Transcript, texts_of, transcript_files


@dataclass(kw_only=True, eq=False)
class SpeechEvaluation(Evaluation):
    """Transcripts and losses of each set; a test is decoded greedily without `beam_search`."""

    loss: CtcLoss
    tokenizer: Tokenizer
    val_sets: Sequence[str] = ()
    beam_search: BeamSearch | None = None

    def __post_init__(self) -> None:
        self._background: BackgroundSearch | None = None
        self.reset()

    def reset(self) -> None:
        self.transcripts: dict[str, list[Transcript]] = {}
        self._summed_losses: dict[str, float] = defaultdict(float)
        self._searched: deque[tuple[str, list[Transcript], Callable[[], list[str]]]] = deque()

    def decode_greedily(self, output: SpeechOutput) -> list[str]:
        """Return the text of the best token at each frame."""
        best = output.logits.argmax(dim=-1).cpu()
        return self.tokenizer.decode_batch(best, output.num_frames.cpu())

    def add_validated(self, output: SpeechOutput, batch: SpeechBatch) -> None:
        """Add greedy transcripts and the loss of a batch."""
        self._check_logits(output, batch)
        result = self.loss(output.logits, output.num_frames, batch.tokens, batch.num_tokens)
        self._add_greedy(output, batch)
        self._summed_losses[batch.set_name] += float(result.loss) * len(batch)

    def add_tested(self, output: SpeechOutput, batch: SpeechBatch) -> None:
        """Add the transcripts of the chosen decoder."""
        self._check_logits(output, batch)
        if self.beam_search is None:
            self._add_greedy(output, batch)
            return
        if self._background is None:
            self._background = BackgroundSearch(self.beam_search)
        texts = self._background.begin_batch(output.logits, output.num_frames)
        self._searched.append((batch.set_name, _transcripts(batch, [""] * len(batch)), texts))
        while len(self._searched) > self._background.num_workers:
            self._add_searched()

    def _add_searched(self) -> None:
        set_name, unknown, texts = self._searched.popleft()
        pairs = zip(unknown, texts(), strict=True)
        known = [replace(transcript, hypothesis=text) for transcript, text in pairs]
        self.transcripts.setdefault(set_name, []).extend(known)

    def _check_logits(self, output: SpeechOutput, batch: SpeechBatch) -> None:
        # The best token of a frame without numbers is an arbitrary one.
        check_finite(output.logits, output.num_frames, what="CTC logits", keys=batch.keys)

    def _add_greedy(self, output: SpeechOutput, batch: SpeechBatch) -> None:
        found = _transcripts(batch, self.decode_greedily(output))
        self.transcripts.setdefault(batch.set_name, []).extend(found)

    def gather(self) -> None:
        """Merge the results of all processes, ordered by key; every process calls it."""
        while self._searched:
            self._add_searched()
        parts = gather_from_processes((self.transcripts, self._summed_losses))
        self.reset()
        for transcripts, summed_losses in parts:
            for set_name, of_process in transcripts.items():
                self.transcripts.setdefault(set_name, []).extend(of_process)
            for set_name, summed in summed_losses.items():
                self._summed_losses[set_name] += summed
        for of_set in self.transcripts.values():
            of_set.sort(key=lambda transcript: transcript.key)

    def close(self) -> None:
        """End the processes that search beams."""
        if self._background is not None:
            self._background.close()
            self._background = None

    def validation_names(self, *, is_only_task: bool) -> list[str]:
        prefixes = (_loss_prefix(is_only_task), "val_wer")
        return [f"{prefix}_{name}" for prefix in prefixes for name in self.val_sets]

    def validation_metrics(self, *, is_only_task: bool) -> Metrics:
        """Return the mean loss of an utterance and the word error rate of each set."""
        prefix = _loss_prefix(is_only_task)
        losses = {
            f"{prefix}_{name}": summed / len(self.transcripts[name])
            for name, summed in self._summed_losses.items()
        }
        return losses | self._word_error_rates("val_wer")

    def _word_error_rates(self, prefix: str) -> Metrics:
        return {
            f"{prefix}_{name}": word_error_rate(*texts_of(transcripts))
            for name, transcripts in self.transcripts.items()
        }

    def score(self, metrics: Mapping[str, float]) -> float:
        """Return the mean word error rate of the sets."""
        return mean(rate for name, rate in metrics.items() if name.startswith("val_wer_"))

    def test_metrics(self) -> Metrics:
        """Return error rates of words and characters per set, with the counts they are made of.

        `_low` and `_high` are the bounds of a 95 % interval over speakers; a set of one speaker has
        none.
        """
        metrics = self._word_error_rates("test_wer")
        for set_name, transcripts in self.transcripts.items():
            wer, cer = f"test_wer_{set_name}", f"test_cer_{set_name}"
            texts = texts_of(transcripts)
            words, characters = word_edits(*texts), character_edits(*texts)
            speakers = [transcript.speaker for transcript in transcripts]
            if len(set(speakers)) > 1:
                num_errors = [edits.num_errors for edits in words]
                num_references = [edits.num_references for edits in words]
                low, high = error_rate_interval(num_errors, num_references, speakers)
                metrics |= {f"{wer}_low": low, f"{wer}_high": high}
            metrics |= _counts(wer, words, unit="words")
            metrics[cer] = error_rate(characters)
            metrics |= _counts(cer, characters, unit="characters")
        return metrics

    def test_files(self) -> dict[str, list[str]]:
        return merge(transcript_files(*each) for each in self.transcripts.items())


def _transcripts(batch: SpeechBatch, hypotheses: Sequence[str]) -> list[Transcript]:
    lengths = batch.num_samples.tolist()
    columns = (batch.keys, batch.transcriptions, hypotheses, lengths, batch.speakers)
    return list(starmap(Transcript, zip(*columns, strict=True)))


def _loss_prefix(is_only_task: bool) -> str:
    return "val_loss" if is_only_task else "val_loss_speech"


def _counts(rate: str, edits: Sequence[Edits], *, unit: str) -> Metrics:
    counts = asdict(total(edits))
    counts[f"num_{unit}"] = counts.pop("num_references")
    return {f"{rate}_{name}": count for name, count in counts.items()}
