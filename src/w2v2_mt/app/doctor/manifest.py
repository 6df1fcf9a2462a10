"""Check a manifest and name what it lacks for which task, without reading audio."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

from w2v2_mt.app.doctor.finding import Finding, State
from w2v2_mt.core.units import count
from w2v2_mt.decoding.vocabulary import read_vocabulary
from w2v2_mt.manifests.manifest import Manifest, read_manifest
from w2v2_mt.manifests.recordings import Recording
from w2v2_mt.prepare.corpus_options import CorpusOptions, SplitBy, Task
from w2v2_mt.prepare.corpus_plan import SIZE_ADVICE
from w2v2_mt.prepare.corpus_splits import (
    SETS,
    SplitRules,
    TooFewGroupsError,
    split_recordings,
)
from w2v2_mt.prepare.text_normalisation import TextNormalisation

SPEECH = "speech recognition"
SPEAKERS = "speaker recognition"
_ENGLISH_VOCABULARY = Path(str(files("w2v2_mt.data") / "vocabulary.json"))
_MAX_NUM_NAMED = 30


def check_manifest(path: Path, *, root: Path | None) -> list[Finding]:
    """Check lines, labels and splits of a manifest for each task.

    Args:
        path: The manifest, as of `read_manifest`.
        root: The folder that holds all audio; by default that of the manifest.

    Raises:
        ValueError: The manifest cannot be understood as a whole.
    """
    manifest = read_manifest(path, root=root, keep_unlabelled=True)
    speech = [*_check_texts(manifest.recordings)]
    speakers = [*_check_speakers(manifest.recordings)]
    # Only one of the two must be there.
    is_useless = all(found[-1].state is State.MISSING for found in (speech, speakers))
    findings = [*_check_lines(manifest), *speech, *speakers]
    return [replace(each, is_required=is_useless) for each in findings]


def _check_lines(manifest: Manifest) -> Iterator[Finding]:
    num_recordings = count(len(manifest.recordings), "recording")
    columns = [
        f"{label} in {name!r}" for name, label in manifest.columns.items() if label is not None
    ]
    kept = [repr(name) for name, label in manifest.columns.items() if label is None]
    found = f"{manifest.form} with {num_recordings} below {manifest.root}; {', '.join(columns)}"
    if kept:
        found += f"; kept as metadata: {', '.join(kept[:_MAX_NUM_NAMED])}"
    yield Finding("manifest", State.OK, found, "all tasks")
    if manifest.rejections:
        first = manifest.rejections[0]
        num_lines = len(manifest.recordings) + len(manifest.rejections)
        found = (
            f"{count(len(manifest.rejections), 'line')} "
            f"({len(manifest.rejections) / num_lines:.1%}) cannot be used, the first being "
            f"{first.file}: {first.reason}"
        )
        needed_for = (
            "all tasks; preparation stops if it rejects more than --max_rejected "
            f"({CorpusOptions.max_rejected:.1%} by default)"
        )
        yield Finding("lines", State.MISSING, found, needed_for)
    unlabelled = [each for each in manifest.recordings if each.text is each.speaker is None]
    if unlabelled:
        found = (
            f"{count(len(unlabelled), 'recording')} with neither text nor speaker, the first in "
            f"{unlabelled[0].line}; preparation rejects such lines, w2v2-mt label can label them"
        )
        yield Finding("labels", State.MISSING, found, "all tasks")


def _check_texts(recordings: Sequence[Recording]) -> Iterator[Finding]:
    texts = [(each.line, each.text) for each in recordings if each.text is not None]
    if not texts:
        yield Finding("text", State.MISSING, "no recording has a text", SPEECH)
        return
    normalise = TextNormalisation(case=CorpusOptions.case, punctuation=CorpusOptions.punctuation)
    num_letters: Counter[str] = Counter()
    problems: list[str] = []
    for line, text in texts:
        try:
            num_letters.update(normalise(text).replace(" ", ""))
        except ValueError as error:
            problems.append(f"{line}: {error}")
    state, found = State.OK, f"{len(texts)} of {count(len(recordings), 'recording')} have one"
    if problems:
        state = State.NOTE
        found += (
            f"; {count(len(problems), 'text')} cannot be normalised, the first in {problems[0]}"
        )
    elif len(texts) < len(recordings):
        state = State.NOTE
        found += ", and the others serve speaker recognition alone"
    yield Finding("text", state, found, SPEECH)
    others = set(num_letters) - set(read_vocabulary(_ENGLISH_VOCABULARY))
    named = ", ".join(
        f"{letter} ({num_letters[letter]})"
        for letter in sorted(others, key=lambda each: (-num_letters[each], each))[:_MAX_NUM_NAMED]
    )
    state, found = State.OK, f"{len(num_letters)} in capitals, all of them in English words"
    if others:
        state = State.NOTE
        found = f"{len(others)} of {len(num_letters)} are not in the English vocabulary: {named}"
    needed_for = "networks that were trained on English; preparation makes a vocabulary of all"
    yield Finding("characters", state, found, needed_for)
    yield _check_split(recordings, "speech")


def _check_speakers(recordings: Sequence[Recording]) -> Iterator[Finding]:
    named = [each for each in recordings if each.speaker is not None]
    if not named:
        yield Finding("speakers", State.MISSING, "no recording names its speaker", SPEAKERS)
        return
    numbers = Counter(each.speaker for each in named)
    most = max(numbers.values())
    found = (
        f"{count(len(numbers), 'speaker')} with {min(numbers.values())} to "
        f"{count(most, 'recording')} each"
    )
    state = State.OK if len(named) == len(recordings) else State.NOTE
    if state is State.NOTE:
        found += f"; {len(recordings) - len(named)} recordings name none"
    yield Finding("speakers", state, found, SPEAKERS)
    if not any(each.session for each in named):
        found = "not named, so trials compare recordings that may be of one session"
        yield Finding("sessions", State.NOTE, found, "error rates as in real use")
    if not any(each.sex for each in named):
        found = "not named, so trials may compare a man and a woman, which is easy"
        yield Finding("sex", State.NOTE, found, "error rates that compare with published ones")
    yield _check_split(recordings, "speaker")


def _check_split(recordings: Sequence[Recording], task: Task) -> Finding:
    """Try the split of the preparation, by the first of its rules that fits."""
    has_text = any(each.text is not None for each in recordings)
    has_speaker = any(each.speaker is not None for each in recordings)
    # As preparation does, both tasks are tried before one alone.
    attempts: list[tuple[SplitBy, set[Task]]] = []
    if has_text and has_speaker:
        attempts.append(("speaker", {"speech", "speaker"}))
    levels: list[SplitBy] = ["speaker"] if task == "speaker" else ["speaker", "session", "file"]
    attempts += [(split_by, {task}) for split_by in levels]
    needed_for = SPEECH if task == "speech" else SPEAKERS
    name = f"{task} sets"
    problem = ""
    for split_by, tasks in attempts:
        rules = SplitRules(
            split_by=split_by,
            val_fraction=CorpusOptions.val_fraction,
            test_fraction=CorpusOptions.test_fraction,
            recognises_speech="speech" in tasks,
            recognises_speakers="speaker" in tasks,
            seed=CorpusOptions.seed,
        )
        try:
            sizes = Counter(each.split for each in split_recordings(recordings, rules))
        except TooFewGroupsError as error:
            if tasks == {task}:
                problem = problem or f"{error}. {SIZE_ADVICE[task]}"
        except ValueError as error:
            problem = str(error)
            break
        else:
            given = "as given" if any(each.split for each in recordings) else "drawn"
            shown = ", ".join(f"{name} {sizes[name]}" for name in SETS)
            return Finding(name, State.OK, f"{given}: {shown}", needed_for)
    return Finding(name, State.MISSING, problem, needed_for)
