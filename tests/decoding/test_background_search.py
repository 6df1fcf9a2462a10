import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch

from w2v2_mt.decoding import background_search
from w2v2_mt.decoding.background_search import BackgroundSearch
from w2v2_mt.decoding.beam_search import BeamSearch, BeamSearchSettings
from w2v2_mt.decoding.tokenizer import LetterTokenizer

SETTINGS = BeamSearchSettings(
    width=8,
    min_letter_probability=1e-3,
    language_model_path=None,
    language_model_weight=0.5,
    word_bonus=0.0,
)


def search(num_processes):
    settings = replace(SETTINGS, num_processes=num_processes)
    return BeamSearch(settings=settings, tokenizer=LetterTokenizer(vocabulary_path=None))


@pytest.mark.parametrize("num_processes", [0, 2])
def test_each_row_gets_the_text_of_its_valid_frames(num_processes):
    generator = torch.Generator().manual_seed(1)
    batches = 3 * torch.randn(4, 3, 20, 32, generator=generator)
    num_frames = torch.tensor([20, 7, 0])
    beam = search(num_processes)
    with BackgroundSearch(beam) as background:
        found = [background.begin_batch(logits, num_frames) for logits in batches]
        texts = [batch() for batch in found]
    assert texts == [
        [
            beam.decode(row[:length].log_softmax(dim=-1).numpy())
            for row, length in zip(logits, num_frames.tolist(), strict=True)
        ]
        for logits in batches
    ]
    assert len({text for batch in texts for text in batch}) > 4


def killed(_: np.ndarray) -> str:
    os.kill(os.getpid(), signal.SIGKILL)
    return ""


def test_a_killed_process_is_one_sentence(monkeypatch):
    monkeypatch.setattr(background_search, "_search", killed)
    with BackgroundSearch(search(1)) as background:
        texts = background.begin_batch(torch.zeros(1, 5, 32), torch.tensor([5]))
        with pytest.raises(OSError, match="a worker was killed from outside"):
            texts()
