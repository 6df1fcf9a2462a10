"""Learn a vocabulary of subwords from transcripts, with sentencepiece."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from io import BytesIO
from pathlib import Path

from sentencepiece import SentencePieceProcessor, SentencePieceTrainer

from w2v2_mt.core.atomic_output import check_is_new
from w2v2_mt.core.terminal import print_visible
from w2v2_mt.core.units import count
from w2v2_mt.data.shards import find_shards, read_shard
from w2v2_mt.decoding.vocabulary import BLANK, PIECE_BOUNDARY, UNKNOWN, write_vocabulary

MAX_NUM_WORDS = 1_000_000
"""The largest number of different words that are learned from, the most frequent ones."""


def count_words(texts: Iterable[str]) -> Counter[str]:
    """Count the words of texts, which are separated by spaces."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text.split())
    return counts


def learn_subwords(
    words: Mapping[str, int],
    *,
    num_tokens: int,
    letters: Collection[str] = (),
    option: str = "--num_tokens",
) -> list[str]:
    """Return the symbols of a vocabulary of subwords, by byte pair encoding.

    They are the blank, the unknown token, the pieces in the order of their merges, and single
    characters. The same words give the same symbols, in whatever order they come. Time and memory
    depend on the number of different words.

    Args:
        words: The number of occurrences of each word.
        num_tokens: The size of the vocabulary, special tokens and characters included.
        letters: Characters that the vocabulary must have in addition to those of the words, such as
            those of transcripts that are not learned from.
        option: The option of the command that gives `num_tokens`, for messages.

    Raises:
        ValueError: The words are too few for this size, the size is too small for the characters,
            or a word has the character "▁".
    """
    alphabet = {*"".join(words), *"".join(letters)} - {" "}
    if PIECE_BOUNDARY in alphabet:
        raise ValueError(
            f"A transcript must not have the character {PIECE_BOUNDARY!r}, the beginning of words "
            "in a vocabulary of subwords. Replace it in the transcripts."
        )
    if not words:
        raise ValueError("The transcripts must have words to learn subwords from. Name others.")
    smallest = len((BLANK, UNKNOWN, PIECE_BOUNDARY)) + len(alphabet)
    if num_tokens < smallest:
        raise ValueError(
            f"{option} ({num_tokens}) must be at least {smallest}, for "
            f"{count(len(alphabet), 'character')} and 3 special tokens. Raise it."
        )
    frequent = sorted(words, key=lambda word: (-words[word], word))[:MAX_NUM_WORDS]
    model = BytesIO()
    try:
        SentencePieceTrainer.train(
            sentence_iterator=(f"{word}\t{words[word]}" for word in frequent),
            input_format="tsv",
            model_writer=model,
            model_type="bpe",
            vocab_size=num_tokens,
            character_coverage=1.0,
            required_chars="".join(sorted(alphabet)),
            normalization_rule_name="identity",  # Transcripts are normalised already.
            max_sentence_length=1 << 20,
            max_sentencepiece_length=16,
            pad_id=0,
            pad_piece=BLANK,
            unk_id=1,
            unk_piece=UNKNOWN,
            bos_id=-1,
            eos_id=-1,
            num_threads=1,
            minloglevel=2,
        )
    except RuntimeError as error:
        if (largest := re.search(r"too high .* <= (\d+)", str(error))) is None:
            raise
        raise ValueError(
            f"{option} ({num_tokens}) must be at most {largest[1]}, for "
            f"{count(len(words), 'different word')}. Lower it."
        ) from error
    learned = SentencePieceProcessor(model_proto=model.getvalue())
    return [learned.id_to_piece(index) for index in range(num_tokens)]


def prepare_subwords(
    folders: Iterable[Path], *, letters_from: Iterable[Path], output: Path, num_tokens: int
) -> None:
    """Learn subwords from the transcripts in folders of shards, and write a new vocabulary.

    The vocabulary has all characters of the transcripts in `letters_from` too.
    """
    check_is_new(output, "file")
    words = count_words(text for folder in folders for text in _read_transcripts(folder))
    letters = {
        letter for folder in letters_from for text in _read_transcripts(folder) for letter in text
    }
    symbols = learn_subwords(words, num_tokens=num_tokens, letters=letters)
    output.parent.mkdir(parents=True, exist_ok=True)
    write_vocabulary(output, symbols)
    learned = f"{count(len(symbols), 'token')} from {count(words.total(), 'word')}"
    print_visible(
        f"{output} has {learned}. Train with speech/tokenizer=bpe "
        f"speech.tokenizer.vocabulary_path={output.resolve()}"
    )


def _read_transcripts(folder: Path) -> Iterator[str]:
    """Yield the transcript of each utterance that has one."""
    for shard in find_shards(folder, producer="one of scripts/data/*/produce_*.sh"):
        for sample in read_shard(shard, with_audio=False):
            text = sample.metadata.get("transcription")
            if isinstance(text, str):
                yield text
