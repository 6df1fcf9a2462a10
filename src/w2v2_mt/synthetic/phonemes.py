"""The pronunciations of the synthetic corpus: each sound as a row of acoustic targets.

Formants are those of an adult male. Source of the vowels: G. Peterson and H. Barney, "Control
methods used in a study of the vowels", JASA 24 (1952), table II; the diphthongs glide between
vowels. The consonants have typical places, rounded and set apart from each other.
"""

from dataclasses import dataclass

Formants = tuple[float, float, float]
Band = tuple[float, float]

NASAL_POLE_HZ = 270.0


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A stretch of speech that aims at constant targets.

    `formants_hz` are F1 to F3; None takes those of the next sound, or of the last one. Levels are
    amplitudes, 1 being the voice of a vowel: `voicing` and `aspiration` pass through the vocal
    tract, `frication` is noise in the band `band_hz` (centre, width). A `nasal_zero_hz` other than
    that of the pole opens the nose.
    """

    duration_sec: float
    formants_hz: Formants | None = None
    voicing: float = 0.0
    aspiration: float = 0.0
    frication: float = 0.0
    band_hz: Band | None = None
    nasal_zero_hz: float = NASAL_POLE_HZ


def _sonorant(duration_sec: float, *formants: Formants, level: float = 1.0) -> tuple[Segment, ...]:
    share = duration_sec / len(formants)
    return tuple(Segment(duration_sec=share, formants_hz=each, voicing=level) for each in formants)


def _nasal(formants: Formants, zero_hz: float) -> tuple[Segment, ...]:
    return (Segment(duration_sec=0.09, formants_hz=formants, voicing=0.6, nasal_zero_hz=zero_hz),)


def _fricative(formants: Formants, band_hz: Band, *, level: float) -> tuple[Segment, ...]:
    return (Segment(duration_sec=0.13, formants_hz=formants, frication=level, band_hz=band_hz),)


def _plosive(locus: Formants, band_hz: Band, *, is_voiced: bool) -> tuple[Segment, ...]:
    closure = Segment(duration_sec=0.06, formants_hz=locus, voicing=0.12 if is_voiced else 0.0)
    burst = Segment(duration_sec=0.015, formants_hz=locus, frication=0.8, band_hz=band_hz)
    release = () if is_voiced else (Segment(duration_sec=0.03, aspiration=0.12),)
    return closure, burst, *release


PHONEMES: dict[str, tuple[Segment, ...]] = {
    "IY": _sonorant(0.18, (270, 2290, 3010)),
    "IH": _sonorant(0.13, (390, 1990, 2550)),
    "EH": _sonorant(0.15, (530, 1840, 2480)),
    "AE": _sonorant(0.17, (660, 1720, 2410)),
    "AO": _sonorant(0.19, (570, 840, 2410)),
    "UW": _sonorant(0.20, (300, 870, 2240)),
    "ER": _sonorant(0.16, (490, 1350, 1690)),
    "EY": _sonorant(0.20, (500, 1870, 2500), (340, 2160, 2700)),
    "OW": _sonorant(0.24, (570, 1000, 2400), (380, 840, 2300)),
    "AY": _sonorant(0.24, (730, 1200, 2450), (390, 1990, 2550)),
    "AW": _sonorant(0.24, (730, 1250, 2450), (420, 900, 2300)),
    "Y": _sonorant(0.07, (270, 2250, 3000), level=0.8),
    "W": _sonorant(0.08, (300, 640, 2200), level=0.8),
    "L": _sonorant(0.08, (360, 1050, 2800), level=0.7),
    "R": _sonorant(0.08, (340, 1100, 1450), level=0.8),
    "M": _nasal((280, 1000, 2200), 1000),
    "N": _nasal((280, 1500, 2500), 1700),
    "S": _fricative((320, 1400, 2530), (6200, 1000), level=0.5),
    "SH": _fricative((300, 1850, 2650), (3300, 800), level=0.6),
    "F": _fricative((340, 1100, 2080), (4500, 3500), level=0.25),
    "HH": (Segment(duration_sec=0.08, aspiration=0.2),),
    "B": _plosive((250, 800, 2100), (700, 700), is_voiced=True),
    "D": _plosive((250, 1700, 2700), (4200, 1500), is_voiced=True),
    "G": _plosive((250, 1500, 2000), (2000, 600), is_voiced=True),
    "P": _plosive((300, 900, 2100), (900, 900), is_voiced=False),
    "T": _plosive((300, 1700, 2700), (4800, 1500), is_voiced=False),
    "K": _plosive((300, 1600, 2000), (2100, 600), is_voiced=False),
}

WORDS: dict[str, tuple[str, ...]] = {
    "BLUE": ("B", "L", "UW"),
    "DOG": ("D", "AO", "G"),
    "FISH": ("F", "IH", "SH"),
    "HOUSE": ("HH", "AW", "S"),
    "I'M": ("AY", "M"),
    "LAMP": ("L", "AE", "M", "P"),
    "NO": ("N", "OW"),
    "RAIN": ("R", "EY", "N"),
    "SHE": ("SH", "IY"),
    "SKY": ("S", "K", "AY"),
    "WATER": ("W", "AO", "T", "ER"),
    "YES": ("Y", "EH", "S"),
}
"""The whole vocabulary: short, and no two alike, so that a small network learns it in minutes."""
