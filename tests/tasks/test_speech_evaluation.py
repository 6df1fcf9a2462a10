from contextlib import closing
from dataclasses import replace

import pytest
import torch

from tests.helpers.language_models import bigram_model, write_arpa
from w2v2_mt.core.batches import SpeechBatch
from w2v2_mt.core.samples import SpeechSample
from w2v2_mt.decoding.beam_search import BeamSearch, BeamSearchSettings
from w2v2_mt.decoding.tokenizer import LetterTokenizer
from w2v2_mt.losses.ctc import CtcLoss
from w2v2_mt.models.heads import SpeechOutput
from w2v2_mt.tasks.speech_evaluation import SpeechEvaluation


def test_a_test_is_decoded_by_the_beam_and_a_validation_greedily(tmp_path):
    tokenizer = LetterTokenizer(vocabulary_path=None)
    settings = BeamSearchSettings(
        width=10,
        min_letter_probability=1e-4,
        language_model_path=str(write_arpa(tmp_path / "lm.arpa", bigram_model(["A CAT"] * 5))),
        language_model_weight=1.0,
        word_bonus=0.0,
    )
    beam_search = BeamSearch(settings=settings, tokenizer=tokenizer)
    # Sounds like KAT, and almost as much like CAT.
    logits = 6 * torch.eye(32)[tokenizer.encode("A KAT")]
    logits[2, tokenizer.encode("C")] = 5.5
    batch = SpeechBatch.collate(
        [
            SpeechSample(
                key="1/1/1",
                waveform=torch.zeros(2000),
                transcription="A CAT",
                tokens=tokenizer.encode("A CAT"),
            )
        ],
        set_name="clean",
    )
    output = SpeechOutput(logits=logits[None], num_frames=torch.tensor([5]))

    others = BeamSearch(settings=replace(settings, num_processes=2), tokenizer=tokenizer)
    for beam, text in ((None, "A KAT"), (beam_search, "A CAT"), (others, "A CAT")):
        evaluation = SpeechEvaluation(
            loss=CtcLoss(blank_index=0), tokenizer=tokenizer, beam_search=beam
        )
        evaluation.add_validated(output, batch)
        with closing(evaluation):
            evaluation.add_tested(output, batch)
            evaluation.gather()
        validated, tested = evaluation.transcripts["clean"]
        assert (validated.hypothesis, tested.hypothesis) == ("A KAT", text)
        assert validated.num_samples == tested.num_samples == 2000


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("add", ["add_validated", "add_tested"])
def test_logits_that_are_not_finite_are_refused(add, value):
    tokenizer = LetterTokenizer(vocabulary_path=None)
    samples = [
        SpeechSample(
            key=key, waveform=torch.zeros(2000), transcription="A", tokens=tokenizer.encode("A")
        )
        for key in ("1/1/1", "1/1/2")
    ]
    batch = SpeechBatch.collate(samples, set_name="clean")
    logits = torch.zeros(2, 5, 32)
    logits[0, 4] = float("nan")  # of padding
    output = SpeechOutput(logits=logits, num_frames=torch.tensor([4, 5]))
    evaluation = SpeechEvaluation(loss=CtcLoss(blank_index=0), tokenizer=tokenizer)
    getattr(evaluation, add)(output, batch)
    logits[1, 2, 3] = value
    with pytest.raises(ValueError, match="CTC logits of 1/1/2 must be finite"):
        getattr(evaluation, add)(output, batch)
