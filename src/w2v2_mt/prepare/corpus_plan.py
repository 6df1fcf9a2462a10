"""The plan of the sets of a corpus: all that is decided before any audio is read."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from w2v2_mt.core.trials import Trial
from w2v2_mt.decoding.vocabulary import letter_vocabulary, read_vocabulary
from w2v2_mt.manifests.recordings import Recording, Sex, SplitName
from w2v2_mt.manifests.rejections import Rejection
from w2v2_mt.prepare.corpus_options import CorpusOptions, SplitBy, Task
from w2v2_mt.prepare.corpus_splits import SETS, SplitRules, TooFewGroupsError, split_recordings
from w2v2_mt.prepare.shard_sets import place
from w2v2_mt.prepare.trials import SpokenUtterance, make_trials

NUM_TOGETHER = 4
"""With a limit, utterances are taken in turns from the speakers, as many as this from each."""


@dataclass(frozen=True, kw_only=True)
class CorpusPlan:
    """The sets of a corpus, and what is made for them.

    Args:
        name: The name of the corpus in files and settings.
        sets: The recordings of each set, with normalised transcripts.
        tasks: The tasks that the labels allow.
        vocabulary: The symbols of the vocabulary; None without speech recognition.
        rejections: What cannot be used, as far as it is known.
        notes: Sentences about the decisions, for the user.
    """

    name: str
    sets: Mapping[SplitName, Sequence[Recording]]
    tasks: Sequence[Task]
    vocabulary: Sequence[str] | None
    rejections: Sequence[Rejection]
    notes: Sequence[str]
    options: CorpusOptions

    @property
    def train_speakers(self) -> list[str]:
        """Return the training speakers in the order of their indices."""
        return sorted({each.speaker for each in self.sets["train"] if each.speaker is not None})

    def draw_trials(self, set_name: SplitName, recordings: Iterable[Recording]) -> list[Trial]:
        """Return trials over recordings of a set, of speakers of the same sex where it has them.

        Raises ValueError if there are none.
        """
        labelled = [each for each in recordings if each.speaker is not None]
        spoken = [
            SpokenUtterance(str(each.speaker), each.session or each.path, each.key)
            for each in labelled
        ]
        sexes = {str(each.speaker): each.sex for each in labelled if each.sex is not None}

        def draw(sexes: Mapping[str, Sex]) -> list[Trial]:
            return make_trials(
                spoken,
                sexes=sexes,
                num_trials=self.options.num_trials,
                seed=self.options.seed,
                set_name=f"set {set_name}",
                remedy="give more recordings of its speakers, or pass --tasks speech",
            )

        try:
            return draw(sexes)
        except ValueError:
            return draw({})


def plan_corpus(
    name: str,
    recordings: Iterable[Recording],
    *,
    rejections: Sequence[Rejection],
    options: CorpusOptions,
) -> CorpusPlan:
    """Normalise transcripts, split the recordings, and make the vocabulary.

    The order of the recordings does not matter. Raises ValueError if the labels are too few for
    the tasks, or the given sets share a speaker.
    """
    usable, unusable = _normalise(sorted(recordings, key=lambda each: each.key), options)
    labelled: dict[Task, bool] = {
        "speech": any(each.text is not None for each in usable),
        "speaker": any(each.speaker is not None for each in usable),
    }
    wanted = options.wanted_tasks
    missing = [task for task in wanted if options.tasks is not None and not labelled[task]]
    if missing or not any(labelled.values()):
        columns = {"speech": "text", "speaker": "speaker"}
        names = " or ".join(columns[task] for task in missing or wanted)
        raise ValueError(
            f"no recording of {name} that can be used has a {names}. Give this label, or pass "
            "--tasks for the other task."
        )
    tasks = [task for task in wanted if labelled[task]]
    split, tasks, notes = _split(usable, tasks, options)
    sets: dict[SplitName, list[Recording]] = {each: [] for each in SETS}
    for each in split:
        assert each.split is not None
        sets[each.split].append(each)
    if options.limit is not None:
        sets = {each: _limit(sets[each], options.limit, options.seed) for each in SETS}
    plan = CorpusPlan(
        name=name,
        sets=sets,
        tasks=tasks,
        vocabulary=_make_vocabulary(sets, options) if "speech" in tasks else None,
        rejections=[*rejections, *unusable],
        notes=notes,
        options=options,
    )
    if "speaker" in tasks:
        for set_name in SETS[1:]:
            plan.draw_trials(set_name, sets[set_name])  # An error here comes before audio is read.
    return plan


def _normalise(
    recordings: Iterable[Recording], options: CorpusOptions
) -> tuple[list[Recording], list[Rejection]]:
    """Return the recordings with normalised transcripts, and those whose transcript is unusable."""
    normalise = options.normalisation()
    known = None if options.vocabulary is None else {*read_vocabulary(options.vocabulary), " "}
    usable: list[Recording] = []
    rejections: list[Rejection] = []
    for each in recordings:
        text = each.text if "speech" in options.wanted_tasks else None
        try:
            text = None if text is None else normalise(text)
            if known is not None and (unknown := {*(text or "")} - known):
                raise ValueError(
                    f"the character {min(unknown)!r} of its text {text!r} is not in the vocabulary "
                    f"{options.vocabulary}."
                )
        except ValueError as error:
            rejections.append(Rejection(each.line, str(error)))
            continue
        usable.append(each if text == each.text else replace(each, text=text))
    return usable, rejections


def _split(
    recordings: Sequence[Recording], tasks: list[Task], options: CorpusOptions
) -> tuple[list[Recording], list[Task], list[str]]:
    """Split by the first of several rules for which the corpus is large enough."""
    speech: list[Task] = ["speech"] if "speech" in tasks and options.tasks != "both" else []
    attempts: list[tuple[SplitBy, list[Task]]] = []
    if "speaker" in tasks and options.split_by in (None, "speaker"):
        attempts.append(("speaker", tasks))
    if speech:
        levels: list[SplitBy] = ["speaker", "session", "file"]
        chosen = levels if options.split_by is None else [options.split_by]
        attempts += [(split_by, speech) for split_by in chosen]
    problems: list[str] = []
    for split_by, attempted in attempts:
        rules = SplitRules(
            split_by=split_by,
            val_fraction=options.val_fraction,
            test_fraction=options.test_fraction,
            recognises_speech="speech" in attempted,
            recognises_speakers="speaker" in attempted,
            seed=options.seed,
        )
        try:
            split = split_recordings(recordings, rules)
        except TooFewGroupsError as error:
            problems.append(str(error))
            continue
        notes = []
        if "speaker" in tasks and "speaker" not in attempted:
            because = f": {problems[0]}" if problems else f", as sets are split by {split_by}"
            notes.append(f"Speaker recognition is not prepared{because}. {SIZE_ADVICE['speaker']}")
        if split_by != "speaker" and any(each.speaker is not None for each in recordings):
            notes.append(f"Sets may share speakers, as they are split by {split_by}.")
        return split, attempted, notes
    if not problems:
        raise ValueError(
            f"--split_by {options.split_by} lets sets share speakers, which speaker recognition "
            "must not. Leave it out."
        )
    raise ValueError(
        f"the corpus is too small: {problems[-1]}. {SIZE_ADVICE['speech' if speech else 'speaker']}"
    )


SIZE_ADVICE: dict[Task, str] = {
    "speech": "It needs at least three recordings with text that may be separated.",
    "speaker": "It needs at least six speakers with two recordings or more, two for each set.",
}
"""The size that each task needs."""


def _limit(recordings: Sequence[Recording], limit: int, seed: int) -> list[Recording]:
    """Return the first recordings in turns of a few from each speaker, in a drawn order."""
    num_of_speaker: Counter[str] = Counter()
    turns = []
    for each in recordings:
        speaker = each.speaker or each.session or each.path
        turns.append((num_of_speaker[speaker] // NUM_TOGETHER, place(speaker, seed=seed), each.key))
        num_of_speaker[speaker] += 1
    first = {key for *_, key in sorted(turns)[:limit]}
    return [each for each in recordings if each.key in first]


def _make_vocabulary(
    sets: Mapping[SplitName, Sequence[Recording]], options: CorpusOptions
) -> list[str]:
    """Return the symbols: given ones, subwords learned in training, or all characters."""
    if options.vocabulary is not None:
        index_of = read_vocabulary(options.vocabulary)
        return sorted(index_of, key=index_of.__getitem__)
    letters = {letter for each in chain(*sets.values()) for letter in each.text or ""}
    if options.bpe is None:
        return letter_vocabulary(letters)
    from w2v2_mt.prepare.subwords import count_words, learn_subwords  # brings sentencepiece

    words = count_words(each.text for each in sets["train"] if each.text is not None)
    return learn_subwords(words, num_tokens=options.bpe, letters=letters, option="--bpe")
