"""A speech synthesiser: a voice and its words become a waveform.

Source-filter model: glottal pulses and breath pass through a chain of formant resonators, frication
noise through a band of its own; both change every 5 ms, frame by frame in the frequency domain.
Sources: D. Klatt, "Software for a cascade/parallel formant synthesizer", JASA 67 (1980); the pulse:
D. Klatt and L. Klatt, JASA 87 (1990), KLGLOTT88.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Complex, Float
from scipy import fft, ndimage, signal

from w2v2_mt.core.units import SAMPLE_RATE_HZ, samples_from_seconds
from w2v2_mt.synthetic.phonemes import NASAL_POLE_HZ, PHONEMES, WORDS, Segment
from w2v2_mt.synthetic.voices import Recording, Voice

SPEECH_LEVEL = 0.07
"""Root mean square of the speech of a recording at 0 dB."""

_HOP = samples_from_seconds(0.005)
_WINDOW = np.hanning(4 * _HOP + 1)[:-1] / 2.0  # sums to one at a distance of one hop
_NUM_FFT = 768  # a frame and 28 ms in which its resonances die away
_FREQUENCIES_HZ = fft.rfftfreq(_NUM_FFT, 1.0 / SAMPLE_RATE_HZ)
_PULSE_OVERSAMPLING = 4

_UPPER_FORMANTS_HZ = (3500.0, 4500.0, 5500.0, 6500.0)
_BANDWIDTHS_HZ = (65.0, 90.0, 130.0, 200.0, 250.0, 300.0, 350.0)
_HIGHEST_FORMANT_HZ = 7700.0
_HIGHEST_BAND_HZ = 6800.0
_NASAL_BANDWIDTH_HZ = 100.0


def _track(
    segments: Sequence[Segment], name: str, smoothing_sec: float, neutral: Any = None
) -> np.ndarray:
    """Return the targets of an utterance, one row per 5 ms, smoothed as sluggish organs would.

    Where the target of a segment is None, that of the next one is used, at the end the last one,
    and `neutral` if there are no others.
    """
    edges_sec = np.cumsum(np.array([segment.duration_sec for segment in segments]))
    num_frames = np.diff(np.rint(edges_sec * SAMPLE_RATE_HZ / _HOP).astype(int), prepend=0)
    targets = [getattr(segment, name) for segment in reversed(segments)]
    target = next((known for known in targets if known is not None), neutral)
    known_targets = [target := target if own is None else own for own in targets][::-1]
    steps = np.repeat(np.array(known_targets, dtype=np.float64), num_frames, axis=0)
    kernel = np.hanning(max(1, samples_from_seconds(smoothing_sec) // _HOP) + 2)
    return ndimage.convolve1d(steps, kernel / kernel.sum(), axis=0, mode="nearest")


def _pitch_hz(voice: Voice, num_frames: int, random: np.random.Generator) -> np.ndarray:
    """Return a falling contour with slow bends, around the voice's mean on a logarithmic scale."""
    time = np.linspace(0.0, 1.0, num_frames)
    bends = sum(
        np.sin(2.0 * np.pi * (cycles * time + random.uniform())) / cycles for cycles in (1.0, 2.5)
    )
    semitones = voice.pitch_range_semitones * (0.5 - time + 0.3 * bends)
    flutter = ndimage.gaussian_filter1d(random.normal(size=num_frames), 3.0) * 0.3
    contour = semitones - semitones.mean() + flutter
    return voice.mean_pitch_hz * 2.0 ** (contour / 12.0)


def _per_sample(track: Float[np.ndarray, " frames"]) -> Float[np.ndarray, " samples"]:
    centres = (np.arange(len(track)) + 0.5) * _HOP
    return np.interp(np.arange(len(track) * _HOP), centres, track)


def _voice_source(
    voice: Voice, pitch_hz: Float[np.ndarray, " samples"], breath: Float[np.ndarray, " samples"]
) -> Float[np.ndarray, " samples"]:
    """Return glottal pulses, with breath while the glottis is open.

    The pulses lose `spectral_tilt_db` at 3 kHz, nothing below 300 Hz, evenly over the octaves
    between and above.
    """
    rate = SAMPLE_RATE_HZ * _PULSE_OVERSAMPLING
    phase = np.cumsum(np.repeat(pitch_hz, _PULSE_OVERSAMPLING) / rate) % 1.0
    opening = np.minimum(phase / voice.open_quotient, 1.0)
    # The air flow, 0 to 1, stops abruptly in each period.
    flow = signal.resample_poly(6.75 * opening**2 * (1.0 - opening), 1, _PULSE_OVERSAMPLING)
    frequencies_hz = fft.rfftfreq(len(flow), 1.0 / SAMPLE_RATE_HZ)
    decades = np.log10(np.maximum(frequencies_hz, 300.0) / 300.0)
    tilt = 10.0 ** (-voice.spectral_tilt_db * decades / 20.0)
    pulses = fft.irfft(fft.rfft(np.diff(flow, prepend=0.0)) * tilt, len(flow))
    pulses /= np.sqrt(np.mean(pulses**2))
    return pulses + voice.breathiness * flow * breath


def _polynomial_response(
    frequencies_hz: Float[np.ndarray, "frames roots"], bandwidths_hz: Float[np.ndarray, " roots"]
) -> Complex[np.ndarray, "frames bins"]:
    """Return the response of antiresonances of gain one at 0 Hz; its inverse is of resonances."""
    radii = np.exp(-np.pi * bandwidths_hz / SAMPLE_RATE_HZ)
    middles = -2.0 * radii * np.cos(2.0 * np.pi * frequencies_hz / SAMPLE_RATE_HZ)
    polynomial: Float[np.ndarray, "frames powers"] = np.ones((len(frequencies_hz), 1))
    for middle, radius in zip(middles.T, radii, strict=True):
        longer = np.pad(polynomial, ((0, 0), (0, 2)))
        longer[:, 1:-1] += middle[:, None] * polynomial
        longer[:, 2:] += radius**2 * polynomial
        polynomial = longer
    return fft.rfft(polynomial / polynomial.sum(axis=1, keepdims=True), _NUM_FFT)


def _vocal_tract(
    voice: Voice,
    formants_hz: Float[np.ndarray, "frames 3"],
    nasal_zero_hz: Float[np.ndarray, " frames"],
) -> Complex[np.ndarray, "frames bins"]:
    """Return the response of seven formants and a nasal pole.

    The nasal zero cancels the pole while the nose is closed.
    """
    num_frames = len(formants_hz)
    upper_hz = np.broadcast_to(_UPPER_FORMANTS_HZ, (num_frames, len(_UPPER_FORMANTS_HZ)))
    formants_hz = np.concatenate([formants_hz, upper_hz], axis=1)
    formants_hz = formants_hz * voice.formant_factors * voice.vocal_tract_factor
    pole_hz = np.full((num_frames, 1), NASAL_POLE_HZ * voice.vocal_tract_factor)
    poles = _polynomial_response(
        np.concatenate([np.minimum(formants_hz, _HIGHEST_FORMANT_HZ), pole_hz], axis=1),
        np.array([*(voice.bandwidth_factor * b for b in _BANDWIDTHS_HZ), _NASAL_BANDWIDTH_HZ]),
    )
    zero_hz = nasal_zero_hz[:, None] * voice.vocal_tract_factor
    return _polynomial_response(zero_hz, np.array([_NASAL_BANDWIDTH_HZ])) / poles


def _spectra(
    samples: Float[np.ndarray, " samples"], frames: Any = slice(None)
) -> Complex[np.ndarray, "frames bins"]:
    padded = np.pad(samples, len(_WINDOW) // 2)
    windows = np.lib.stride_tricks.sliding_window_view(padded, len(_WINDOW))[_HOP // 2 :: _HOP]
    return fft.rfft(windows[frames] * _WINDOW, _NUM_FFT)


def _overlap_add(spectra: Complex[np.ndarray, "frames bins"]) -> Float[np.ndarray, " samples"]:
    num_samples = len(spectra) * _HOP
    output = np.zeros(num_samples + _NUM_FFT + _HOP)
    for index, frame in enumerate(fft.irfft(spectra, _NUM_FFT)):
        start = index * _HOP + _HOP // 2
        output[start : start + _NUM_FFT] += frame
    return output[len(_WINDOW) // 2 :][:num_samples]


def render(
    segments: Sequence[Segment], *, voice: Voice, recording: Recording, random: np.random.Generator
) -> Float[np.ndarray, " samples"]:
    """Speak a sequence of segments: float32, 16 kHz, never beyond -1 to 1.

    The speaking rate is not applied to the durations of the segments.
    """
    voicing = _track(segments, "voicing", 0.025)
    pitch_hz = _per_sample(_pitch_hz(voice, len(voicing), random))
    breath, hiss = random.normal(size=(2, len(pitch_hz)))
    voiced = _per_sample(voicing) * _voice_source(voice, pitch_hz, breath)
    excitation = voiced + _per_sample(_track(segments, "aspiration", 0.015)) * breath
    formants_hz = _track(segments, "formants_hz", 0.055, neutral=(500.0, 1500.0, 2500.0))
    nasal_zero_hz = _track(segments, "nasal_zero_hz", 0.025)
    spectra = _spectra(excitation) * _vocal_tract(voice, formants_hz, nasal_zero_hz)

    frication = _track(segments, "frication", 0.015)
    noisy = frication > 1e-4
    band_hz = _track(segments, "band_hz", 0.0, neutral=(4000.0, 1000.0))[noisy]
    centres_hz, widths_hz = np.split(band_hz * voice.vocal_tract_factor, 2, axis=1)
    centres_hz = np.minimum(centres_hz, _HIGHEST_BAND_HZ)
    bands = np.exp(-0.5 * ((_FREQUENCIES_HZ - centres_hz) / widths_hz) ** 2)
    bands /= np.sqrt(np.mean(bands**2, axis=1, keepdims=True))
    spectra[noisy] += _spectra(_per_sample(frication) * hiss, noisy) * bands

    octaves = np.log2(np.maximum(_FREQUENCIES_HZ, 60.0) / 1000.0)
    ripple = recording.ripple_db * np.sin(2.0 * octaves + recording.ripple_phase)
    channel = 10.0 ** ((recording.equaliser_db_per_octave * octaves + ripple) / 20.0)
    speech = _overlap_add(spectra * channel)
    speech /= np.sqrt(np.mean(speech**2))
    frequencies_hz = fft.rfftfreq(len(speech), 1.0 / SAMPLE_RATE_HZ)
    colour = np.maximum(frequencies_hz, 60.0) ** (-recording.noise_slope / 2.0)
    noise = fft.irfft(fft.rfft(random.normal(size=len(speech))) * colour, len(speech))
    noise = noise / np.sqrt(np.mean(noise**2)) * 10.0 ** (-recording.signal_to_noise_db / 20.0)
    waveform = SPEECH_LEVEL * 10.0 ** (recording.level_db / 20.0) * (speech + noise)
    return (waveform / max(1.0, np.abs(waveform).max() / 0.95)).astype(np.float32)


def synthesise(
    words: Sequence[str], *, voice: Voice, recording: Recording, random: np.random.Generator
) -> Float[np.ndarray, " samples"]:
    """Speak words of the vocabulary with short pauses: float32, 16 kHz, never beyond -1 to 1."""
    segments = [Segment(duration_sec=random.uniform(0.08, 0.14))]
    for word in words:
        segments += [segment for phoneme in WORDS[word] for segment in PHONEMES[phoneme]]
        segments.append(Segment(duration_sec=random.uniform(0.07, 0.12)))
    segments[-1] = Segment(duration_sec=random.uniform(0.08, 0.14))
    hurries = random.uniform(0.92, 1.08, size=len(segments)) * voice.speaking_rate
    timed = [
        replace(segment, duration_sec=segment.duration_sec / hurry)
        for segment, hurry in zip(segments, hurries, strict=True)
    ]
    return render(timed, voice=voice, recording=recording, random=random)
