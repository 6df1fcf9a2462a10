"""Measure how often the comparison of two runs finds a difference: where there is none, and one.

Each draw is a test of two systems on new speakers, for which `w2v2-mt compare` computes a p value.
Without a difference, 5 % of the p values should be below 0.05; with one, as many as possible.

Scores and errors are made up: from noise alone, from traits of the speakers that both systems share
or that each has of its own, and as cosines of embeddings of speakers and utterances. Runs in a few
minutes on one core; the seed decides all numbers.
"""

import argparse
from collections.abc import Callable

import numpy as np

from w2v2_mt.metrics.paired_difference import equal_error_rate_difference, error_rate_difference

UTTERANCES_PER_SPEAKER = 12
Scores = tuple[np.ndarray, np.ndarray]


def draw_trials(generator: np.random.Generator, num_speakers: int, num_each: int) -> np.ndarray:
    """Return pairs of utterances, `num_each` of one speaker, then as many of two speakers."""
    num = num_speakers * UTTERANCES_PER_SPEAKER
    left = generator.integers(num, size=4 * num_each)
    offset = generator.integers(1, UTTERANCES_PER_SPEAKER, size=len(left))
    speaker, utterance = np.divmod(left, UTTERANCES_PER_SPEAKER)
    same = speaker * UTTERANCES_PER_SPEAKER + (utterance + offset) % UTTERANCES_PER_SPEAKER
    other = generator.integers(num, size=len(left))
    is_other = other // UTTERANCES_PER_SPEAKER != speaker
    return np.concatenate(
        [
            np.stack([left, same], axis=1)[:num_each],
            np.stack([left, other], axis=1)[is_other][:num_each],
        ]
    )


def additive(shared: float, own: float) -> Callable[..., Scores]:
    """Scores with normal traits of speakers of these deviations, and noise of deviation 1."""

    def draw(
        generator: np.random.Generator, pairs: np.ndarray, num_speakers: int, gain: float
    ) -> Scores:
        speakers = pairs // UTTERANCES_PER_SPEAKER
        is_target = speakers[:, 0] == speakers[:, 1]

        def traits(deviation: float) -> np.ndarray:
            of_targets, of_impostors = generator.normal(size=(2, num_speakers)) * deviation
            both = of_impostors[speakers].sum(axis=1) / 2**0.5
            return np.where(is_target, of_targets[speakers[:, 0]], both)

        alike = traits(shared)
        first, second = (
            distance * is_target + alike + traits(own) + generator.normal(size=len(pairs))
            for distance in (3.0, 3.0 + gain)
        )
        return first, second

    return draw


def embedded(shared: float) -> Callable[..., Scores]:
    """Cosines of embeddings of which this share is the same for both systems."""

    def draw(
        generator: np.random.Generator, pairs: np.ndarray, num_speakers: int, gain: float
    ) -> Scores:
        def vectors(num: int) -> np.ndarray:
            same, *own = generator.normal(size=(3, num, 16))
            return np.array([shared**0.5 * same + (1 - shared) ** 0.5 * each for each in own])

        voices = np.repeat(vectors(num_speakers), UTTERANCES_PER_SPEAKER, axis=1)
        noises = vectors(num_speakers * UTTERANCES_PER_SPEAKER)
        scores = []
        for voice, noise, scale in zip(voices, noises, (1.2, 1.2 - gain / 2), strict=True):
            embeddings = voice + scale * noise
            embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
            scores.append((embeddings[pairs[:, 0]] * embeddings[pairs[:, 1]]).sum(axis=1))
        return scores[0], scores[1]

    return draw


DESIGNS = {
    "noise": additive(0, 0),
    "shared traits": additive(0.7, 0),
    "own traits": additive(0, 0.5),
    "both traits": additive(0.7, 0.5),
    "embeddings, half shared": embedded(0.5),
    "embeddings, 0.9 shared": embedded(0.9),
}


def rejections_of_scores(
    design: str, *, num_speakers: int, num_each: int, gain: float, num_draws: int, seed: int
) -> float:
    """Return the share of draws whose equal error rates differ significantly."""
    generator = np.random.default_rng(seed)
    num = 0
    for _ in range(num_draws):
        pairs = draw_trials(generator, num_speakers, num_each)
        first, second = DESIGNS[design](generator, pairs, num_speakers, gain)
        speakers = pairs // UTTERANCES_PER_SPEAKER
        labels = (speakers[:, 0] == speakers[:, 1]).astype(int)
        found = equal_error_rate_difference(
            [first], [second], labels, speakers.astype(str).tolist()
        )
        num += found.p_value < 0.05
    return num / num_draws


def rejections_of_words(*, num_speakers: int, gain: float, num_draws: int, seed: int) -> float:
    """Return the share of draws whose word error rates differ significantly.

    Speakers have 5 to 25 utterances of 20 words; an error rate of 10 % on average, up to 20 % for
    some of them, and rates of their own of each system.
    """
    generator = np.random.default_rng(seed)
    num = 0
    for _ in range(num_draws):
        speakers = np.repeat(np.arange(num_speakers), generator.integers(5, 26, size=num_speakers))
        hard = generator.uniform(0, 2, size=num_speakers)
        own = generator.uniform(0.8, 1.2, size=(2, num_speakers))
        first, second = (
            generator.binomial(20, rate * (hard * each)[speakers])
            for rate, each in zip((0.1, 0.1 - gain), own, strict=True)
        )
        words = np.full(len(speakers), 20)
        found = error_rate_difference([first], [second], words, speakers.astype(str).tolist())
        num += found.p_value < 0.05
    return num / num_draws


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--num_draws", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    common = {"num_draws": options.num_draws, "seed": options.seed}
    print("| test | speakers | trials | p < .05 without a difference | with one |")
    print("|---|---|---|---|---|")
    for num_speakers, num_each in ((20, 1000), (40, 1000), (40, 2000)):
        for design in DESIGNS:
            rates = [
                rejections_of_scores(
                    design, num_speakers=num_speakers, num_each=num_each, gain=gain, **common
                )
                for gain in (0.0, 0.4)
            ]
            cells = f"{100 * rates[0]:.1f} % | {100 * rates[1]:.1f} %"
            print(f"| EER, {design} | {num_speakers} | {2 * num_each} | {cells} |", flush=True)
    for num_speakers in (8, 20, 40):
        rates = [
            rejections_of_words(num_speakers=num_speakers, gain=gain, **common)
            for gain in (0.0, 0.02)
        ]
        cells = f"{100 * rates[0]:.1f} % | {100 * rates[1]:.1f} %"
        print(f"| WER | {num_speakers} | - | {cells} |", flush=True)


if __name__ == "__main__":
    main()
