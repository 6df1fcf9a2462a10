"""A network of subwords: learned vocabulary, training, test, prediction and exports."""

import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jaxtyping
import onnx
import pytest
import soundfile
import torch
from transformers import AutoModelForCTC, AutoProcessor

from tests.export.test_huggingface import printed_by_card, raw_waveform
from w2v2_mt.app.commands import main
from w2v2_mt.app.run import run
from w2v2_mt.decoding.vocabulary import read_vocabulary
from w2v2_mt.inference.trained_network import load_trained
from w2v2_mt.models.ctc_symbols import load_ctc_symbols

TRAIN_SETS = ("train_clean_100", "train_clean_360", "train_other_500")


@pytest.fixture
def vocabulary(data_folder: Path, tmp_path: Path) -> Path:
    path = tmp_path / "bpe_vocabulary.json"
    shards = data_folder / "librispeech_shards"
    folders = [str(shards / name) for name in TRAIN_SETS]
    others = ("dev_clean", "dev_other", "test_clean", "test_other")
    letters = [text for name in others for text in ("--letters_from", str(shards / name))]
    command = ["prepare", "subwords", *folders, *letters, "--num_tokens", "40"]
    assert main([*command, "--output", str(path)]) == 0
    return path


def make_tokens_vary(checkpoint: Path) -> None:
    """Scale the CTC head, so that its best tokens differ from frame to frame."""
    content = torch.load(checkpoint, weights_only=True)
    for name, weight in content["state_dict"].items():
        if name.endswith("head.linear.weight"):
            weight *= 100
        if name.endswith("head.linear.bias"):
            weight.zero_()
    torch.save(content, checkpoint)


@contextmanager
def jaxtyping_disabled() -> Iterator[None]:
    """While a graph is traced, sizes are tensors and no ints."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def test_subwords_from_preparation_to_exports(
    train, vocabulary: Path, small_config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    symbols = list(read_vocabulary(vocabulary, boundary="▁"))
    checkpoint = train(
        "train_speech",
        "speech/tokenizer=bpe",
        f"speech.tokenizer.vocabulary_path={vocabulary}",
        "network.ctc_bias_init=letter_prior",
    )
    # The checkpoint contains all of the vocabulary.
    vocabulary.unlink()
    prior = load_trained(checkpoint).network.heads["speech"].linear.bias.detach().softmax(dim=0)
    assert prior.argmax() == 0
    make_tokens_vary(checkpoint)
    trained = load_trained(checkpoint)
    assert trained.tokenizer is not None
    assert trained.tokenizer.symbols == symbols

    for decoder in ("greedy", "beam"):
        config = small_config(
            "train_speech",
            "fit_model=false",
            f"load_network_from_checkpoint={checkpoint}",
            f"evaluation.decoder={decoder}",
            "evaluation.beam_search.width=4",
        )
        run(config, config_name="train_speech", folder=tmp_path / decoder, overrides=())
        metrics = json.loads((tmp_path / decoder / "metrics.json").read_text())
        assert metrics["test_wer_clean"] > 0
        lines = (tmp_path / decoder / "transcripts_clean.tsv").read_text().splitlines()
        hypotheses = "".join(line.split("\t")[2] for line in lines[1:])
        assert hypotheses
        assert "▁" not in hypotheses

    audio, output = tmp_path / "noise.wav", tmp_path / "out.jsonl"
    soundfile.write(audio, raw_waveform(), 16_000)
    assert main(["predict", str(checkpoint), str(audio), "--output", str(output)]) == 0
    predicted = json.loads(output.read_text())
    assert predicted["transcript"]
    assert predicted["transcript"] == " ".join(each["word"] for each in predicted["words"])

    exported = tmp_path / "exported"
    assert main(["export", "huggingface", str(checkpoint), str(exported)]) == 0
    waveform = trained.normaliser(torch.from_numpy(raw_waveform()))
    with torch.no_grad():
        logits = trained.network(waveform[None], torch.tensor([len(waveform)])).logits
    best = logits[0].argmax(dim=-1)
    assert printed_by_card(exported, capsys) == trained.tokenizer.decode(best)
    processor = AutoProcessor.from_pretrained(exported)
    text = "HELLO IT IS"
    assert processor.tokenizer(text)["input_ids"] == trained.tokenizer.encode(text).tolist()
    inputs = processor(raw_waveform(), sampling_rate=16_000, return_tensors="pt")
    with torch.no_grad():
        theirs = AutoModelForCTC.from_pretrained(exported)(**inputs).logits
    assert (theirs - logits).abs().max() <= 1e-5 * logits.abs().max()
    assert load_ctc_symbols(str(exported)) == {each: i for i, each in enumerate(symbols)}

    graph = tmp_path / "model.onnx"
    with jaxtyping_disabled():
        assert main(["export", "onnx", str(checkpoint), str(graph)]) == 0
    metadata = {each.key: json.loads(each.value) for each in onnx.load(graph).metadata_props}
    spoken = [metadata["letters"][index] for index, _ in itertools.groupby(best.tolist())]
    text = "".join(each for each in spoken if each not in metadata["special_symbols"])
    words = text.replace(metadata["word_boundary"], " ").split()
    assert " ".join(words) == trained.tokenizer.decode(best)


def test_subwords_guide_the_pooling_of_both_tasks(train, vocabulary: Path, tmp_path: Path) -> None:
    checkpoint = train(
        "train_mt_speaker_speech",
        "data=mt_vox1_libri",
        "sharing=ctc_pool",
        "speech/tokenizer=bpe",
        f"speech.tokenizer.vocabulary_path={vocabulary}",
    )
    make_tokens_vary(checkpoint)
    audio, output = tmp_path / "noise.wav", tmp_path / "out.jsonl"
    soundfile.write(audio, raw_waveform(), 16_000)
    arguments = ["--output", str(output), "--embeddings", str(tmp_path / "out.npz")]
    assert main(["predict", str(checkpoint), str(audio), *arguments]) == 0
    assert json.loads(output.read_text())["transcript"]


def test_a_corpus_without_subwords_is_one_sentence(train) -> None:
    with pytest.raises(ValueError, match=r"vocabulary_path \(None\) must be a file. Run w2v2-mt"):
        train("train_speech", "speech/tokenizer=bpe")
