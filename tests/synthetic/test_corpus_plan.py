"""The plan of the synthetic corpus keeps speakers apart and makes fair trials."""

import re
from dataclasses import fields, replace
from itertools import pairwise

import pytest

from tests.synthetic import TINY
from w2v2_mt.synthetic.corpus_plan import TEST_SUBSETS, TRAIN_SUBSETS, CorpusSizes, plan_corpus
from w2v2_mt.synthetic.phonemes import WORDS


@pytest.fixture(scope="module")
def demo():
    return plan_corpus(3, CorpusSizes())


def sets(plan):
    return {**plan.readers, "vox1_dev": plan.vox1_dev, "vox1_test": plan.vox1_test}


def test_the_demo_has_its_sizes(demo):
    train = [one for subset in TRAIN_SUBSETS for one in demo.readers[subset]]
    assert len(train) == 3 * 24 * 2 * 10
    assert len({one.speaker_id for one in train}) == 72
    assert [len(demo.readers[subset]) for subset in TEST_SUBSETS] == [7 * 2 * 6] * 4
    assert len(demo.vox1_dev) == (60 * 2 + 60 * 3) * 4
    assert len(demo.vox1_test) == 24 * 2 * 5
    assert len(demo.trials) == 1000


def test_no_set_shares_a_speaker_or_a_voice_with_another(demo):
    for field in ("speaker_id", "voice"):
        owned = [{getattr(one, field) for one in planned} for planned in sets(demo).values()]
        assert sum(map(len, owned)) == len(set().union(*owned))


def test_a_speaker_is_one_voice_and_a_recording_one_channel(demo):
    for planned in sets(demo).values():
        speakers, voices = ({(o.speaker_id, o.voice) for o in planned}, {o.voice for o in planned})
        assert len(speakers) == len(voices)
        recordings = {(one.speaker_id, one.recording_id) for one in planned}
        assert len(recordings) == len({one.recording for one in planned})
        assert len(recordings) == len({one.recording_id for one in planned})


def test_other_subsets_are_noisier_than_clean_ones(demo):
    def ratios(name):
        return [
            o.recording.signal_to_noise_db
            for s in demo.readers
            if name in s
            for o in demo.readers[s]
        ]

    assert max(ratios("other")) < min(ratios("clean"))


def test_utterances_are_a_few_different_words_of_the_vocabulary(demo):
    for planned in sets(demo).values():
        for one in planned:
            assert set(one.words) <= set(WORDS)
            assert 2 <= len(set(one.words)) == len(one.words) <= 4
    assert {word for one in demo.readers["test-clean"] for word in one.words} == set(WORDS)


def test_ids_are_those_of_voxceleb1(demo):
    dev = {one.speaker_id for one in demo.vox1_dev}
    test = {one.speaker_id for one in demo.vox1_test}
    assert (min(dev), min(test), max(test)) == ("id10001", "id10270", "id10293")
    assert all(re.fullmatch(r"[\w-]{11}", one.recording_id) for one in demo.vox1_dev)


def test_dev_ids_leave_out_the_official_test_ids():
    plan = plan_corpus(0, replace(TINY, num_dev_speakers=300))
    ids = sorted({one.speaker_id for one in plan.vox1_dev})
    assert len(ids) == 300
    gaps = [(left, right) for left, right in pairwise(ids) if int(right[2:]) - int(left[2:]) > 1]
    assert gaps == [("id10269", "id10310")]


def test_half_of_the_trials_are_of_one_speaker_always_across_videos(demo):
    positives = [trial for trial in demo.trials if trial.same_speaker]
    assert len(positives) == 500
    for trial in demo.trials:
        left, right = trial.left_key.split("/"), trial.right_key.split("/")
        assert (left[0] == right[0]) is trial.same_speaker
        assert left[1] != right[1]


def test_nine_in_ten_negatives_are_of_one_sex(demo):
    sex = {one.speaker_id: one.voice.sex for one in demo.vox1_test}
    negatives = [trial for trial in demo.trials if not trial.same_speaker]
    same = [t for t in negatives if sex[t.left_key[:7]] == sex[t.right_key[:7]]]
    assert len(same) == 450


def test_no_trial_appears_twice_and_all_name_test_utterances(demo):
    pairs = {frozenset((trial.left_key, trial.right_key)) for trial in demo.trials}
    assert len(pairs) == 1000
    assert frozenset().union(*pairs) <= {one.key for one in demo.vox1_test}


def test_a_seed_decides_the_plan():
    assert plan_corpus(7, TINY) == plan_corpus(7, TINY)
    left, right = (plan_corpus(seed, TINY) for seed in (7, 8))
    assert {one.voice for one in left.vox1_dev}.isdisjoint(one.voice for one in right.vox1_dev)


def test_more_utterances_leave_the_voices_as_they_were():
    more = plan_corpus(7, replace(TINY, num_utterances_per_dev_video=5))
    assert {o.voice for o in more.vox1_dev} == {o.voice for o in plan_corpus(7, TINY).vox1_dev}


@pytest.mark.parametrize("name", [field.name for field in fields(CorpusSizes)])
def test_every_size_is_at_least_one(name):
    with pytest.raises(ValueError, match=f"{name} is 0, but must be at least 1"):
        replace(TINY, **{name: 0})


def test_too_many_trials_are_an_error_that_counts_the_pairs():
    with pytest.raises(
        ValueError, match="num_trials_each is 17, .* too few pairs of one speaker .16 of 17.;"
    ):
        plan_corpus(0, replace(TINY, num_trials_each=17))


def test_one_test_speaker_is_too_few_for_trials_of_two():
    with pytest.raises(ValueError, match="too few pairs of two sexes .0 of 2.;"):
        plan_corpus(0, replace(TINY, num_test_speakers=1, num_trials_each=2))


def test_more_test_speakers_than_official_ids_are_an_error():
    with pytest.raises(ValueError, match="num_test_speakers is 41, but VoxCeleb1 has ids for 40"):
        plan_corpus(0, replace(TINY, num_test_speakers=41))


def test_a_negative_seed_is_an_error():
    with pytest.raises(ValueError, match="the seed is -1, but must not be negative"):
        plan_corpus(-1, TINY)
