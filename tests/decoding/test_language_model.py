import gzip
import math
import re

import pytest

from tests.helpers.language_models import bigram_model, write_arpa
from w2v2_mt.decoding.language_model import SENTENCE_END, NgramModel

NGRAMS = {
    ("<s>",): (-99, -0.1),
    ("</s>",): (-0.5, None),
    ("<unk>",): (-2.0, None),
    ("A",): (-0.6, -0.2),
    ("B",): (-0.7, -0.3),
    ("<s>", "A"): (-0.25, -0.4),
    ("A", "B"): (-0.35, -0.5),
    ("A", "</s>"): (-0.15, None),
    ("<s>", "A", "B"): (-0.05, None),
}
TEXT = """Anything may stand here.

\\data\\
ngram 1=3
ngram 2=1

\\1-grams:
-99 <s> -0.1
-0.5 </s>
-0.6 A -0.2

\\2-grams:
-0.25 <s> A

\\end\\
"""


def log10_of(model, *words):
    """log10 of a sentence and of its end."""
    context, total = model.start, 0.0
    for word in words:
        total += model.log_probability(word, context)
        context = model.next_context(word, context)
    return (total + model.log_probability(SENTENCE_END, context)) / math.log(10)


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        # (<s> A), (<s> A B), and </s> after A B: to B with weight -0.5, to nothing with -0.3.
        ("A B", -0.25 - 0.05 + (-0.5 - 0.3 - 0.5)),
        # B after <s>: -0.1 - 0.7; A after <s> B: no such context; B: -0.3 - 0.6; (A </s>).
        ("B A", (-0.1 - 0.7) + (-0.3 - 0.6) - 0.15),
        # An unknown word, and no context after it.
        ("A Q B", -0.25 + (-0.4 - 0.2 - 2.0) - 0.7 + (-0.3 - 0.5)),
        ("", -0.1 - 0.5),
    ],
)
def test_a_sentence_backs_off_as_computed_by_hand(tmp_path, sentence, expected):
    model = NgramModel(write_arpa(tmp_path / "lm.arpa", NGRAMS))
    assert model.order == 3
    assert log10_of(model, *sentence.split()) == pytest.approx(expected)


def test_what_may_follow_a_context_has_probability_one(tmp_path):
    sentences = ["A B C", "A A", "C B B A", "B", "A B C"]
    model = NgramModel(write_arpa(tmp_path / "lm.arpa", bigram_model(sentences)))
    for context in (model.start, ("A",), ("B",), ("C",), ("never seen",)):
        words = ["A", "B", "C", "any other word"]
        chances = [math.exp(model.log_probability(word, context)) for word in words]
        total = sum(chances) + math.exp(model.log_probability(SENTENCE_END, context))
        assert total == pytest.approx(1)


def test_a_unigram_model_needs_no_context(tmp_path):
    unigrams = {ngram: (log10, None) for ngram, (log10, _) in NGRAMS.items() if len(ngram) == 1}
    model = NgramModel(write_arpa(tmp_path / "lm.arpa", unigrams))
    assert log10_of(model, "A", "B") == pytest.approx(-0.6 - 0.7 - 0.5)


def test_without_unknown_words_one_is_as_good_as_impossible(tmp_path):
    path = tmp_path / "lm.arpa"
    path.write_text(TEXT)
    assert log10_of(NgramModel(path), "Q") == pytest.approx(-0.1 - 99 - 0.5)


def test_marks_may_be_written_in_capitals(tmp_path):
    path = tmp_path / "lm.arpa"
    path.write_text(TEXT.replace("<s>", "<S>").replace("</s>", "</S>").replace(" A", " <UNK>"))
    model = NgramModel(path)
    assert model.words() == {}
    assert log10_of(model, "Q") == pytest.approx(-0.25 - 0.2 - 0.5)


def test_a_byte_order_mark_is_not_text(tmp_path):
    path = tmp_path / "lm.arpa"
    path.write_text(TEXT[TEXT.index("\\data\\") :], encoding="utf-8-sig")
    assert NgramModel(path).words().keys() == {"A"}


def test_a_compressed_file_is_the_same_model(tmp_path):
    plain = write_arpa(tmp_path / "lm.arpa", NGRAMS)
    packed = tmp_path / "lm.arpa.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    sentence = ("A", "B", "Q", "A")
    assert log10_of(NgramModel(packed), *sentence) == log10_of(NgramModel(plain), *sentence)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("-0.6 A -0.2", "minus A -0.2", "line 10: log10 of a probability, 1 word"),
        ("-0.6 A -0.2", "0.6 A -0.2", "line 10: log10 of a probability, 1 word"),
        ("-0.6 A -0.2", "nan A -0.2", "line 10: log10 of a probability, 1 word"),
        ("-0.6 A -0.2", "-0.6 A B", "line 10: log10 of a probability, 1 word"),
        ("-0.6 A -0.2", "-0.6", "line 10: log10 of a probability, 1 word"),
        ("-0.6 A -0.2", "-0.6 A -0.2 -0.3", "line 10: log10 of a probability, 1 word"),
        ("-0.25 <s> A", "-0.25 <s>", r"line 13: log10 of a probability, 2 words"),
        ("ngram 2=1", "ngram two", "line 5: 'ngram 1=<count>' is due, not 'ngram two'"),
        ("ngram 2=1", "ngram 2=4", "line 15: 4 2-grams are due, not 1"),
        ("ngram 2=1\n", "", r"line 11: no count announces 2-grams"),
        ("\\data\\", "data", r"line 15: no \\data\\ begins the model"),
        ("\\end\\", "", r"line 13: no \\end\\ ends the model"),
        ("-0.5 </s>", "-0.5 X", r"must have </s>\. Use a model of sentences\."),
    ],
)
def test_a_malformed_file_is_reported_with_its_line(tmp_path, old, new, sentence):
    path = tmp_path / "lm.arpa"
    assert old in TEXT
    path.write_text(TEXT.replace(old, new))
    with pytest.raises(ValueError, match=f"Language model {re.escape(str(path))}.*{sentence}"):
        NgramModel(path)


def test_files_that_cannot_be_read_are_reported(tmp_path):
    path = tmp_path / "lm.arpa"
    with pytest.raises(ValueError, match="Language model .* must exist"):
        NgramModel(path)
    packed = gzip.compress(TEXT.encode())
    for content in (packed[:-20], packed[:40] + b"\xff" + packed[41:], TEXT.encode("utf-16")):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"line \d+: .* Give a file in the ARPA format"):
            NgramModel(path)


def test_only_spaces_tabs_and_line_feeds_separate_words(tmp_path):
    path = tmp_path / "lm.arpa"
    path.write_text(TEXT.replace("A", "A\x85B\u2028\xa0C"), newline="\r\n")
    assert NgramModel(path).words().keys() == {"A\x85B\u2028\xa0C"}


def test_more_ngrams_than_announced_are_refused_at_the_first(tmp_path):
    path = tmp_path / "lm.arpa"
    path.write_text(TEXT.replace("-0.6 A -0.2", "-0.6 A -0.2\n-0.6 B -0.2"))
    with pytest.raises(ValueError, match="line 11: more than 3 1-grams follow"):
        NgramModel(path)
