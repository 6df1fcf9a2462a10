import json
import re
import sys
from pathlib import Path

import jaxtyping
import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from tests.helpers.documented_commands import fenced_blocks
from tests.helpers.file_sizes import no_file_above
from tests.helpers.network_ways import BOTH, WAYS
from tests.helpers.small_networks import save_architecture
from w2v2_mt.app.commands import main
from w2v2_mt.export import onnx as onnx_export
from w2v2_mt.inference.trained_network import load_trained
from w2v2_mt.models.onednn_linear import MIN_NUM_FEATURES
from w2v2_mt.settings.environment import PROJECT_FOLDER

TOLERANCE = 1e-4
INT8_TOLERANCE = 0.03
NUM_SAMPLES = (777, 12_345, 20_001)
"""None of the lengths that the graph is traced with; the first has two frames."""


@pytest.fixture(autouse=True)
def _no_checks_of_types():
    """While a graph is traced, sizes are tensors and no ints."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def run_export(checkpoint: Path, target: Path, *options: str) -> int:
    return main(["export", "onnx", str(checkpoint), str(target), *options])


def raw_waveforms() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [(0.1 * rng.normal(size=n) + 0.02).astype(np.float32) for n in NUM_SAMPLES]


def our_answer(checkpoint, waveform: np.ndarray):
    """Logits of letters and an embedding, or None for what the network does not know."""
    trained = load_trained(checkpoint)
    scaled = trained.normaliser(torch.from_numpy(waveform))
    with torch.no_grad():
        outputs = trained.network.answer(scaled[None], torch.tensor([len(scaled)]))
    return (
        outputs["speech"].logits[0].numpy() if "speech" in outputs else None,
        outputs["speaker"].embeddings[0].numpy() if "speaker" in outputs else None,
    )


def exported_answers(file, waveforms: list[np.ndarray]) -> list[dict[str, np.ndarray]]:
    """What onnxruntime makes of one batch, with NaN behind the end of the shorter ones."""
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    padded = np.full((len(waveforms), max(map(len, waveforms))), np.nan, dtype=np.float32)
    for row, waveform in enumerate(waveforms):
        padded[row, : len(waveform)] = waveform
    names = [output.name for output in session.get_outputs()]
    num_samples = np.array([len(waveform) for waveform in waveforms])
    values = session.run(names, {"waveforms": padded, "num_samples": num_samples})
    rows = [dict(zip(names, of_row, strict=True)) for of_row in zip(*values, strict=True)]
    for row in rows:  # type: ignore[assignment]
        if "num_frames" in row:
            row["logits"] = row["logits"][: row["num_frames"]]
    return rows


def assert_same_answers(checkpoint, file) -> None:
    """For each waveform alone, and for all in one batch."""
    waveforms = raw_waveforms()
    ours = [our_answer(checkpoint, waveform) for waveform in waveforms]
    alone = [exported_answers(file, [waveform])[0] for waveform in waveforms]
    for given in (alone, exported_answers(file, waveforms)):
        for (logits, embedding), theirs in zip(ours, given, strict=True):
            assert ("logits" in theirs) == (logits is not None)
            assert ("embeddings" in theirs) == (embedding is not None)
            if logits is not None:
                assert theirs["logits"].shape == logits.shape
                assert np.abs(theirs["logits"] - logits).max() <= TOLERANCE
            if embedding is not None:
                assert theirs["embeddings"].shape == embedding.shape
                assert np.abs(theirs["embeddings"] - embedding).max() <= TOLERANCE


def metadata(file) -> dict[str, object]:
    return {fact.key: json.loads(fact.value) for fact in onnx.load(file).metadata_props}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["base", "large"])
def test_onnxruntime_gives_the_same_tokens_and_embeddings(train, tmp_path, way, kind):
    checkpoint = train(BOTH, *WAYS[way], kind=kind)
    assert run_export(checkpoint, tmp_path / "new" / "model.onnx") == 0
    assert_same_answers(checkpoint, tmp_path / "new" / "model.onnx")
    # Nothing is left of the way there.
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["model.onnx"]


@pytest.mark.parametrize("kind", ["base", "large"])
def test_a_minute_with_an_offset_is_as_exact(train, tmp_path, kind):
    """A million samples, which onnxruntime adds up one after the other."""
    checkpoint = train(BOTH, *WAYS["plain"], kind=kind)
    assert run_export(checkpoint, tmp_path / "model.onnx") == 0
    waveform = (0.1 * np.random.default_rng(0).normal(size=960_000) + 0.5).astype(np.float32)
    logits, embedding = our_answer(checkpoint, waveform)
    (theirs,) = exported_answers(tmp_path / "model.onnx", [waveform])
    assert np.abs(theirs["logits"] - logits).max() <= TOLERANCE
    assert np.abs(theirs["embeddings"] - embedding).max() <= TOLERANCE


@pytest.mark.parametrize("kind", ["hubert-base", "wavlm-base", "data2vec-audio"])
def test_other_upstreams(train, tmp_path, kind):
    checkpoint = train(BOTH, *WAYS["all"], kind=kind)
    assert run_export(checkpoint, tmp_path / "model.onnx") == 0
    assert_same_answers(checkpoint, tmp_path / "model.onnx")


def test_layers_as_wide_as_those_of_real_models(train, tmp_path):
    """From that width on, torch multiplies through another library."""
    architecture = save_architecture(
        str(tmp_path / "wide"), "base", hidden_size=MIN_NUM_FEATURES, intermediate_size=640
    )
    checkpoint = train(BOTH, f"network.wav2vec_huggingface_id={architecture}")
    assert run_export(checkpoint, tmp_path / "model.onnx") == 0
    assert_same_answers(checkpoint, tmp_path / "model.onnx")


@pytest.mark.parametrize(
    "override",
    [
        "network.enable_ctc_pool_speaker_embedding=true",
        "network.layer_weights=learned",
        "network.stat_pooling_type=attentive",
        "network.stat_pooling_type=quantile",
        "network.stat_pooling_type=max",
    ],
)
def test_other_ways_to_pool(train, tmp_path, override):
    checkpoint = train(BOTH, override)
    assert run_export(checkpoint, tmp_path / "model.onnx") == 0
    assert_same_answers(checkpoint, tmp_path / "model.onnx")


@pytest.mark.parametrize("kind", ["base", "large", "wavlm-base"])
def test_int8_is_near_float32_in_any_batch(train, tmp_path, capsys, kind):
    checkpoint = train(BOTH, kind=kind)
    assert run_export(checkpoint, tmp_path / "model.onnx", "--precision", "int8-mixed") == 0
    difference = re.search(r"is within (\S+) of torch\.", capsys.readouterr().out)[1]
    assert TOLERANCE < float(difference) < INT8_TOLERANCE
    nodes = [node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node]
    assert nodes.count("MatMulInteger") == 4 * 6  # Each layer has 4 of attention, 2 after it.
    waveforms = raw_waveforms()
    alone = [exported_answers(tmp_path / "model.onnx", [waveform])[0] for waveform in waveforms]
    together = exported_answers(tmp_path / "model.onnx", waveforms)
    for waveform, one, other in zip(waveforms, alone, together, strict=True):
        logits, embedding = our_answer(checkpoint, waveform)
        assert 0 < np.abs(one["logits"] - logits).max() < INT8_TOLERANCE
        assert 0 < np.abs(one["embeddings"] - embedding).max() < INT8_TOLERANCE
        assert np.abs(one["logits"] - other["logits"]).max() < INT8_TOLERANCE / 10
        assert np.abs(one["embeddings"] - other["embeddings"]).max() < INT8_TOLERANCE / 10


def test_int8_is_smaller(train, tmp_path):
    architecture = save_architecture(
        str(tmp_path / "wide"), "base", hidden_size=256, intermediate_size=512
    )
    checkpoint = train(BOTH, f"network.wav2vec_huggingface_id={architecture}")
    assert run_export(checkpoint, tmp_path / "32.onnx") == 0
    assert run_export(checkpoint, tmp_path / "8.onnx", "--precision", "int8-mixed") == 0
    sizes = [(tmp_path / name).stat().st_size for name in ("32.onnx", "8.onnx")]
    num_quantized = 4 * (4 * 256**2 + 2 * 256 * 512)  # weights, which take 1 byte instead of 4
    assert sizes[0] - sizes[1] == pytest.approx(3 * num_quantized, rel=0.05)


@pytest.mark.parametrize("config_name", ["train_speech", "train_speaker"])
def test_a_network_of_one_task_has_its_outputs_and_no_others(train, tmp_path, config_name):
    checkpoint = train(config_name)
    assert run_export(checkpoint, tmp_path / "model.onnx") == 0
    assert_same_answers(checkpoint, tmp_path / "model.onnx")
    facts = metadata(tmp_path / "model.onnx")
    assert facts["tasks"] == [config_name.removeprefix("train_")]
    assert ("letters" in facts) == (config_name == "train_speech")
    assert ("same_speaker_from" in facts) == (config_name == "train_speaker")


def test_what_a_reader_must_know_is_in_the_file(train, tmp_path):
    checkpoint = train(
        BOTH, "speech.pipeline.normaliser.eps=1e-3", "speaker.pipeline.normaliser.eps=1e-3"
    )
    assert run_export(checkpoint, tmp_path / "model.onnx") == 0
    # Another eps than the usual one is in the graph as well.
    assert_same_answers(checkpoint, tmp_path / "model.onnx")
    trained = load_trained(checkpoint)
    assert metadata(tmp_path / "model.onnx") == {
        "tasks": ["speech", "speaker"],
        "sampling_rate": 16_000,
        "normaliser_eps": 1e-3,
        "letters": trained.tokenizer.symbols,
        "blank_index": trained.tokenizer.symbols.index("<pad>"),
        "special_symbols": ["<pad>", "<s>", "</s>", "<unk>"],
        "word_boundary": "|",
        "same_speaker_from": trained.metrics["val_eer_threshold"],
    }


def test_the_documented_code_runs(train, tmp_path, capsys):
    checkpoint = train(BOTH)
    assert run_export(checkpoint, tmp_path / "model.onnx") == 0
    page = PROJECT_FOLDER / "docs" / "predict_and_export.md"
    (code,) = fenced_blocks(page.read_text(encoding="utf-8"), "python")
    first, second = raw_waveforms()[1:]
    capsys.readouterr()
    exec(
        code.replace('"model.onnx"', repr(str(tmp_path / "model.onnx"))),
        {"first": first, "second": second},
    )
    *texts, verdict = capsys.readouterr().out.splitlines()
    cosine, is_same = verdict.split()
    answers_alone = [our_answer(checkpoint, waveform) for waveform in (first, second)]
    trained = load_trained(checkpoint)
    best = [torch.from_numpy(logits).argmax(dim=-1) for logits, _ in answers_alone]
    assert texts == [trained.tokenizer.decode(letters) for letters in best]
    a, b = (embedding / np.linalg.norm(embedding) for _, embedding in answers_alone)
    assert float(cosine) == pytest.approx(a @ b, abs=1e-5)
    assert is_same == str(bool(a @ b >= trained.metrics["val_eer_threshold"]))


def test_the_exporter_needs_no_package_that_is_not_installed_with_it(train, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)  # An import of it fails.
    checkpoint = train("train_speaker")
    assert run_export(checkpoint, tmp_path / "model.onnx") == 0


@pytest.mark.parametrize(
    ("precision", "error", "tolerance"),
    [("32-true", 1e-3, "1e-04"), ("32-true", float("nan"), "1e-04"), ("int8-mixed", 1, "1e-01")],
)
def test_a_graph_that_answers_one_utterance_otherwise_is_not_kept(
    train, tmp_path, monkeypatch, capsys, precision, error, tolerance
):
    checkpoint = train("train_speech")
    alone = onnx_export._answer_alone

    def answered(trained, waveform):
        given = alone(trained, waveform)
        return given if len(waveform) != 16_000 else given | {"logits": given["logits"] + error}

    monkeypatch.setattr(onnx_export, "_answer_alone", answered)
    options = ["--precision", precision]
    assert run_export(checkpoint, tmp_path / "new" / "model.onnx", *options) == 1
    assert f"from torch, but {tolerance} is allowed" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("mode", ["before", "after"])
def test_frames_that_are_shuffled_are_refused(train, tmp_path, capsys, mode):
    checkpoint = train("train_speaker", f"network.random_permutation_mode={mode}")
    assert run_export(checkpoint, tmp_path / "new" / "model.onnx") == 1
    assert "shuffles frames at random" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_weights_that_no_file_can_hold_are_refused(train, tmp_path, monkeypatch, capsys):
    checkpoint = train("train_speech")
    monkeypatch.setattr(onnx_export, "_MAX_BYTES", 2**10)
    assert run_export(checkpoint, tmp_path / "new" / "model.onnx") == 1
    assert "Export a smaller network" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_what_cannot_be_written_is_reported_and_leaves_nothing(train, tmp_path, capsys):
    checkpoint = train("train_speech")
    capsys.readouterr()
    with no_file_above(4096):
        assert run_export(checkpoint, tmp_path / "new" / "model.onnx") == 1
    told = capsys.readouterr().err
    assert told.startswith(f"Error: {tmp_path}/new/model.onnx cannot be written (File too large). ")
    assert told.count("\n") == 1
    assert not (tmp_path / "new").exists()
    assert not list(tmp_path.glob(".*"))


def test_an_interruption_leaves_nothing(train, tmp_path, monkeypatch, capsys):
    checkpoint = train("train_speech")

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(onnx_export, "_metadata", interrupted)
        assert run_export(checkpoint, tmp_path / "new" / "model.onnx") == 130
    assert "Nothing was written" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
    assert not list(tmp_path.glob(".*"))


def test_an_older_export_is_not_replaced(tmp_path, capsys):
    (tmp_path / "model.onnx").write_text("older")
    assert run_export(tmp_path / "best.ckpt", tmp_path / "model.onnx") == 1
    assert "exists already" in capsys.readouterr().err
    assert (tmp_path / "model.onnx").read_text() == "older"
