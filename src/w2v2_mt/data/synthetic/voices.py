"""Who speaks in the synthetic corpus, and over which channel: voices and recordings."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

Sex = Literal["f", "m"]

NUM_FORMANTS = 7


@dataclass(frozen=True, kw_only=True)
class Voice:
    """What stays the same in everything a speaker says.

    `vocal_tract_factor` multiplies every formant (1 = adult male, more = a shorter tract), on top
    of it `formant_factors` each its own. `spectral_tilt_db` is lost at 3 kHz, negative if brighter;
    `breathiness` is the amplitude of breath relative to the voice; `speaking_rate` divides
    durations.
    """

    sex: Sex
    mean_pitch_hz: float
    pitch_range_semitones: float
    vocal_tract_factor: float
    formant_factors: tuple[float, ...]
    bandwidth_factor: float
    open_quotient: float
    spectral_tilt_db: float
    breathiness: float
    speaking_rate: float


@dataclass(frozen=True, kw_only=True)
class Recording:
    """What stays the same in one video or chapter: its level, its equaliser and its noise.

    `ripple_phase` (radians) places a mild ripple of `ripple_db` over the logarithmic frequency;
    `noise_slope` is the power of 1/f in the noise, 0 = white.
    """

    level_db: float
    equaliser_db_per_octave: float
    ripple_db: float
    ripple_phase: float
    signal_to_noise_db: float
    noise_slope: float


_PITCH_HZ = {"m": (82.0, 158.0), "f": (165.0, 290.0)}
_VOCAL_TRACT_FACTOR = {"m": (0.88, 1.08), "f": (1.02, 1.24)}
_FORMANT_SPREAD = (0.04, 0.05, 0.06, 0.11, 0.11, 0.10, 0.08)
"""How far a single formant strays: little where it tells sounds apart, more above."""


def _stratified(
    count: int, num_attributes: int, random: np.random.Generator
) -> Float[np.ndarray, "count attributes"]:
    """Uniform numbers, each column evenly spread over 0 to 1 (a Latin hypercube)."""
    ranks = np.stack([random.permutation(count) for _ in range(num_attributes)], axis=1)
    return (ranks + random.uniform(size=ranks.shape)) / count


def _between(share: float, low: float, high: float) -> float:
    return float(low + share * (high - low))


def _log_between(share: float, low: float, high: float) -> float:
    return float(low * (high / low) ** share)


def _voice(sex: Sex, shares: Float[np.ndarray, " attributes"]) -> Voice:
    own, formants = shares[:-NUM_FORMANTS], shares[-NUM_FORMANTS:]
    return Voice(
        sex=sex,
        mean_pitch_hz=_log_between(own[0], *_PITCH_HZ[sex]),
        vocal_tract_factor=_log_between(own[1], *_VOCAL_TRACT_FACTOR[sex]),
        bandwidth_factor=_log_between(own[2], 0.7, 1.5),
        open_quotient=_between(own[3], 0.4, 0.75),
        spectral_tilt_db=_between(own[4], -6.0, 9.0),
        breathiness=_log_between(own[5], 0.01, 0.2),
        speaking_rate=_log_between(own[6], 0.9, 1.12),
        pitch_range_semitones=_between(own[7], 0.5, 2.5),
        formant_factors=tuple(
            1.0 + spread * (2.0 * float(share) - 1.0)
            for share, spread in zip(formants, _FORMANT_SPREAD, strict=True)
        ),
    )


def draw_voices(count: int, random: np.random.Generator) -> list[Voice]:
    """Voices of alternating sex; those of one sex are spread evenly over each attribute's range."""
    counts: dict[Sex, int] = {"f": (count + 1) // 2, "m": count // 2}
    of_sex = {
        sex: [_voice(sex, shares) for shares in _stratified(number, 8 + NUM_FORMANTS, random)]
        for sex, number in counts.items()
    }
    return [of_sex["m" if index % 2 else "f"][index // 2] for index in range(count)]


def draw_recording(
    random: np.random.Generator, *, signal_to_noise_db: tuple[float, float]
) -> Recording:
    """A channel: mild enough never to hide who speaks."""
    return Recording(
        level_db=float(random.uniform(-4.0, 4.0)),
        equaliser_db_per_octave=float(random.uniform(-0.5, 0.5)),
        ripple_db=float(random.uniform(0.0, 1.0)),
        ripple_phase=float(random.uniform(0.0, 2.0 * np.pi)),
        signal_to_noise_db=float(random.uniform(*signal_to_noise_db)),
        noise_slope=float(random.uniform(0.8, 1.6)),
    )
