"""Prefix beam search over the output of CTC, with an n-gram language model.

No library for this installs on Python 3.10 to 3.13: flashlight-text, on which torchaudio's decoder
depends, has no wheels for 3.13, pyctcdecode needs numpy 1 and a compiler for kenlm, and
fast-ctc-decode has no language model.
"""

import heapq
import logging
import math
from collections.abc import Collection
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np
from jaxtyping import Float

from w2v2_mt.core.constraints import NonNegativeFloat, NonNegativeInt, PositiveInt, Probability
from w2v2_mt.decoding.language_model import SENTENCE_END, UNKNOWN, Context, NgramModel
from w2v2_mt.decoding.tokenizer import Tokenizer
from w2v2_mt.decoding.vocabulary import describe_letters

log = logging.getLogger(__name__)

_IMPOSSIBLE = -math.inf
_MIN_WRITABLE_SHARE = 0.5
"""Smallest share of the words of a language model that the vocabulary must be able to write."""


@dataclass(slots=True)
class _Words:
    """The words of a text and their score."""

    whole: float = 0.0  # the score of the complete words
    part: str = ""  # the characters of the last word, which is not complete
    begun: float = 0.0  # an estimate of the score of the last word, which guides the search
    context: Context = ()  # the last complete words, empty without a language model


@dataclass(slots=True)
class _Hypothesis:
    """The words of a text, and ln p of all its alignments with the frames so far."""

    words: _Words
    ends_in_blank: float = _IMPOSSIBLE
    ends_in_token: float = _IMPOSSIBLE

    @property
    def log_probability(self) -> float:
        return _log_sum(self.ends_in_blank, self.ends_in_token)


_Prefix = tuple[str, int | None]
"""The text of a hypothesis, and the last token that added to it."""
_Beam = dict[_Prefix, _Hypothesis]


@dataclass(frozen=True, kw_only=True)
class BeamSearchSettings:
    """The settings of a beam search."""

    width: PositiveInt
    min_letter_probability: Probability
    language_model_path: str | None
    language_model_weight: NonNegativeFloat
    word_bonus: float
    num_processes: NonNegativeInt = 0


class BeamSearch:
    """Prefix beam search over the output of CTC.

    The result maximizes ln p(text | audio), summed over all alignments, plus
    `language_model_weight` ln p(words, end of sentence) plus `word_bonus` for each word, among the
    texts in the beam. Special tokens other than the blank are never emitted. Adjacent spaces are
    one, and those at either end are dropped. Of a text that several sequences of tokens spell, such
    as of subwords, the alignments of all of them count.

    The language model scores complete words. Until then, the likeliest word with the same beginning
    guides the search, without regard to the words before it.

    Raises:
        ValueError: The file is not a language model, or fewer than half of its words are in the
            characters of the vocabulary and it has no `<unk>`.

    Sources: Graves et al., Connectionist temporal classification, ICML 2006; Hannun et al.,
    First-pass large vocabulary continuous speech recognition using bi-directional recurrent DNNs,
    arXiv 1408.2873, algorithm 1.
    """

    def __init__(self, *, settings: BeamSearchSettings, tokenizer: Tokenizer) -> None:
        self.settings = settings
        self._text_of_token = tokenizer.text_of_token
        self._blank_index = tokenizer.blank_index
        smallest = settings.min_letter_probability
        self._min_log_probability = math.log(smallest) if smallest > 0 else _IMPOSSIBLE
        self._model: NgramModel | None = None
        if settings.language_model_path is None:
            return
        self._model = NgramModel(Path(settings.language_model_path))
        self._unknown = self._model.log_probability(UNKNOWN, ())
        self._beginnings: dict[str, float] = {}
        """ln p of the likeliest word for each beginning of a word in these characters."""
        alphabet, words = self._letters(), self._model.words()
        self._check_words(words, alphabet.keys())
        for word, log_probability in words.items():
            if alphabet.keys() >= set(word):
                for part in accumulate(word):
                    best = max(self._beginnings.get(part, _IMPOSSIBLE), log_probability)
                    self._beginnings[part] = best

    def _letters(self) -> dict[str, None]:
        """Return the characters of all tokens, in their order."""
        return dict.fromkeys("".join(self._text_of_token.values()))

    def _check_words(self, words: Collection[str], alphabet: Collection[str]) -> None:
        """Refuse a model that a transcript can hardly contain a word of, and report the share."""
        assert self._model is not None
        num_writable = sum(map(set(alphabet).issuperset, words))
        share = num_writable / max(len(words), 1)
        path, letters = self.settings.language_model_path, describe_letters(alphabet)
        if share >= _MIN_WRITABLE_SHARE:
            log.info(f"{share:.1%} of the words of language model {path} can be written")
            return
        cause = "Give a model of text in these letters, upper case or lower case as they are"
        for case, change in (("lower", str.upper), ("upper", str.lower)):
            if sum(set(alphabet).issuperset(change(word)) for word in words) > len(words) / 2:
                cause = f"Its words are in {case} case: change the case of the text of the model"
        problem = (
            f"The words of language model {path} must be written in the letters of the vocabulary, "
            f"{letters}, but only {num_writable} of {len(words)} ({share:.1%}) are. {cause}."
        )
        # Without <unk>, each other word has a probability of 1e-99, so that no text contains it.
        if num_writable == 0 or not self._model.has_unknown:
            raise ValueError(problem)
        log.warning(f"{problem} All other words count as {UNKNOWN}.")

    def decode(self, log_probabilities: Float[np.ndarray, "frames tokens"]) -> str:
        """Return the text of an utterance from ln p of each token in each frame.

        Threads of PyTorch would not work in a forked process, so NumPy computes.
        """
        if np.isnan(log_probabilities).any():
            raise ValueError(
                "The log probabilities of an utterance contain NaN and cannot be decoded. Look for "
                "NaN in the logits of the network."
            )
        context = () if self._model is None else self._model.start
        beam: _Beam = {("", None): _Hypothesis(_Words(context=context), ends_in_blank=0.0)}
        for frame in log_probabilities.tolist():
            tokens = [
                (index, text, frame[index])
                for index, text in self._text_of_token.items()
                if frame[index] >= self._min_log_probability
            ]
            beam = self._extend(beam, tokens, frame[self._blank_index])
            if len(beam) > self.settings.width:
                beam = dict(heapq.nlargest(self.settings.width, beam.items(), key=_rank))
        return self._best(beam)

    def _extend(self, beam: _Beam, tokens: list[tuple[int, str, float]], blank: float) -> _Beam:
        """Return each text of the beam after one more frame, unchanged and with one more token."""
        extended: _Beam = {}
        for prefix, hypothesis in beam.items():
            text, last_token = prefix
            is_complete = text[-1:] in ("", " ")
            total = hypothesis.log_probability
            same = extended.get(prefix)
            if same is None:
                same = extended[prefix] = _Hypothesis(hypothesis.words)
            same.ends_in_blank = total + blank
            for token, added, log_probability in tokens:
                gain = total + log_probability
                if is_complete and added[0] == " ":
                    # Adjacent spaces are one, and a space at the beginning is dropped.
                    added = added[1:]
                    if not added:
                        same.ends_in_token = _log_sum(same.ends_in_token, gain)
                        continue
                if token == last_token:
                    # Without a blank between them, repeats are one token.
                    repeated = hypothesis.ends_in_token + log_probability
                    same.ends_in_token = _log_sum(same.ends_in_token, repeated)
                    gain = hypothesis.ends_in_blank + log_probability
                if gain == _IMPOSSIBLE:
                    continue
                longer = (text + added, token)
                other = extended.get(longer)
                if other is None:
                    known = beam.get(longer)
                    words = self._next(hypothesis.words, added) if known is None else known.words
                    other = extended[longer] = _Hypothesis(words)
                other.ends_in_token = _log_sum(other.ends_in_token, gain)
        return extended

    def _best(self, beam: _Beam) -> str:
        """Return the best text, its last word complete, without a space at its end."""
        log_probabilities: dict[str, float] = {}
        scores: dict[str, float] = {}
        for (text, _), hypothesis in beam.items():
            is_complete, text = text[-1:] in ("", " "), text.rstrip()
            words = hypothesis.words if is_complete else self._next(hypothesis.words, " ")
            scores[text] = words.whole
            if self._model is not None:
                end = self._model.log_probability(SENTENCE_END, words.context)
                scores[text] += self.settings.language_model_weight * end
            others = log_probabilities.get(text, _IMPOSSIBLE)
            log_probabilities[text] = _log_sum(others, hypothesis.log_probability)
        return max(scores, key=lambda text: log_probabilities[text] + scores[text])

    def _next(self, words: _Words, added: str) -> _Words:
        """Return the words of a text with more characters; a space completes a word."""
        for character in added:
            words = self._next_character(words, character)
        return words

    def _next_character(self, words: _Words, character: str) -> _Words:
        weight = self.settings.language_model_weight
        if character != " ":
            part, begun = words.part + character, self.settings.word_bonus
            if self._model is not None:
                begun += weight * self._beginnings.get(part, self._unknown)
            return _Words(words.whole, part, begun, words.context)
        whole = words.whole + self.settings.word_bonus
        if self._model is None:
            return _Words(whole)
        whole += weight * self._model.log_probability(words.part, words.context)
        return _Words(whole, context=self._model.next_context(words.part, words.context))


def _rank(item: tuple[_Prefix, _Hypothesis]) -> float:
    """Return the score by which the beam is pruned."""
    _, hypothesis = item
    return hypothesis.log_probability + hypothesis.words.whole + hypothesis.words.begun


def _log_sum(left: float, right: float) -> float:
    """Return ln(exp left + exp right)."""
    if left < right:
        left, right = right, left
    return left if right == _IMPOSSIBLE else left + math.log1p(math.exp(right - left))
