"""Voices differ from each other, in every way in which a voice can."""

from dataclasses import fields

import numpy as np
import pytest

from w2v2_mt.synthetic.voices import draw_recording, draw_voices


def drawn(count, seed=0):
    return draw_voices(count, np.random.default_rng(seed))


def test_sexes_alternate():
    assert [voice.sex for voice in drawn(5)] == ["f", "m", "f", "m", "f"]


@pytest.mark.parametrize(("sex", "low", "high"), [("m", 82.0, 158.0), ("f", 165.0, 290.0)])
def test_each_of_ten_equal_steps_of_pitch_holds_one_of_ten_voices(sex, low, high):
    pitches = [voice.mean_pitch_hz for voice in drawn(20) if voice.sex == sex]
    steps = 10 * np.log(np.array(pitches) / low) / np.log(high / low)
    assert sorted(np.floor(steps)) == list(range(10))


def test_no_two_voices_share_a_number():
    voices = drawn(30)
    for field in fields(voices[0]):
        if field.name != "sex":
            assert len({getattr(voice, field.name) for voice in voices}) == len(voices)


def test_attributes_are_independent_of_each_other():
    voices = [voice for voice in drawn(400) if voice.sex == "f"]
    names = [f.name for f in fields(voices[0]) if f.name not in ("sex", "formant_factors")]
    table = np.array([[getattr(v, name) for name in names] + [*v.formant_factors] for v in voices])
    correlations = np.corrcoef(table.T) - np.eye(table.shape[1])
    assert np.abs(correlations).max() < 0.3


def test_one_voice_can_be_drawn():
    assert len(drawn(1)) == 1


def test_recordings_differ_within_the_given_noise():
    random = np.random.default_rng(0)
    recordings = [draw_recording(random, signal_to_noise_db=(10.0, 12.0)) for _ in range(20)]
    assert all(10.0 <= recording.signal_to_noise_db <= 12.0 for recording in recordings)
    assert len(set(recordings)) == 20
