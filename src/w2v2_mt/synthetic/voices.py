"""The voices and recording channels of the synthetic corpus."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

Sex = Literal["f", "m"]


@dataclass(frozen=True, kw_only=True)
class Voice:
    """The properties of a speaker, the same in all utterances.

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
    """The channel of a video or chapter: its level, equaliser and noise.

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
"""Spread of each formant: small for those that distinguish sounds, larger for higher ones."""


def _between(share: float, low: float, high: float) -> float:
    return float(low + share * (high - low))


def _log_between(share: float, low: float, high: float) -> float:
    return float(low * (high / low) ** share)


def _make_voice(sex: Sex, shares: Float[np.ndarray, " attributes"]) -> Voice:
    return Voice(
        sex=sex,
        mean_pitch_hz=_log_between(shares[0], *_PITCH_HZ[sex]),
        vocal_tract_factor=_log_between(shares[1], *_VOCAL_TRACT_FACTOR[sex]),
        bandwidth_factor=_log_between(shares[2], 0.7, 1.5),
        open_quotient=_between(shares[3], 0.4, 0.75),
        spectral_tilt_db=_between(shares[4], -6.0, 9.0),
        breathiness=_log_between(shares[5], 0.01, 0.2),
        speaking_rate=_log_between(shares[6], 0.9, 1.12),
        pitch_range_semitones=_between(shares[7], 0.5, 2.5),
        formant_factors=tuple(
            1.0 + spread * (2.0 * float(share) - 1.0)
            for share, spread in zip(shares[8:], _FORMANT_SPREAD, strict=True)
        ),
    )


def draw_voices(count: int, random: np.random.Generator) -> list[Voice]:
    """Draw voices of alternating sex; in each, a Latin hypercube spreads each attribute evenly."""
    numbers: dict[Sex, int] = {"f": (count + 1) // 2, "m": count // 2}
    voices: dict[Sex, list[Voice]] = {}
    for sex, number in numbers.items():
        columns = [random.permutation(number) for _ in range(8 + len(_FORMANT_SPREAD))]
        ranks = np.stack(columns, axis=1)
        shares = (ranks + random.uniform(size=ranks.shape)) / number
        voices[sex] = [_make_voice(sex, row) for row in shares]
    return [voices["m" if index % 2 else "f"][index // 2] for index in range(count)]


def draw_recording(
    random: np.random.Generator, *, signal_to_noise_db: tuple[float, float]
) -> Recording:
    """Draw a channel that is mild enough never to hide who speaks."""
    return Recording(
        level_db=random.uniform(-4.0, 4.0),
        equaliser_db_per_octave=random.uniform(-0.5, 0.5),
        ripple_db=random.uniform(0.0, 1.0),
        ripple_phase=random.uniform(0.0, 2.0 * np.pi),
        signal_to_noise_db=random.uniform(*signal_to_noise_db),
        noise_slope=random.uniform(0.8, 1.6),
    )
