import torch

from tests.data.language_models import bigram_model, write_arpa
from w2v2_mt.core.batches import SpeechBatch
from w2v2_mt.core.samples import SpeechSample
from w2v2_mt.data.beam_search import BeamSearch
from w2v2_mt.data.tokenizer import LetterTokenizer
from w2v2_mt.models.networks import SpeechOutput
from w2v2_mt.tasks.speech_evaluation import SpeechEvaluation


def test_a_test_is_decoded_by_the_beam_and_a_validation_greedily(tmp_path):
    tokenizer = LetterTokenizer(vocabulary_path=None)
    beam_search = BeamSearch(
        tokenizer=tokenizer,
        width=10,
        min_letter_probability=1e-4,
        language_model_path=str(write_arpa(tmp_path / "lm.arpa", bigram_model(["A CAT"] * 5))),
        language_model_weight=1.0,
        word_bonus=0.0,
    )
    # What sounds like KAT, but hardly more than like CAT.
    logits = 6 * torch.eye(32)[tokenizer.encode("A KAT")]
    logits[2, tokenizer.encode("C")] = 5.5
    batch = SpeechBatch.collate(
        [
            SpeechSample(
                key="1/1/1",
                waveform=torch.zeros(2000),
                transcription="A CAT",
                letters=tokenizer.encode("A CAT"),
            )
        ],
        set_name="clean",
    )
    output = SpeechOutput(logits=logits[None], num_frames=torch.tensor([5]))

    for beam, text in ((None, "A KAT"), (beam_search, "A CAT")):
        evaluation = SpeechEvaluation(tokenizer, beam_search=beam)
        evaluation.add(batch, output, torch.tensor(1.0))
        evaluation.add_tested(batch, output)
        validated, tested = evaluation.transcripts["clean"]
        assert (validated.hypothesis, tested.hypothesis) == ("A KAT", text)
        assert validated.num_samples == tested.num_samples == 2000
