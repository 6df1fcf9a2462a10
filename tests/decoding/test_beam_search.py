import itertools
import json
import math
from collections import defaultdict

import numpy as np
import pytest
import torch

from tests.helpers.language_models import bigram_model, write_arpa
from w2v2_mt.decoding.beam_search import BeamSearch, BeamSearchSettings
from w2v2_mt.decoding.subwords import SubwordTokenizer
from w2v2_mt.decoding.tokenizer import LetterTokenizer
from w2v2_mt.metrics.word_error_rate import word_error_rate

NGRAMS = {
    ("<s>",): (-99.0, -0.2),
    ("</s>",): (-0.9, None),
    ("<unk>",): (-1.5, None),
    ("A",): (-0.3, -0.1),
    ("BA",): (-0.8, -0.4),
    ("A", "BA"): (-0.1, None),
    ("BA", "</s>"): (-0.2, None),
}


def search(tokenizer, path=None, **changes):
    settings = {
        "width": 100,
        "min_letter_probability": 0,
        "language_model_path": None if path is None else str(path),
        "language_model_weight": 0.7,
        "word_bonus": 0.4,
    }
    return BeamSearch(settings=BeamSearchSettings(**settings | changes), tokenizer=tokenizer)


@pytest.fixture
def few_letters(tmp_path):
    path = tmp_path / "vocabulary.json"
    path.write_text(json.dumps({"<pad>": 0, "<s>": 1, "|": 2, "A": 3, "B": 4}))
    return LetterTokenizer(vocabulary_path=str(path))


@pytest.fixture(scope="module")
def letters():
    return LetterTokenizer(vocabulary_path=None)


def language_score(words):
    """ln p of words and their end, with the numbers of NGRAMS looked up one by one."""
    total, before = 0.0, "<s>"
    for word in [*words, "</s>"]:
        word = word if (word,) in NGRAMS else "<unk>"
        if (before, word) in NGRAMS:
            total += NGRAMS[before, word][0]
        else:
            total += (NGRAMS[(before,)][1] or 0) + NGRAMS[(word,)][0]
        before = word
    return total * math.log(10)


LETTERS = {0: "", 2: " ", 3: "A", 4: "B"}
SUBWORDS = {0: "", 2: " A", 3: "A", 4: "B", 5: " AB", 6: " "}
"""Several sequences of these spell the same text."""


def exhaustive_best(log_probabilities, *, is_weighed, symbols=LETTERS):
    """The best text over all label sequences, one label for each frame."""
    chances: defaultdict[str, float] = defaultdict(float)
    for labels in itertools.product(symbols, repeat=len(log_probabilities)):
        chance = math.exp(
            sum(frame[label] for frame, label in zip(log_probabilities, labels, strict=True))
        )
        text = "".join(symbols[label] for label, _ in itertools.groupby(labels))
        chances[" ".join(text.split())] += chance

    def score(text):
        words = text.split()
        language = 0.7 * language_score(words) if is_weighed else 0
        return math.log(chances[text]) + language + 0.4 * len(words)

    return max(chances, key=score)


@pytest.mark.parametrize("with_model", [False, True])
def test_a_wide_beam_finds_what_exhaustive_search_finds(few_letters, tmp_path, with_model):
    path = write_arpa(tmp_path / "lm.arpa", NGRAMS) if with_model else None
    beam = search(few_letters, path, width=1000)
    generator = torch.Generator().manual_seed(0)
    found = set()
    for number in range(90):
        logits = 2 * torch.randn(1 + number % 6, 5, generator=generator)
        log_probabilities = logits.log_softmax(dim=-1)
        text = beam.decode(log_probabilities.numpy())
        expected = exhaustive_best(log_probabilities.tolist(), is_weighed=with_model)
        assert text == expected
        found.add(text)
    assert len(found) >= 10  # not always the same easy one


@pytest.mark.parametrize("with_model", [False, True])
def test_a_wide_beam_of_subwords_finds_what_exhaustive_search_finds(tmp_path, with_model):
    path = tmp_path / "vocabulary.json"
    symbols = ["<pad>", "<unk>", "▁A", "A", "B", "▁AB", "▁"]
    path.write_text(json.dumps({symbol: index for index, symbol in enumerate(symbols)}))
    tokenizer = SubwordTokenizer(vocabulary_path=str(path))
    model = write_arpa(tmp_path / "lm.arpa", NGRAMS) if with_model else None
    beam = search(tokenizer, model, width=1000)
    generator = torch.Generator().manual_seed(0)
    found = set()
    for number in range(60):
        logits = 2 * torch.randn(1 + number % 5, 7, generator=generator)
        log_probabilities = logits.log_softmax(dim=-1)
        text = beam.decode(log_probabilities.numpy())
        expected = exhaustive_best(
            log_probabilities.tolist(), is_weighed=with_model, symbols=SUBWORDS
        )
        assert text == expected
        found.add(text)
    assert len(found) >= 10


def test_alignments_of_a_text_count_together(few_letters):
    # Blank is the best symbol of each frame (0.4 a frame, 0.16 in all), yet "A" in either frame or
    # in both has 0.35 * 0.4 * 2 + 0.35 ** 2 = 0.40.
    frame = torch.tensor([0.4, 0.0, 0.05, 0.35, 0.2]).log()
    log_probabilities = torch.stack([frame, frame])
    assert few_letters.decode(log_probabilities.argmax(dim=-1)) == ""
    assert search(few_letters, word_bonus=0).decode(log_probabilities.numpy()) == "A"


def test_only_tokens_are_emitted_and_separators_are_one(few_letters):
    #          |  A  <s> |  _  |  B  B  _  B  |
    labels = [2, 3, 1, 2, 0, 2, 4, 4, 0, 4, 2]
    logits = 8 * torch.eye(5)[torch.tensor(labels)]
    assert search(few_letters).decode(logits.log_softmax(dim=-1).numpy()) == "A BB"


def spoken(letters, sentence, generator, *, noise):
    """Logits of a sentence: each letter for one to three frames, blanks between, then noise."""
    indices = []
    for index in letters.encode(sentence).tolist():
        indices += [index] * generator.integers(1, 4) + [0] * generator.integers(1, 3)
    clean = 5 * torch.eye(32)[torch.tensor(indices)]
    return clean + noise * torch.from_numpy(generator.normal(size=clean.shape)).float()


def sentences(generator, num):
    """Of a small grammar."""
    who = "THE CAT|THE DOG|A CHILD|MY SISTER|THE OLD MAN".split("|")
    does = "SEES|HEARS|FOLLOWS|LIKES|DOES NOT LIKE".split("|")
    where = "IN THE GARDEN|BY THE RIVER|AT NIGHT|EVERY DAY|".split("|")
    return [
        " ".join(" ".join(generator.choice(part) for part in (who, does, who, where)).split())
        for _ in range(num)
    ]


def test_a_matching_language_model_corrects_what_greedy_decoding_hears(letters, tmp_path):
    generator = np.random.default_rng(0)
    path = write_arpa(tmp_path / "lm.arpa", bigram_model(sentences(generator, 200)))
    references = sentences(generator, 8)
    logits = [spoken(letters, reference, generator, noise=1.3) for reference in references]
    greedy = [letters.decode(frames.argmax(dim=-1)) for frames in logits]
    settings = {"width": 10, "min_letter_probability": 1e-2, "word_bonus": 0.0}

    def texts(beam):
        return [beam.decode(frames.log_softmax(dim=-1).numpy()) for frames in logits]

    greedy_rate = word_error_rate(references, greedy)
    without = word_error_rate(references, texts(search(letters, **settings)))
    with_model = word_error_rate(
        references, texts(search(letters, path, language_model_weight=1.0, **settings))
    )
    print(f"word error rate: greedy {greedy_rate:.3f}, beam {without:.3f}, LM {with_model:.3f}")
    assert greedy_rate > 0.2
    assert with_model < 0.25 * greedy_rate
    assert with_model < without


def test_a_model_in_other_tokens_is_refused(letters, tmp_path):
    path = write_arpa(tmp_path / "lm.arpa", bigram_model(["the cat", "a dog"]))
    with pytest.raises(
        ValueError, match="words of language model .* must be written in the letters"
    ):
        search(letters, path)


LOWER_CASE = bigram_model(["I the cat", "A a dog's", "' and so on"])


@pytest.mark.parametrize("unknown", [None, -99.0])
def test_a_model_in_the_other_case_is_refused_although_a_few_words_can_be_written(
    letters, tmp_path, unknown
):
    model = {ngram: value for ngram, value in LOWER_CASE.items() if ngram != ("<unk>",)}
    if unknown is not None:
        model[("<unk>",)] = (unknown, None)
    path = write_arpa(tmp_path / "lm.arpa", dict(sorted(model.items(), key=lambda x: len(x[0]))))
    with pytest.raises(ValueError, match=r"only 3 of 10 \(30.0%\) are\. Its words are in lower"):
        search(letters, path)


def test_a_model_of_few_words_that_can_be_written_is_warned_of_if_it_has_unknown_words(
    letters, tmp_path, caplog
):
    search(letters, write_arpa(tmp_path / "lm.arpa", LOWER_CASE))
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "3 of 10 (30.0%)" in record.message
    assert "in lower case" in record.message


def test_the_share_of_words_is_reported(letters, tmp_path, caplog):
    caplog.set_level("INFO")
    search(letters, write_arpa(tmp_path / "lm.arpa", bigram_model(["THE CAT IS 9"])))
    assert "75.0% of the words of language model" in caplog.text


def test_log_probabilities_that_are_not_numbers_are_refused(letters):
    log_probabilities = torch.zeros(3, letters.num_tokens)
    log_probabilities[1, 0] = float("nan")
    with pytest.raises(ValueError, match="contain NaN"):
        search(letters).decode(log_probabilities.numpy())
