import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoFeatureExtractor, AutoModel, AutoModelForCTC, AutoProcessor

from tests.helpers.file_sizes import no_file_above
from tests.helpers.network_ways import BOTH, CLASS_TOKEN, WAYS
from w2v2_mt.app.commands import main
from w2v2_mt.app.run import run
from w2v2_mt.export import huggingface as huggingface_export
from w2v2_mt.inference.trained_network import load_trained
from w2v2_mt.models.pooling import POOLINGS


def run_export(checkpoint: Path, target: Path) -> int:
    return main(["export", "huggingface", str(checkpoint), str(target)])


def raw_waveform() -> np.ndarray:
    return (0.1 * np.random.default_rng(0).normal(size=12_345) + 0.02).astype(np.float32)


def our_answer(checkpoint: Path):
    trained = load_trained(checkpoint)
    waveform = trained.normaliser(torch.from_numpy(raw_waveform()))
    with torch.no_grad():
        return trained.network(waveform[None], torch.tensor([len(waveform)]))


def assert_close(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() <= 1e-5


def embedding_of(folder: Path, frames: torch.Tensor, logits: torch.Tensor | None) -> torch.Tensor:
    """What a reader of the description makes of the last hidden state."""
    description = json.loads((folder / "speaker_head.json").read_text())
    first, end = description["frame_dimensions"]
    pooling = POOLINGS.find(description["pooling"])(end - first)
    head = load_file(folder / "speaker_head.safetensors")
    weights = {k.removeprefix("pooling."): v for k, v in head.items() if k.startswith("pooling.")}
    pooling.load_state_dict(weights)
    num_frames = torch.tensor([frames.shape[1]])
    selection = []
    if description["pools_frames_with"] is not None:
        blank = logits.argmax(dim=-1) == description["pools_frames_with"]["blank_index"]
        selection = [blank == description["pools_frames_with"]["best_letter_is_blank"]]
    return pooling(frames[:, :, first:end], num_frames, *selection)


def printed_by_card(folder: Path, capsys) -> str:
    """Runs the code of the model card on the waveform."""
    (code,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    capsys.readouterr()
    exec(code.replace('"."', repr(str(folder))), {"waveform": raw_waveform()})
    return capsys.readouterr().out.rstrip("\n")


def test_repeated_tokens_with_a_blank_between_stay(train, tmp_path):
    checkpoint = train("train_speech")
    assert run_export(checkpoint, tmp_path / "exported") == 0
    tokenizer = load_trained(checkpoint).tokenizer
    frames = torch.tensor(
        [tokenizer.symbols.index("<pad>" if x == "-" else x) for x in "HH-ELL-LO-"]
    )
    processor = AutoProcessor.from_pretrained(tmp_path / "exported")
    assert processor.batch_decode(frames[None]) == [tokenizer.decode(frames)] == ["HELLO"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["base", "large"])
def test_transformers_gives_the_same_tokens_and_embeddings(train, tmp_path, capsys, way, kind):
    checkpoint = train(BOTH, *WAYS[way], kind=kind)
    ours = our_answer(checkpoint)
    folder = tmp_path / "exported"
    assert run_export(checkpoint, folder) == 0
    is_branched = way in ("branched", "all")
    speech, speaker = (folder / "speech", folder / "speaker") if is_branched else (folder, folder)
    trust = {"trust_remote_code": True} if way in ("class token", "all") else {}
    processor = AutoProcessor.from_pretrained(speech, **trust)
    model = AutoModelForCTC.from_pretrained(speech, **trust).eval()
    inputs = processor(raw_waveform(), sampling_rate=16_000, return_tensors="pt")
    assert "attention_mask" in inputs
    with torch.no_grad():
        logits = model(**inputs).logits
    assert_close(ours.speech.logits, logits)
    tokenizer = load_trained(checkpoint).tokenizer
    assert printed_by_card(speech, capsys) == tokenizer.decode(ours.speech.logits[0].argmax(dim=-1))
    inputs = AutoFeatureExtractor.from_pretrained(speaker, **trust)(
        raw_waveform(), sampling_rate=16_000, return_tensors="pt"
    )
    encoder = AutoModel.from_pretrained(speaker, **trust).eval()
    with torch.no_grad():
        frames = encoder(**inputs).last_hidden_state
    assert_close(ours.speaker.embeddings, embedding_of(speaker, frames, logits))
    card = (speaker / "README.md").read_text()
    eer = load_trained(checkpoint).metrics["val_eer"]
    assert f"| val_eer | {eer:.4f} |" in card
    needs_code = "transformers does not load this folder" in (speech / "README.md").read_text()
    assert bool(trust) == needs_code


@pytest.mark.parametrize(
    "kind", ["hubert-base", "hubert-without-norm", "wavlm-base", "wavlm-large", "data2vec-audio"]
)
def test_other_upstreams(train, tmp_path, kind):
    checkpoint = train(BOTH, *WAYS["all"], kind=kind)
    folder = tmp_path / "exported"
    assert run_export(checkpoint, folder) == 0
    processor = AutoProcessor.from_pretrained(folder / "speech", trust_remote_code=True)
    model = AutoModelForCTC.from_pretrained(folder / "speech", trust_remote_code=True).eval()
    inputs = processor(raw_waveform(), sampling_rate=16_000, return_tensors="pt")
    with torch.no_grad():
        assert_close(our_answer(checkpoint).speech.logits, model(**inputs).logits)


def test_a_class_token_is_never_skipped_silently(train, tmp_path):
    """In another process, since this one may know the code already."""
    checkpoint = train(BOTH, *CLASS_TOKEN)
    assert run_export(checkpoint, tmp_path / "exported") == 0
    code = (
        "import sys; from transformers import AutoModelForCTC as M; M.from_pretrained(sys.argv[1])"
    )
    command = [sys.executable, "-c", code, tmp_path / "exported"]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode != 0
    assert "trust_remote_code" in done.stderr


def test_guided_pooling(train, tmp_path):
    guided = train(BOTH, "network.enable_ctc_pool_speaker_embedding=true")
    assert run_export(guided, tmp_path / "guided") == 0
    model = AutoModelForCTC.from_pretrained(tmp_path / "guided").eval()
    processor = AutoProcessor.from_pretrained(tmp_path / "guided")
    inputs = processor(raw_waveform(), sampling_rate=16_000, return_tensors="pt")
    with torch.no_grad():
        frames = AutoModel.from_pretrained(tmp_path / "guided").eval()(**inputs).last_hidden_state
        logits = model(**inputs).logits
    ours = our_answer(guided).speaker.embeddings
    assert_close(ours, embedding_of(tmp_path / "guided", frames, logits))


@pytest.mark.parametrize("config_name", ["train_speech", "train_speaker"])
def test_a_network_of_one_task(train, tmp_path, config_name):
    folder = tmp_path / "exported"
    checkpoint = train(config_name)
    assert run_export(checkpoint, folder) == 0
    inputs = AutoFeatureExtractor.from_pretrained(folder)(
        raw_waveform(), sampling_rate=16_000, return_tensors="pt"
    )
    with torch.no_grad():
        if config_name == "train_speech":
            theirs = AutoModelForCTC.from_pretrained(folder).eval()(**inputs).logits
            assert_close(our_answer(checkpoint).logits, theirs)
            assert not (folder / "speaker_head.json").exists()
        else:
            frames = AutoModel.from_pretrained(folder).eval()(**inputs).last_hidden_state
            assert_close(our_answer(checkpoint).embeddings, embedding_of(folder, frames, None))


@pytest.mark.parametrize("way", ["plain", "class token", "split"])
def test_what_was_exported_trains_on(train, small_config, tmp_path, way):
    # A network that masks frames has one weight more: the vector in their place.
    masks = "network.regularisation.mask_time_prob=0.3"
    checkpoint = train(BOTH, *WAYS[way], masks)
    assert run_export(checkpoint, tmp_path / "exported") == 0
    exported = tmp_path / "exported"
    config = small_config(
        BOTH,
        *WAYS[way],
        masks,
        f"network.wav2vec_huggingface_id={exported}",
        f"network.speech_head_huggingface_id={exported}",
        "network.reset_weights=false",
        "network.wav2vec_initially_frozen=true",
        "optim.algo.lr=1e-30",
        "eval_model=false",
    )
    run(config, config_name=BOTH, folder=tmp_path / "again", overrides=())
    before = load_trained(checkpoint).network.state_dict()
    after = load_trained(tmp_path / "again" / "checkpoints" / "best.ckpt").network.state_dict()
    for name, weight in before.items():
        # What stands still is what was exported; the class token and the speaker head begin anew.
        if name.startswith(("trunk.", "speech_head.")) and "class_token" not in name:
            assert torch.equal(after[name], weight), name


@pytest.mark.parametrize("task", ["speech", "speaker"])
def test_a_branch_trains_on_as_a_network_of_its_task(train, small_config, tmp_path, task):
    checkpoint = train(BOTH, *WAYS["branched"])
    assert run_export(checkpoint, tmp_path / "exported") == 0
    exported = tmp_path / "exported" / task
    letters = [f"network.speech_head_huggingface_id={exported}"] if task == "speech" else []
    config = small_config(
        f"train_{task}",
        f"network.wav2vec_huggingface_id={exported}",
        *letters,
        "network.reset_weights=false",
        "optim.algo.lr=1e-30",
        "eval_model=false",
    )
    run(config, config_name=f"train_{task}", folder=tmp_path / "again", overrides=())
    before = our_answer(checkpoint)
    after = our_answer(tmp_path / "again" / "checkpoints" / "best.ckpt")
    if task == "speech":
        assert_close(before.speech.logits, after.logits)
    else:
        assert_close(before.speaker.embeddings, after.embeddings)


def test_what_transformers_cannot_say_is_refused(train, tmp_path, capsys):
    checkpoint = train(BOTH, "network.layer_weights=learned")
    assert run_export(checkpoint, tmp_path / "exported") == 1
    assert "learned weighted sum of layers" in capsys.readouterr().err
    assert not (tmp_path / "exported").exists()


def test_frames_that_are_shuffled_are_refused(train, tmp_path, capsys):
    checkpoint = train("train_speaker", "network.random_permutation_mode=before")
    assert run_export(checkpoint, tmp_path / "exported") == 1
    assert "shuffles the frames" in capsys.readouterr().err


def test_a_scaling_that_transformers_does_not_have_is_refused(train, tmp_path, capsys):
    checkpoint = train("train_speech", "speech.pipeline.normaliser.eps=1e-3")
    assert run_export(checkpoint, tmp_path / "exported") == 1
    error = capsys.readouterr().err
    assert "pipeline.normaliser.eps=0.001" in error
    assert "1e-07" in error
    assert not (tmp_path / "exported").exists()


@pytest.mark.parametrize("way", ["plain", "all"])
def test_what_cannot_be_written_is_reported_and_leaves_nothing(train, tmp_path, capsys, way):
    checkpoint = train(BOTH, *WAYS[way])
    capsys.readouterr()
    with no_file_above(4096):
        assert run_export(checkpoint, tmp_path / "new" / "exported") == 1
    told = capsys.readouterr().err
    assert told.startswith(f"Error: {tmp_path}/new/exported cannot be written (")
    assert "File too large" in told
    assert told.count("\n") == 1
    assert not (tmp_path / "new").exists()
    assert not list(tmp_path.glob(".*"))
    assert run_export(checkpoint, tmp_path / "new" / "exported") == 0


def test_an_interruption_leaves_nothing(train, tmp_path, monkeypatch, capsys):
    checkpoint = train(BOTH, *WAYS["branched"])

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        # The folder of speech is complete by then.
        patch.setattr(huggingface_export, "_write_speaker_head", interrupted)
        assert run_export(checkpoint, tmp_path / "new" / "exported") == 130
    assert "Nothing was written" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
    assert not list(tmp_path.glob(".*"))


def test_an_older_export_is_not_replaced(tmp_path, capsys):
    (tmp_path / "model").mkdir()
    assert run_export(tmp_path / "best.ckpt", tmp_path / "model") == 1
    assert "exists already" in capsys.readouterr().err
