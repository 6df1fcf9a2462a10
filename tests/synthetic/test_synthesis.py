"""The synthesiser says what the voice and the phonemes ask for."""

import re
from dataclasses import replace

import numpy as np
import pytest
from scipy import signal

from w2v2_mt.synthetic.phonemes import PHONEMES, WORDS, Segment
from w2v2_mt.synthetic.synthesis import SPEECH_LEVEL, render, synthesise
from w2v2_mt.synthetic.voices import Recording, Voice, draw_recording, draw_voices

RATE_HZ = 16_000

VOICE = Voice(
    sex="m",
    mean_pitch_hz=110.0,
    pitch_range_semitones=0.0,
    vocal_tract_factor=1.0,
    formant_factors=(1.0,) * 7,
    bandwidth_factor=1.0,
    open_quotient=0.6,
    spectral_tilt_db=0.0,
    breathiness=0.02,
    speaking_rate=1.0,
)
STUDIO = Recording(
    level_db=0.0,
    equaliser_db_per_octave=0.0,
    ripple_db=0.0,
    ripple_phase=0.0,
    signal_to_noise_db=60.0,
    noise_slope=0.0,
)
VOWEL = Segment(duration_sec=1.0, formants_hz=(500.0, 1500.0, 2500.0), voicing=1.0)
WHISPER = Segment(duration_sec=4.0, formants_hz=(500.0, 1500.0, 2500.0), aspiration=1.0)


def rendered(*segments, voice=VOICE, recording=STUDIO, seed=0):
    return render(segments, voice=voice, recording=recording, random=np.random.default_rng(seed))


def said(*words, voice=VOICE, recording=STUDIO, seed=0):
    return synthesise(words, voice=voice, recording=recording, random=np.random.default_rng(seed))


def power_spectrum(waveform):
    return signal.welch(waveform, RATE_HZ, nperseg=1024)


def median_pitch_hz(waveform):
    """The pitch by autocorrelation in windows of 40 ms, over those that are clearly periodic."""
    windows = np.lib.stride_tricks.sliding_window_view(waveform, 640)[::160]
    loud = np.mean(windows**2, axis=1) > 0.3 * np.mean(waveform**2)
    pitches = []
    for window in windows[loud]:
        correlation = np.correlate(window, window, "full")[639:]
        lag = 40 + np.argmax(correlation[40:220])
        if correlation[lag] > 0.5 * correlation[0]:
            pitches.append(RATE_HZ / lag)
    return np.median(pitches)


def peak_hz(waveform, low_hz, high_hz):
    frequencies, power = power_spectrum(waveform)
    inside = (frequencies > low_hz) & (frequencies < high_hz)
    return frequencies[inside][np.argmax(power[inside])]


def centroid_hz(waveform):
    frequencies, power = power_spectrum(waveform)
    return np.sum(frequencies * power) / np.sum(power)


@pytest.mark.parametrize("pitch_hz", [85.0, 140.0, 220.0, 285.0])
def test_a_steady_vowel_has_the_pitch_of_the_voice(pitch_hz):
    waveform = rendered(VOWEL, voice=replace(VOICE, mean_pitch_hz=pitch_hz))
    assert median_pitch_hz(waveform) == pytest.approx(pitch_hz, rel=0.03)


def test_every_drawn_voice_keeps_its_pitch_in_whole_utterances():
    random = np.random.default_rng(1)
    for voice in draw_voices(6, random):
        recording = draw_recording(random, signal_to_noise_db=(25.0, 30.0))
        waveform = said("RAIN", "NO", "BLUE", voice=voice, recording=recording)
        assert median_pitch_hz(waveform) == pytest.approx(voice.mean_pitch_hz, rel=0.08)


@pytest.mark.parametrize("factor", [0.88, 1.0, 1.2])
@pytest.mark.parametrize("formant_hz", [500.0, 1500.0, 2500.0])
def test_formant_peaks_scale_with_the_vocal_tract_factor(factor, formant_hz):
    waveform = rendered(WHISPER, voice=replace(VOICE, vocal_tract_factor=factor))
    expected = factor * formant_hz
    assert peak_hz(waveform, expected - 250, expected + 250) == pytest.approx(expected, abs=40)


def test_a_formant_factor_moves_its_own_formant_only():
    voice = replace(VOICE, formant_factors=(1.0, 1.1, 1.0, 1.0, 1.0, 1.0, 1.0))
    waveform = rendered(WHISPER, voice=voice)
    assert peak_hz(waveform, 250, 750) == pytest.approx(500, abs=40)
    assert peak_hz(waveform, 1250, 1900) == pytest.approx(1650, abs=40)


def test_spectral_tilt_takes_its_decibels_at_3_khz():
    def level_db(tilt_db):
        waveform = rendered(VOWEL, voice=replace(VOICE, spectral_tilt_db=tilt_db, breathiness=0.0))
        frequencies, power = power_spectrum(waveform)
        high = power[(frequencies > 2900) & (frequencies < 3100)].sum()
        return 10 * np.log10(high / power[(frequencies > 80) & (frequencies < 250)].sum())

    assert level_db(0.0) - level_db(6.0) == pytest.approx(6.0, abs=1.0)


def test_frication_lies_in_the_band_of_the_phoneme():
    centroids = {name: centroid_hz(rendered(*PHONEMES[name])) for name in ("SH", "S", "AO")}
    assert centroids["S"] == pytest.approx(6200, rel=0.1)
    assert centroids["SH"] == pytest.approx(3300, rel=0.1)
    assert centroids["AO"] < 1000


def test_a_plosive_is_silent_before_its_burst():
    waveform = rendered(VOWEL, *PHONEMES["T"], VOWEL)
    closure = waveform[RATE_HZ + 400 : RATE_HZ + 700]
    assert np.std(closure) < 0.03 * np.std(waveform[:RATE_HZ])


def test_noise_is_below_speech_by_the_signal_to_noise_ratio():
    recording = replace(STUDIO, signal_to_noise_db=20.0)
    silence = rendered(VOWEL, Segment(duration_sec=1.0), recording=recording)[-RATE_HZ // 2 :]
    assert np.std(silence) == pytest.approx(SPEECH_LEVEL / 10.0, rel=0.05)


@pytest.mark.parametrize("level_db", [-6.0, 0.0])
def test_the_level_of_the_recording_is_that_of_the_waveform(level_db):
    waveform = rendered(VOWEL, recording=replace(STUDIO, level_db=level_db))
    assert np.std(waveform) == pytest.approx(SPEECH_LEVEL * 10 ** (level_db / 20), rel=0.01)


def test_a_waveform_that_is_too_loud_is_scaled_not_clipped():
    loud = said("YES", recording=replace(STUDIO, level_db=40.0))
    quiet = said("YES")
    assert np.abs(loud).max() == pytest.approx(0.95)
    np.testing.assert_allclose(loud / 0.95, quiet / np.abs(quiet).max(), atol=1e-6)


def test_every_word_in_every_voice_is_finite_and_below_full_scale():
    random = np.random.default_rng(2)
    for voice in draw_voices(4, random):
        recording = draw_recording(random, signal_to_noise_db=(18.0, 38.0))
        for word in WORDS:
            waveform = said(word, voice=voice, recording=recording)
            assert waveform.dtype == np.float32
            assert np.isfinite(waveform).all()
            assert 0.05 < np.abs(waveform).max() <= 0.95


def test_a_higher_speaking_rate_shortens_the_utterance_as_much():
    slow, fast = (said("DOG", "SKY", voice=replace(VOICE, speaking_rate=r)) for r in (1.0, 1.25))
    assert len(slow) / len(fast) == pytest.approx(1.25, rel=0.01)


def test_a_seed_decides_the_waveform():
    np.testing.assert_array_equal(said("FISH", seed=5), said("FISH", seed=5))
    assert not np.array_equal(said("FISH", seed=5)[:8000], said("FISH", seed=6)[:8000])


def test_words_are_made_of_known_phonemes_and_tokens_of_the_vocabulary():
    assert {phoneme for phonemes in WORDS.values() for phoneme in phonemes} == set(PHONEMES)
    assert all(re.fullmatch("[A-Z']+", word) for word in WORDS)
