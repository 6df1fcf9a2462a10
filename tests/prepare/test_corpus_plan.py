from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from w2v2_mt.manifests.recordings import Recording
from w2v2_mt.manifests.rejections import Rejection
from w2v2_mt.prepare.corpus_options import CorpusOptions
from w2v2_mt.prepare.corpus_plan import CorpusPlan, plan_corpus

GERMAN = ("Grüße aus Köln!", "Straße, Übermut", "Fünf süße Äpfel")
CHINESE = ("你好\uff0c世界。", "今天天气很好\uff01", "我们去学校")


def recordings(
    num_speakers: int, *texts: str | None, num_each: int = 4, **labels
) -> list[Recording]:
    """Recordings of speakers s00, s01, ... that say the texts in turn."""
    return [
        Recording(
            **{
                "key": f"s{speaker:02}/{number}",
                "path": f"s{speaker:02}/{number}.wav",
                "line": f"mine.csv, line {speaker * num_each + number + 2}",
                "speaker": f"s{speaker:02}",
                "text": texts[(speaker + number) % len(texts)],
                **labels,
            }
        )
        for speaker in range(num_speakers)
        for number in range(num_each)
    ]


def plan(described: list[Recording], **options) -> CorpusPlan:
    settings = CorpusOptions(data_folder=Path(), **{"seed": 1, **options})
    return plan_corpus("mine", described, rejections=[], options=settings)


def texts_of(made: CorpusPlan) -> set[str | None]:
    return {each.text for recordings in made.sets.values() for each in recordings}


def test_german_texts_keep_their_letters() -> None:
    made = plan(recordings(6, *GERMAN), case="lower")
    assert texts_of(made) == {"grüße aus köln", "straße übermut", "fünf süße äpfel"}
    assert made.vocabulary is not None
    assert {"ü", "ß", "ä", "ö"} <= {*made.vocabulary}
    upper = plan(recordings(6, *GERMAN))
    assert "STRASSE ÜBERMUT" in texts_of(upper)
    assert "ß" not in (upper.vocabulary or ())
    assert {"Straße Übermut"} <= texts_of(plan(recordings(6, *GERMAN), case="keep"))


def test_chinese_texts_have_a_symbol_for_each_character() -> None:
    made = plan(recordings(6, *CHINESE))
    assert made.vocabulary is not None
    assert {*"你好世界今天气很我们去学校"} < {*made.vocabulary}
    assert not {*"\uff0c。\uff01"} & {*made.vocabulary}


def test_subwords_are_learned_from_training_texts_with_all_characters() -> None:
    described = recordings(6, "aba abab", "abab", "cab") + recordings(
        2, "only tested", split="test", num_each=2
    )
    described = [
        replace(each, speaker=f"t{each.speaker}", key=f"t{each.key}")
        if each.split == "test"
        else each
        for each in described
    ]
    made = plan(described, case="lower", bpe=20)
    assert made.vocabulary is not None
    assert len(made.vocabulary) == 20
    assert any("aba" in symbol for symbol in made.vocabulary)
    assert {*"onlytesd"} < {*made.vocabulary}
    assert not any(len(each) > 1 and {*each} & {*"onlytesd"} for each in made.vocabulary[2:])


def test_the_sets_of_both_tasks_have_trials_and_other_speakers() -> None:
    made = plan(recordings(8, "yes"))
    assert made.tasks == ["speech", "speaker"]
    speakers = {name: {each.speaker for each in made.sets[name]} for name in made.sets}
    assert made.train_speakers == sorted(map(str, speakers["train"]))
    assert sum(map(len, speakers.values())) == 8
    trials = made.draw_trials("val", made.sets["val"])
    assert {each.same_speaker for each in trials} == {True, False}
    assert made.notes == []


def test_the_labels_decide_the_tasks() -> None:
    assert plan(recordings(6, None)).tasks == ["speaker"]
    assert plan(recordings(6, None)).vocabulary is None
    assert plan(recordings(6, "yes", speaker=None)).tasks == ["speech"]
    spoken = plan(recordings(6, "yes"), tasks="speaker")
    assert (spoken.tasks, texts_of(spoken)) == (["speaker"], {None})


@pytest.mark.parametrize(("num_speakers", "shared"), [(5, False), (3, False), (2, True), (1, True)])
def test_too_few_speakers_leave_speech_recognition(num_speakers: int, shared: bool) -> None:
    made = plan(recordings(num_speakers, "yes", num_each=6))
    assert made.tasks == ["speech"]
    assert (
        "Speaker recognition is not prepared: with sets that do not share a speaker, "
        in (made.notes[0])
    )
    assert "at least six speakers with two recordings or more" in made.notes[0]
    assert any("Sets may share speakers" in note for note in made.notes) == shared


def test_sessions_are_not_shared_where_speakers_must_be() -> None:
    described = [
        replace(each, session=f"{each.speaker}-{number % 6}")
        for number, each in enumerate(recordings(2, "yes", num_each=30))
    ]
    made = plan(described)
    sessions = [{each.session for each in recordings} for recordings in made.sets.values()]
    assert sum(map(len, sessions)) == 12
    assert made.notes[1] == "Sets may share speakers, as they are split by session."


def test_what_is_demanded_is_prepared_or_refused() -> None:
    with pytest.raises(ValueError, match="the corpus is too small: .* At least|It needs at least"):
        plan(recordings(5, "yes"), tasks="both")
    with pytest.raises(ValueError, match="no recording of mine that can be used has a speaker"):
        plan(recordings(6, "yes", speaker=None), tasks="both")
    with pytest.raises(ValueError, match="has a text or speaker. Give this label"):
        plan(recordings(6, None, speaker=None))
    with pytest.raises(ValueError, match="too small.*three recordings with text"):
        plan(recordings(1, "yes", num_each=2))
    with pytest.raises(ValueError, match="--split_by session lets sets share speakers"):
        plan(recordings(6, None), split_by="session")
    assert plan(recordings(6, "yes"), split_by="file").tasks == ["speech"]


def test_texts_that_cannot_be_used_are_rejected_with_their_lines(tmp_path: Path) -> None:
    described = recordings(6, "yes")
    described[2] = replace(described[2], text="?!")
    made = plan(described)
    assert made.rejections == [
        Rejection(
            "mine.csv, line 4",
            "its text ('?!') is empty after normalisation; every utterance needs a word.",
        )
    ]
    vocabulary = tmp_path / "vocabulary.json"
    vocabulary.write_text('{"<pad>": 0, "|": 1, "Y": 2, "E": 3, "S": 4, "O": 5}')
    described[3] = replace(described[3], text="yes, no")
    made = plan(described, vocabulary=vocabulary)
    assert made.vocabulary == ["<pad>", "|", "Y", "E", "S", "O"]
    assert [each.file for each in made.rejections] == ["mine.csv, line 4", "mine.csv, line 5"]
    assert "the character 'N' of its text 'YES NO' is not in" in made.rejections[1].reason


def test_speakers_of_one_sex_are_compared_and_others_only_if_there_are_none() -> None:
    sexes = dict(zip(["s00", "s01", "s02", "s03", "s04", "s05"], "ffmfmm", strict=True))
    described = [replace(each, sex=sexes[str(each.speaker)]) for each in recordings(6, "yes")]
    made = plan(described)
    for trial in made.draw_trials("test", made.sets["test"]):
        assert sexes[trial.left_key[:3]] == sexes[trial.right_key[:3]]
    mixed = [each for each in described if each.speaker in ("s00", "s02")]
    negatives = [each for each in made.draw_trials("test", mixed) if not each.same_speaker]
    assert len(negatives) > 0


def test_a_limit_keeps_several_speakers_of_each_set() -> None:
    made = plan(recordings(30, "yes", num_each=20), limit=10)
    for recordings_of_set in made.sets.values():
        counts = Counter(each.speaker for each in recordings_of_set)
        assert sorted(counts.values()) == [2, 4, 4]


def test_the_order_of_a_manifest_does_not_matter() -> None:
    described = recordings(8, *GERMAN)
    assert plan(described).sets == plan(described[::-1]).sets
    assert plan(described).sets != plan(described, seed=2).sets


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"val_fraction": 0.5}, "--val_fraction is 0.5; it must be above 0 and below 0.5"),
        ({"test_fraction": 0.0}, "--test_fraction is 0.0; it must be above 0"),
        ({"num_trials": 3}, "--num_trials is 3; it must be an even number"),
        ({"bpe": 9, "vocabulary": Path("v.json")}, "--bpe makes a vocabulary and --vocabulary"),
    ],
)
def test_wrong_options_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CorpusOptions(data_folder=Path(), **options)
