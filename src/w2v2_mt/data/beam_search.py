"""From letter scores to the text that is most probable over all its alignments, given a language.

Written here because no library that does it installs on Python 3.10 to 3.13: flashlight-text, on
which torchaudio's decoder rests, has no wheels for 3.13, pyctcdecode needs numpy 1 and a compiler
for kenlm, and fast-ctc-decode knows no language model.
"""

import heapq
import math
from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Float, Int
from torch import Tensor

from w2v2_mt.core.constraints import NonNegativeFloat, PositiveInt, Probability
from w2v2_mt.data.language_model import Context, NgramModel
from w2v2_mt.data.tokenizer import LetterTokenizer

_IMPOSSIBLE = -math.inf


@dataclass(slots=True)
class _Words:
    """What a text is worth to the language model, up to its last whole word and by its last part.

    Where there is no model, `context` stays empty and the worth is that of the number of words.
    """

    whole: float = 0.0
    part: str = ""
    begun: float = 0.0
    """What the part may be worth; no more than a guess, by which the search is led."""
    context: Context = ()


@dataclass(slots=True)
class _Hypothesis:
    """A text and ln p of all alignments of the frames so far that read as it."""

    words: _Words
    ends_in_blank: float = _IMPOSSIBLE
    ends_in_letter: float = _IMPOSSIBLE

    @property
    def log_probability(self) -> float:
        return _log_sum(self.ends_in_blank, self.ends_in_letter)

    @property
    def rank(self) -> float:
        return self.log_probability + self.words.whole + self.words.begun


class BeamSearch:
    """Prefix beam search over the output of CTC.

    The result is the text that maximises ln p(text | audio), summed over all alignments, plus
    `language_model_weight` ln p(words, end of sentence) plus `word_bonus` for each word, as far as
    `width` texts at a time show. Special symbols other than the blank are never emitted; word
    separators side by side are one, and count nothing at either end.

    A word is judged when it is whole. Until then the search is led by the likeliest word that
    begins so, as if no word stood before it.

    Sources: Graves et al., Connectionist temporal classification, ICML 2006; Hannun et al.,
    First-pass large vocabulary continuous speech recognition using bi-directional recurrent DNNs,
    arXiv 1408.2873, algorithm 1.
    """

    def __init__(
        self,
        *,
        tokenizer: LetterTokenizer,
        width: PositiveInt,
        min_letter_probability: Probability,
        language_model_path: str | None,
        language_model_weight: NonNegativeFloat,
        word_bonus: float,
    ) -> None:
        """Args:
            width: How many texts are followed from frame to frame.
            min_letter_probability: Letters less probable than this are passed over in a frame.
            language_model_path: An ARPA file, or null for none.

        Raises ValueError for a file that is no language model of words in these letters.
        """
        self._tokenizer = tokenizer
        self.width = width
        self._min_log_probability = (
            math.log(min_letter_probability) if min_letter_probability > 0 else _IMPOSSIBLE
        )
        self.language_model_weight = language_model_weight
        self._word_bonus = word_bonus
        self._model: NgramModel | None = None
        if language_model_path is not None:
            self._model = NgramModel(Path(language_model_path))
            self._beginnings = _beginnings(self._model, set(tokenizer.character_of_index.values()))
            self._unknown = self._model.unknown_log_probability()
            if not self._beginnings:
                raise ValueError(
                    f"no word of language model {language_model_path} is written in the letters of "
                    f"the vocabulary, {''.join(tokenizer.character_of_index.values())!r}; give a "
                    "model of text in these letters, in capitals or not as they are."
                )

    def decode_batch(
        self,
        logits: Float[Tensor, "batch frames letters"],
        num_frames: Int[Tensor, " batch"],
    ) -> list[str]:
        """The text of each row, of which the first `num_frames[i]` frames are real."""
        log_probabilities = logits.float().log_softmax(dim=-1).cpu()
        rows = zip(log_probabilities, num_frames.tolist(), strict=True)
        return [self.decode(row[:length]) for row, length in rows]

    def decode(self, log_probabilities: Float[Tensor, "frames letters"]) -> str:
        """The text of an utterance from ln p of each symbol in each frame."""
        context = () if self._model is None else self._model.start
        beam = {"": _Hypothesis(_Words(context=context), ends_in_blank=0.0)}
        blank_index = self._tokenizer.blank_index
        character_of = self._tokenizer.character_of_index
        for frame in log_probabilities.tolist():
            letters = [
                (character, frame[index])
                for index, character in character_of.items()
                if frame[index] >= self._min_log_probability
            ]
            beam = self._pruned(self._extended(beam, letters, frame[blank_index]))
        return self._best(beam)

    def _extended(
        self,
        beam: dict[str, _Hypothesis],
        letters: list[tuple[str, float]],
        blank: float,
    ) -> dict[str, _Hypothesis]:
        """Every text of the beam after one frame more, and those with one letter more."""
        extended: dict[str, _Hypothesis] = {}
        for text, hypothesis in beam.items():
            total = hypothesis.log_probability
            same = extended.get(text)
            if same is None:
                same = extended[text] = _Hypothesis(hypothesis.words)
            same.ends_in_blank = total + blank
            last = text[-1:]
            for letter, log_probability in letters:
                gain = total + log_probability
                if letter == " " and last in ("", " "):
                    # Any number of separators are one, and none at the beginning.
                    same.ends_in_letter = _log_sum(same.ends_in_letter, gain)
                    continue
                if letter == last:
                    # Without a blank between, it is the same letter still.
                    stays = hypothesis.ends_in_letter + log_probability
                    same.ends_in_letter = _log_sum(same.ends_in_letter, stays)
                    gain = hypothesis.ends_in_blank + log_probability
                if gain == _IMPOSSIBLE:
                    continue
                longer = text + letter
                other = extended.get(longer)
                if other is None:
                    known = beam.get(longer)
                    words = self._next(hypothesis.words, letter) if known is None else known.words
                    other = extended[longer] = _Hypothesis(words)
                other.ends_in_letter = _log_sum(other.ends_in_letter, gain)
        return extended

    def _pruned(self, hypotheses: dict[str, _Hypothesis]) -> dict[str, _Hypothesis]:
        if len(hypotheses) <= self.width:
            return hypotheses
        best = heapq.nlargest(self.width, hypotheses.items(), key=lambda item: item[1].rank)
        return dict(best)

    def _best(self, beam: dict[str, _Hypothesis]) -> str:
        """The best text with its last word whole; a separator at its end makes no other text."""
        log_probabilities: dict[str, float] = {}
        worths: dict[str, float] = {}
        for text, hypothesis in beam.items():
            words = (
                hypothesis.words if text[-1:] in ("", " ") else self._next(hypothesis.words, " ")
            )
            worth = words.whole
            if self._model is not None:
                worth += self.language_model_weight * self._model.end_log_probability(words.context)
            text = text.rstrip()
            worths[text] = worth
            log_probabilities[text] = _log_sum(
                log_probabilities.get(text, _IMPOSSIBLE), hypothesis.log_probability
            )
        return max(worths, key=lambda text: log_probabilities[text] + worths[text])

    def _next(self, words: _Words, letter: str) -> _Words:
        """What a text is worth with one letter more, a space for the end of a word."""
        if letter != " ":
            part = words.part + letter
            return _Words(words.whole, part, self._guess(part), words.context)
        whole = words.whole + self._word_bonus
        if self._model is None:
            return _Words(whole)
        whole += self.language_model_weight * self._model.log_probability(words.part, words.context)
        return _Words(whole, context=self._model.next_context(words.part, words.context))

    def _guess(self, part: str) -> float:
        if self._model is None:
            return self._word_bonus
        likeliest = self._beginnings.get(part, self._unknown)
        return self._word_bonus + self.language_model_weight * likeliest


def _beginnings(model: NgramModel, letters: set[str]) -> dict[str, float]:
    """ln p of the likeliest word that begins so, for each beginning of a word in these letters."""
    beginnings: dict[str, float] = {}
    for word, log_probability in model.words().items():
        if letters.issuperset(word):
            for length in range(1, len(word) + 1):
                part = word[:length]
                beginnings[part] = max(beginnings.get(part, _IMPOSSIBLE), log_probability)
    return beginnings


def _log_sum(left: float, right: float) -> float:
    """ln(exp left + exp right)."""
    if left < right:
        left, right = right, left
    return left if right == _IMPOSSIBLE else left + math.log1p(math.exp(right - left))
