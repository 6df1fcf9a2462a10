"""A speech synthesiser: a voice and its words become a waveform.

Source-filter model: glottal pulses and breath pass through a chain of formant resonators, frication
noise through a band of its own; both change every 5 ms, frame by frame in the frequency domain.
Sources: D. Klatt, "Software for a cascade/parallel formant synthesizer", JASA 67 (1980); the pulse:
D. Klatt and L. Klatt, JASA 87 (1990), KLGLOTT88.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Complex, Float
from scipy import fft, ndimage, signal

from w2v2_mt.core.units import SAMPLE_RATE_HZ, samples_from_seconds
from w2v2_mt.data.synthetic.phonemes import Segment, pause, pronounce
from w2v2_mt.data.synthetic.voices import Recording, Voice

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
_NASAL_POLE_HZ = 270.0
_NASAL_BANDWIDTH_HZ = 100.0
_NEUTRAL_FORMANTS_HZ = (500.0, 1500.0, 2500.0)
_SILENT = 1e-4


@dataclass(frozen=True, kw_only=True)
class _Tracks:
    """The targets of an utterance, one row per 5 ms, smoothed as sluggish organs would."""

    formants_hz: Float[np.ndarray, "frames 3"]
    nasal_zero_hz: Float[np.ndarray, " frames"]
    voicing: Float[np.ndarray, " frames"]
    aspiration: Float[np.ndarray, " frames"]
    frication: Float[np.ndarray, " frames"]
    band_hz: Float[np.ndarray, "frames 2"]

    @classmethod
    def of(cls, segments: Sequence[Segment]) -> "_Tracks":
        durations_sec = np.array([segment.duration_sec for segment in segments])
        edges = np.rint(np.cumsum(durations_sec) * SAMPLE_RATE_HZ / _HOP).astype(int)
        num_frames = np.diff(edges, prepend=0)

        def track(targets: Sequence[object], smoothing_sec: float) -> np.ndarray:
            steps = np.repeat(np.array(targets, dtype=np.float64), num_frames, axis=0)
            width = max(1, samples_from_seconds(smoothing_sec) // _HOP)
            kernel = np.hanning(width + 2)
            return ndimage.convolve1d(steps, kernel / kernel.sum(), axis=0, mode="nearest")

        return cls(
            formants_hz=track(_known([segment.formants_hz for segment in segments]), 0.055),
            nasal_zero_hz=track([s.nasal_zero_hz or _NASAL_POLE_HZ for s in segments], 0.025),
            voicing=track([segment.voicing for segment in segments], 0.025),
            aspiration=track([segment.aspiration for segment in segments], 0.015),
            frication=track([segment.frication for segment in segments], 0.015),
            band_hz=track(
                _known([segment.band_hz for segment in segments], otherwise=(4000.0, 1000.0)), 0.0
            ),
        )


def _known(
    targets: Sequence[tuple[float, ...] | None], otherwise: tuple[float, ...] = _NEUTRAL_FORMANTS_HZ
) -> list[tuple[float, ...]]:
    """Fill gaps with the next known target, at the end with the last one."""
    filled: list[tuple[float, ...]] = []
    upcoming = next((target for target in reversed(targets) if target is not None), otherwise)
    for target in reversed(targets):
        upcoming = upcoming if target is None else target
        filled.append(upcoming)
    return filled[::-1]


def _pitch_hz(voice: Voice, num_frames: int, random: np.random.Generator) -> np.ndarray:
    """A falling contour with slow bends, around the voice's mean on a logarithmic scale."""
    time = np.linspace(0.0, 1.0, num_frames)
    bends = sum(
        np.sin(2.0 * np.pi * (cycles * time + random.uniform())) / cycles for cycles in (1.0, 2.5)
    )
    semitones = voice.pitch_range_semitones * (0.5 - time + 0.3 * bends)
    flutter = ndimage.gaussian_filter1d(random.normal(size=num_frames), 3.0) * 0.3
    contour = semitones - semitones.mean() + flutter
    return voice.mean_pitch_hz * 2.0 ** (contour / 12.0)


def _per_sample(track: Float[np.ndarray, " frames"], num_samples: int) -> np.ndarray:
    centres = (np.arange(len(track)) + 0.5) * _HOP
    return np.interp(np.arange(num_samples), centres, track)


def _glottal_flow(
    voice: Voice, pitch_hz: Float[np.ndarray, " samples"]
) -> Float[np.ndarray, " samples"]:
    """Air through the glottis, 0 to 1: open for a part of each period, then shut at once."""
    rate = SAMPLE_RATE_HZ * _PULSE_OVERSAMPLING
    phase = np.cumsum(np.repeat(pitch_hz, _PULSE_OVERSAMPLING) / rate) % 1.0
    opening = np.minimum(phase / voice.open_quotient, 1.0)
    flow = 6.75 * opening**2 * (1.0 - opening)
    return signal.resample_poly(flow, 1, _PULSE_OVERSAMPLING)


def _softened(
    source: Float[np.ndarray, " samples"], tilt_db: float
) -> Float[np.ndarray, " samples"]:
    """Lose `tilt_db` at 3 kHz, nothing below 300 Hz, evenly over the octaves between and above."""
    frequencies_hz = fft.rfftfreq(len(source), 1.0 / SAMPLE_RATE_HZ)
    decades = np.log10(np.maximum(frequencies_hz, 300.0) / 300.0)
    return fft.irfft(fft.rfft(source) * 10.0 ** (-tilt_db * decades / 20.0), len(source))


def _polynomial_response(
    frequencies_hz: Float[np.ndarray, "frames roots"], bandwidths_hz: Float[np.ndarray, " roots"]
) -> Complex[np.ndarray, "frames bins"]:
    """A chain of antiresonances of gain one at 0 Hz; a chain of resonances is one over it."""
    radii = np.exp(-np.pi * bandwidths_hz / SAMPLE_RATE_HZ)
    middles = -2.0 * radii * np.cos(2.0 * np.pi * frequencies_hz / SAMPLE_RATE_HZ)
    polynomial: Float[np.ndarray, "frames powers"] = np.ones((len(frequencies_hz), 1))
    for middle, radius in zip(middles.T, radii, strict=True):
        longer = np.pad(polynomial, ((0, 0), (0, 2)))
        longer[:, 1:-1] += middle[:, None] * polynomial
        longer[:, 2:] += radius**2 * polynomial
        polynomial = longer
    return fft.rfft(polynomial / polynomial.sum(axis=1, keepdims=True), _NUM_FFT)


def _vocal_tract(voice: Voice, tracks: _Tracks) -> Complex[np.ndarray, "frames bins"]:
    """Seven formants and a nasal pole, which the nasal zero cancels while the nose is closed."""
    num_frames = len(tracks.voicing)
    upper_hz = np.broadcast_to(_UPPER_FORMANTS_HZ, (num_frames, len(_UPPER_FORMANTS_HZ)))
    formants_hz = np.concatenate([tracks.formants_hz, upper_hz], axis=1)
    formants_hz = formants_hz * voice.formant_factors * voice.vocal_tract_factor
    pole_hz = np.full((num_frames, 1), _NASAL_POLE_HZ * voice.vocal_tract_factor)
    poles = _polynomial_response(
        np.concatenate([np.minimum(formants_hz, _HIGHEST_FORMANT_HZ), pole_hz], axis=1),
        np.array([*(voice.bandwidth_factor * b for b in _BANDWIDTHS_HZ), _NASAL_BANDWIDTH_HZ]),
    )
    zero_hz = tracks.nasal_zero_hz[:, None] * voice.vocal_tract_factor
    return _polynomial_response(zero_hz, np.array([_NASAL_BANDWIDTH_HZ])) / poles


def _framed(samples: Float[np.ndarray, " samples"]) -> Float[np.ndarray, "frames window"]:
    padded = np.pad(samples, len(_WINDOW) // 2)
    return np.lib.stride_tricks.sliding_window_view(padded, len(_WINDOW))[_HOP // 2 :: _HOP]


def _spectra(frames: Float[np.ndarray, "frames window"]) -> Complex[np.ndarray, "frames bins"]:
    return fft.rfft(frames * _WINDOW, _NUM_FFT)


def _overlap_added(
    spectra: Complex[np.ndarray, "frames bins"], num_samples: int
) -> Float[np.ndarray, " samples"]:
    output = np.zeros(num_samples + _NUM_FFT + _HOP)
    for index, frame in enumerate(fft.irfft(spectra, _NUM_FFT)):
        start = index * _HOP + _HOP // 2
        output[start : start + _NUM_FFT] += frame
    return output[len(_WINDOW) // 2 :][:num_samples]


def _channel(recording: Recording) -> Float[np.ndarray, " bins"]:
    octaves = np.log2(np.maximum(_FREQUENCIES_HZ, 60.0) / 1000.0)
    ripple = recording.ripple_db * np.sin(2.0 * octaves + recording.ripple_phase)
    return 10.0 ** ((recording.equaliser_db_per_octave * octaves + ripple) / 20.0)


def _noise(
    recording: Recording, num_samples: int, random: np.random.Generator
) -> Float[np.ndarray, " samples"]:
    frequencies_hz = fft.rfftfreq(num_samples, 1.0 / SAMPLE_RATE_HZ)
    colour = np.maximum(frequencies_hz, 60.0) ** (-recording.noise_slope / 2.0)
    noise = fft.irfft(fft.rfft(random.normal(size=num_samples)) * colour, num_samples)
    return noise / np.sqrt(np.mean(noise**2)) * 10.0 ** (-recording.signal_to_noise_db / 20.0)


def render(
    segments: Sequence[Segment], *, voice: Voice, recording: Recording, random: np.random.Generator
) -> Float[np.ndarray, " samples"]:
    """Speak a sequence of segments: float32, 16 kHz, never beyond -1 to 1.

    The speaking rate is not applied to the durations of the segments.
    """
    tracks = _Tracks.of(segments)
    num_samples = len(tracks.voicing) * _HOP
    pitch_hz = _per_sample(_pitch_hz(voice, len(tracks.voicing), random), num_samples)
    flow = _glottal_flow(voice, pitch_hz)
    pulses = _softened(np.diff(flow, prepend=0.0), voice.spectral_tilt_db)
    pulses /= np.sqrt(np.mean(pulses**2))
    breath, hiss = random.normal(size=(2, num_samples))
    voiced = _per_sample(tracks.voicing, num_samples) * (pulses + voice.breathiness * flow * breath)
    excitation = voiced + _per_sample(tracks.aspiration, num_samples) * breath
    spectra = _spectra(_framed(excitation)) * _vocal_tract(voice, tracks)

    noisy = tracks.frication > _SILENT
    centres_hz, widths_hz = np.split(tracks.band_hz[noisy] * voice.vocal_tract_factor, 2, axis=1)
    centres_hz = np.minimum(centres_hz, _HIGHEST_BAND_HZ)
    bands = np.exp(-0.5 * ((_FREQUENCIES_HZ - centres_hz) / widths_hz) ** 2)
    bands /= np.sqrt(np.mean(bands**2, axis=1, keepdims=True))
    hissing = _framed(_per_sample(tracks.frication, num_samples) * hiss)
    spectra[noisy] += _spectra(hissing[noisy]) * bands

    speech = _overlap_added(spectra * _channel(recording), num_samples)
    speech /= np.sqrt(np.mean(speech**2))
    level = SPEECH_LEVEL * 10.0 ** (recording.level_db / 20.0)
    waveform = level * (speech + _noise(recording, num_samples, random))
    return (waveform / max(1.0, np.abs(waveform).max() / 0.95)).astype(np.float32)


def synthesise(
    words: Sequence[str], *, voice: Voice, recording: Recording, random: np.random.Generator
) -> Float[np.ndarray, " samples"]:
    """Speak words of the vocabulary with short pauses: float32, 16 kHz, never beyond -1 to 1.

    Raises ValueError for no words and for a word outside the vocabulary.
    """
    if not words:
        raise ValueError("there are 0 words to say, but at least 1 is needed; give some.")
    segments = [pause(random.uniform(0.08, 0.14))]
    for word in words:
        segments += [*pronounce(word), pause(random.uniform(0.07, 0.12))]
    segments[-1] = pause(random.uniform(0.08, 0.14))
    hurries = random.uniform(0.92, 1.08, size=len(segments)) * voice.speaking_rate
    return render(
        [
            replace(segment, duration_sec=segment.duration_sec / hurry)
            for segment, hurry in zip(segments, hurries, strict=True)
        ],
        voice=voice,
        recording=recording,
        random=random,
    )
