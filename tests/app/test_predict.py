import json
import re
import subprocess
import sys
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from tests.helpers.small_networks import save_architecture
from w2v2_mt.app.commands import main
from w2v2_mt.app.run import run
from w2v2_mt.data.transforms import NormaliseWaveform
from w2v2_mt.inference.trained_network import load_trained
from w2v2_mt.metrics.verification import equal_error_rate
from w2v2_mt.metrics.word_error_rate import character_edits, error_rate
from w2v2_mt.settings.environment import PROJECT_FOLDER
from w2v2_mt.training.checkpoints import RECORD_KEY

SHARED = PROJECT_FOLDER.parent / "shared" / "data"
CONFIG_NAMES = ("train_speech", "train_speaker", "train_mt_speaker_speech")


@pytest.fixture(scope="module")
def checkpoints(data_folder, tmp_path_factory) -> dict[str, Path]:
    """One of each kind, of a few steps; its letters are made to vary over the frames."""
    import hydra

    from tests.helpers.run_fixtures import SMALL_BATCHES
    from w2v2_mt.settings.validation import check_settings

    folder = tmp_path_factory.mktemp("trained")
    architecture = save_architecture(str(folder / "architecture"), "base")
    written = {}
    for config_name in CONFIG_NAMES:
        overrides = [
            f"data_folder={data_folder}", f"log_folder={folder}", "gpus=0", "num_workers=0",
            f"network.wav2vec_huggingface_id={architecture}", "network.reset_weights=true",
            "trainer.max_steps=2", "trainer.val_check_interval=2", "eval_model=false",
            "trainer.enable_progress_bar=false", *SMALL_BATCHES[config_name],
        ]  # fmt: skip
        with hydra.initialize_config_dir(str(PROJECT_FOLDER / "config"), version_base="1.3"):
            config = check_settings(hydra.compose(config_name, overrides))
        run(config, config_name=config_name, folder=folder / config_name, overrides=())
        checkpoint = folder / config_name / "checkpoints" / "best.ckpt"
        content = torch.load(checkpoint, weights_only=True)
        for name, weight in content["state_dict"].items():
            if name.endswith("head.linear.weight"):
                weight *= 100
        torch.save(content, checkpoint)
        written[config_name] = checkpoint
    return written


@pytest.fixture(scope="module")
def both(checkpoints) -> Path:
    return checkpoints["train_mt_speaker_speech"]


def noise(duration_sec: float, rate_hz: int = 16_000, *, seed: int = 0) -> np.ndarray:
    """Loud and quiet by turns, so that frames differ."""
    samples = np.random.default_rng(seed).normal(size=round(duration_sec * rate_hz))
    loudness = 0.1 + np.abs(np.sin(np.arange(len(samples)) / rate_hz * 7))
    return 0.2 * np.clip(samples * loudness, -4, 4)


def lines_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def predict(checkpoint: Path, *arguments: object, output: Path) -> tuple[int, list[dict]]:
    exit_code = main(["predict", str(checkpoint), *map(str, arguments), "--output", str(output)])
    return exit_code, lines_of(output)


def answer_in_one_piece(checkpoint: Path, waveform: torch.Tensor) -> tuple[str, torch.Tensor]:
    """As an evaluation does: the whole utterance, normalised, in one pass."""
    trained = load_trained(checkpoint)
    normalised = NormaliseWaveform(eps=1e-7)(waveform)
    with torch.no_grad():
        output = trained.network(normalised[None], torch.tensor([len(waveform)]))
    letters = trained.tokenizer.decode(output.speech.logits[0].argmax(dim=-1))
    return letters, output.speaker.embeddings[0]


def test_a_short_file_is_answered_as_by_an_evaluation(both, tmp_path):
    paths = []
    for number, duration_sec in enumerate([3.0, 0.7, 12.3]):
        paths.append(tmp_path / f"{number}.wav")
        soundfile.write(paths[-1], noise(duration_sec, seed=number), 16_000)
    exit_code, records = predict(
        both, *paths, "--embeddings", tmp_path / "e.npz", output=tmp_path / "o.jsonl"
    )
    assert exit_code == 0
    stored = np.load(tmp_path / "e.npz")
    assert stored["paths"].tolist() == [record["path"] for record in records] == [*map(str, paths)]
    for path, record in zip(paths, records, strict=True):
        waveform = torch.from_numpy(soundfile.read(path, dtype="float32")[0])
        transcript, embedding = answer_in_one_piece(both, waveform)
        assert len(transcript) > 3
        assert record["transcript"] == transcript
        np.testing.assert_allclose(
            stored["embeddings"][record["embedding_index"]], embedding, atol=1e-5
        )
        assert " ".join(word["word"] for word in record["words"]) == transcript
        ends = [0.0]
        for word in record["words"]:
            assert ends[-1] <= word["start_sec"] < word["end_sec"] <= record["duration_sec"]
            ends.append(word["end_sec"])
        assert record["duration_sec"] == pytest.approx(len(waveform) / 16_000, abs=1e-3)


def test_windows_of_a_long_file_are_joined(both, tmp_path):
    """Noise of one loudness, since each window is normalised by itself."""
    path = tmp_path / "a.wav"
    samples = np.clip(np.random.default_rng(0).normal(size=20 * 16_000) * 0.2, -0.99, 0.99)
    soundfile.write(path, samples, 16_000, subtype="FLOAT")
    windows = ["--window_sec", 8, "--overlap_sec", 4, "--embeddings", tmp_path / "e.npz"]
    _, (record,) = predict(both, path, *windows, output=tmp_path / "o.jsonl")
    transcript, embedding = answer_in_one_piece(both, torch.from_numpy(samples).float())
    assert len(transcript) > 100
    # Letters of a network that knows nothing are close to each other: few are others here.
    assert error_rate(character_edits([transcript], [record["transcript"]])) < 0.02
    (joined,) = np.load(tmp_path / "e.npz")["embeddings"]
    assert np.dot(joined, embedding) / np.linalg.norm(joined) / embedding.norm() > 0.999


@pytest.mark.parametrize("precision", ["bf16-mixed", "int8-mixed"])
def test_fewer_bits_hardly_change_an_answer(both, tmp_path, monkeypatch, precision):
    features = {"avx512_bf16": True, "avx512_vnni": True}  # Others are emulated.
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: features)
    soundfile.write(tmp_path / "a.wav", noise(3), 16_000)
    embeddings, transcripts = [], []
    for chosen in ("32-true", precision):
        options = ["--precision", chosen, "--embeddings", tmp_path / f"{chosen}.npz"]
        output = tmp_path / f"{chosen}.jsonl"
        exit_code, (record,) = predict(both, tmp_path / "a.wav", *options, output=output)
        assert exit_code == 0
        transcripts.append(record["transcript"])
        embeddings.append(np.load(tmp_path / f"{chosen}.npz")["embeddings"][0])
    # Tokens of an untrained network are close to each other.
    assert error_rate(character_edits(transcripts[:1], transcripts[1:])) < 0.1
    first, second = (each / np.linalg.norm(each) for each in embeddings)
    assert 0 < 1 - first @ second < 1e-3


def test_8_khz_mp3_and_48_khz_stereo_flac(both, tmp_path):
    soundfile.write(tmp_path / "a.mp3", noise(2, 8000), 8000)
    stereo = np.stack([noise(3, 48_000), noise(3, 48_000, seed=1)], axis=1)
    soundfile.write(tmp_path / "b.flac", stereo, 48_000)
    exit_code, (mp3, flac) = predict(both, tmp_path, output=tmp_path / "o.jsonl")
    assert exit_code == 0
    assert (mp3["sample_rate_hz"], mp3["num_channels"]) == (8000, 1)
    assert (flac["sample_rate_hz"], flac["num_channels"]) == (48_000, 2)
    assert mp3["duration_sec"] == pytest.approx(2, abs=0.2)
    assert flac["duration_sec"] == 3
    assert mp3["transcript"]
    assert flac["transcript"]


def test_unreadable_files_are_reported_and_skipped(both, tmp_path, capsys):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "empty.wav").touch()
    (folder / "text.txt").write_text("no audio")
    soundfile.write(folder / "no_samples.wav", np.zeros(0), 16_000)
    soundfile.write(folder / "click.wav", np.ones(100), 16_000)
    soundfile.write(folder / "good.wav", noise(1), 16_000)
    exit_code, records = predict(both, folder, folder / "text.txt", output=tmp_path / "o.jsonl")
    assert exit_code == 1
    assert [Path(record["path"]).name for record in records] == ["good.wav"]
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 5
    for line, words in zip(
        errors,
        [
            "click.wav is 6 ms long, too short for one frame.",
            "empty.wav cannot be decoded as audio",
            "no_samples.wav holds no audio",
            "text.txt cannot be decoded as audio",
            "4 of 5 files were skipped.",
        ],
        strict=True,
    ):
        assert words in line


def test_a_folder_with_200_files(both, tmp_path):
    for number in range(200):
        path = tmp_path / "in" / f"{number % 7}" / f"{number:03}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, noise(0.2 + 0.001 * number, seed=number), 16_000)
    exit_code, records = predict(both, tmp_path / "in", output=tmp_path / "o.jsonl")
    assert exit_code == 0
    assert len({record["path"] for record in records}) == len(records) == 200
    durations = {Path(record["path"]).stem: record["duration_sec"] for record in records}
    assert durations == {f"{n:03}": round(0.2 + 0.001 * n, 3) for n in range(200)}


def test_a_network_of_one_task_answers_it_alone(checkpoints, tmp_path, capsys):
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(1), 16_000)
    _, (letters,) = predict(checkpoints["train_speech"], path, output=tmp_path / "speech.jsonl")
    assert "transcript" in letters
    voice = checkpoints["train_speaker"]
    _, (speaker,) = predict(
        voice, path, "--embeddings", tmp_path / "e.npz", output=tmp_path / "speaker.jsonl"
    )
    assert "transcript" not in speaker
    assert speaker["embedding_index"] == 0
    assert main(["predict", str(checkpoints["train_speech"]), str(path), "--verify"]) == 1
    assert "is a network without speakers" in capsys.readouterr().err


def test_verification_decides_at_the_stored_dev_threshold(both, tmp_path, capsys):
    for name, seed in (("a", 0), ("b", 1), ("c", 2)):
        soundfile.write(tmp_path / f"{name}.wav", noise(1, seed=seed), 16_000)
    assert main(["predict", str(both), str(tmp_path), "--verify"]) == 0
    told = capsys.readouterr()
    *records, verification = map(json.loads, told.out.splitlines())
    assert verification["verification"] == [record["path"] for record in records]
    threshold = torch.load(both, weights_only=True)[RECORD_KEY]["metrics"]["val_eer_threshold"]
    assert verification["threshold"] == threshold
    similarities = np.array(verification["similarities"])
    np.testing.assert_allclose(similarities, similarities.T)
    np.testing.assert_allclose(np.diag(similarities), 1)
    embeddings = [
        answer_in_one_piece(both, torch.from_numpy(soundfile.read(p, dtype="float32")[0]))[1]
        for p in sorted(tmp_path.glob("*.wav"))
    ]
    cosine = torch.nn.functional.cosine_similarity(embeddings[0], embeddings[2], dim=0)
    assert similarities[0, 2] == pytest.approx(float(cosine), abs=1e-4)
    assert "cosine of two files" in told.err
    between = float(similarities[0, 1] + similarities[0, 2]) / 2
    main(["predict", str(both), str(tmp_path), "--verify", "--threshold", str(between)])
    *_, last = capsys.readouterr().out.splitlines()
    same = np.array(json.loads(last)["same_speaker"])
    assert same[0].tolist().count(True) == 2  # itself, and the nearer one


def test_the_table_of_cosines_has_names_as_they_are(both, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = ["take[/red].wav", "take[live].wav", "take:a:.wav"]
    for name in names:
        path = Path(name)
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, noise(1), 16_000)
    assert main(["predict", str(both), *names, "--verify"]) == 0
    told = capsys.readouterr().err
    for number, name in enumerate(names, 1):
        assert f"{number} {name} " in told


def test_long_names_are_whole_before_a_table_of_80_columns(both, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    names = [tmp_path / f"{letter * 100}.wav" for letter in "ab"]
    for path in names:
        soundfile.write(path, noise(1), 16_000)
    assert main(["predict", str(both), *map(str, names), "--verify"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert [f"{number} {path}" for number, path in enumerate(names, 1)] == [
        line.rstrip() for line in lines if ".wav" in line
    ]
    assert sum("1.000*" in line for line in lines) == 2


def test_an_older_checkpoint_needs_the_threshold_option(both, tmp_path, capsys):
    content = torch.load(both, weights_only=True)
    del content[RECORD_KEY]["metrics"]["val_eer_threshold"]
    torch.save(content, tmp_path / "older.ckpt")
    soundfile.write(tmp_path / "a.wav", noise(1), 16_000)
    arguments = [str(tmp_path / "older.ckpt"), str(tmp_path / "a.wav"), "--verify"]
    assert main(["predict", *arguments]) == 1
    assert "Give --threshold" in capsys.readouterr().err
    assert main(["predict", *arguments, "--threshold", "0.5"]) == 0


@pytest.mark.parametrize("option", ["--output", "--embeddings"])
def test_results_are_not_replaced(both, tmp_path, capsys, option):
    (tmp_path / "old").write_text("precious")
    soundfile.write(tmp_path / "a.wav", noise(1), 16_000)
    assert main(["predict", str(both), str(tmp_path / "a.wav"), option, str(tmp_path / "old")]) == 1
    assert "exists already" in capsys.readouterr().err
    assert (tmp_path / "old").read_text() == "precious"


def test_what_was_predicted_before_an_interruption_is_kept(both, tmp_path, monkeypatch, capsys):
    from w2v2_mt.inference import predictor

    paths = []
    for number in range(3):
        paths.append(str(tmp_path / f"{number}.wav"))
        soundfile.write(paths[-1], noise(1), 16_000)
    read = predictor.read_header  # type: ignore[attr-defined]

    def interrupted(path):
        if path.name == "2.wav":
            raise KeyboardInterrupt
        return read(path)

    monkeypatch.setattr(predictor, "read_header", interrupted)
    output, embeddings = tmp_path / "o.jsonl", tmp_path / "e.npz"
    command = [str(both), *paths, "--output", str(output), "--embeddings", str(embeddings)]
    assert main(["predict", *command, "--max_batch_sec", "1"]) == 130
    assert "is complete" in capsys.readouterr().err
    assert [record["path"] for record in lines_of(output)] == paths[:1]
    assert np.load(embeddings)["paths"].tolist() == paths[:1]


def test_an_overlap_that_leaves_no_window_is_refused(both, tmp_path, capsys):
    soundfile.write(tmp_path / "a.wav", noise(1), 16_000)
    command = [str(both), str(tmp_path / "a.wav"), "--window_sec", "10", "--overlap_sec", "6"]
    assert main(["predict", *command]) == 1
    assert "overlap_sec (6) does not suit window_sec (10)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("--window_sec inf", "--window_sec \\(inf\\) must be a finite number above 0"),
        ("--overlap_sec nan", "--overlap_sec \\(nan\\) must be a finite number above 0"),
        ("--max_batch_sec 0", "--max_batch_sec \\(0\\) must be a finite number above 0"),
        ("--threshold 0.5", "--threshold needs --verify"),
        ("--verify --threshold nan", "--threshold \\(nan\\) must be a cosine"),
        ("--output same --embeddings ./same", "--output and --embeddings are both same"),
        ("--embeddings a.wav/new.npz", "a.wav/new.npz cannot be written"),
    ],
)
def test_impossible_options_are_refused_before_the_network_is_loaded(
    tmp_path, capsys, monkeypatch, options, sentence
):
    monkeypatch.chdir(tmp_path)
    soundfile.write("a.wav", noise(1), 16_000)
    assert main(["predict", "no.ckpt", "a.wav", *options.split()]) == 1
    assert re.search(sentence, capsys.readouterr().err)
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


@pytest.mark.parametrize("precision", ["bf16-mixed", "int8-mixed"])
def test_a_precision_that_the_cpu_does_not_have_is_refused(
    tmp_path, capsys, monkeypatch, precision
):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True})
    soundfile.write(tmp_path / "a.wav", noise(1), 16_000)
    arguments = ["predict", "no.ckpt", str(tmp_path / "a.wav"), "--precision"]
    assert main([*arguments, precision]) == 1
    assert f"Error: --precision {precision} needs a" in capsys.readouterr().err
    assert main([*arguments, "bf16"]) == 2
    assert "'bf16' is not one of 'auto', '32-true', 'bf16-mixed', 'int8-mixed'" in (
        " ".join(capsys.readouterr().err.split())
    )


PEAK_MEMORY = """
import resource, sys
from w2v2_mt.app.commands import main
assert main(["predict", *sys.argv[1:]]) == 0
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, file=sys.stderr)
"""


def test_the_length_of_a_file_costs_no_memory(both, tmp_path):
    """Half an hour in stereo: 220 MiB decoded, 110 MiB at 16 kHz."""
    minute = np.stack([noise(60, 16_000), noise(60, 16_000, seed=1)], axis=1)
    peaks_mib = {}
    for num_minutes in (2, 30):
        path = tmp_path / f"{num_minutes}.wav"
        with soundfile.SoundFile(path, "x", samplerate=16_000, channels=2) as file:
            for _ in range(num_minutes):
                file.write(minute)
        output = tmp_path / f"{num_minutes}.jsonl"
        command = [sys.executable, "-c", PEAK_MEMORY, both, path, "--output", output]
        command += ["--max_batch_sec", "60"]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stderr
        peaks_mib[num_minutes] = int(told.splitlines()[-1])
        (record,) = lines_of(output)
        assert record["duration_sec"] == 60 * num_minutes
        assert record["words"][-1]["end_sec"] > 60 * num_minutes - 5
    assert peaks_mib[30] < peaks_mib[2] + 60


def beginnings_of_real_utterances(folder: Path) -> dict[str, list[Path]]:
    """The first two seconds of four utterances of each of two speakers, by speaker."""
    archive = SHARED / "voxceleb_archives" / "vox1_dev_wav.zip"
    if not archive.is_file():
        pytest.skip(f"there is no real speech in {archive}")
    found: dict[str, list[Path]] = {"id10001": [], "id10002": []}
    with zipfile.ZipFile(archive) as files:
        for name in sorted(files.namelist()):
            paths = found.get(name.split("/")[1], [])
            if name.endswith(".wav") and name.split("/")[1] in found and len(paths) < 4:
                waveform, rate_hz = soundfile.read(BytesIO(files.read(name)))
                paths.append(folder / name.replace("/", "_"))
                soundfile.write(paths[-1], waveform[: 2 * rate_hz], rate_hz)
    return found


def learn_two_voices(checkpoint: Path, utterances: dict[str, list[Path]], written: Path) -> None:
    """Train a checkpoint's network to tell two speakers apart, and find its threshold."""
    content = torch.load(checkpoint, weights_only=True)
    network = load_trained(checkpoint).network
    normaliser = NormaliseWaveform(eps=1e-7)
    paths = [path for of_speaker in utterances.values() for path in of_speaker]
    waveforms = torch.stack(
        [normaliser(torch.from_numpy(soundfile.read(path, dtype="float32")[0])) for path in paths]
    )
    speakers = torch.arange(2).repeat_interleave(len(paths) // 2)
    num_samples = torch.full((len(paths),), waveforms.shape[1])
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    for _ in range(100):
        logits = 10 * network(waveforms, num_samples).logits
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(logits, speakers).backward()
        optimiser.step()
    with torch.no_grad():
        embeddings = network(waveforms, num_samples).embeddings
    directions = torch.nn.functional.normalize(embeddings, dim=1)
    left, right = torch.triu_indices(len(paths), len(paths), offset=1)
    scores = (directions @ directions.T)[left, right].numpy()
    rate, threshold = equal_error_rate(scores, (speakers[left] == speakers[right]).int().numpy())
    assert rate == 0
    content["state_dict"] |= {f"network.{name}": w for name, w in network.state_dict().items()}
    # Somewhat below the least of the pairs of one speaker, which is where no error begins.
    content[RECORD_KEY]["metrics"]["val_eer_threshold"] = threshold - 1e-4
    torch.save(content, written)


def test_two_known_speakers_of_real_speech(checkpoints, tmp_path, monkeypatch, capsys):
    utterances = beginnings_of_real_utterances(tmp_path)
    learn_two_voices(checkpoints["train_speaker"], utterances, tmp_path / "voices.ckpt")
    paths = [str(path) for of_speaker in utterances.values() for path in of_speaker]
    command = ["predict", str(tmp_path / "voices.ckpt"), *paths, "--verify"]
    assert main(command) == 0
    told = capsys.readouterr()
    verification = json.loads(told.out.splitlines()[-1])
    assert verification["verification"] == paths
    same, different = [True] * 4 + [False] * 4, [False] * 4 + [True] * 4
    assert verification["same_speaker"] == [same] * 4 + [different] * 4
    assert len(re.findall(r"\d\*", told.err)) == 2 * 4 * 4
    features = {"avx512_bf16": True, "avx512_vnni": True}  # Others are emulated.
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: features)
    for precision in ("bf16-mixed", "int8-mixed"):
        assert main([*command, "--precision", precision]) == 0
        of_precision = json.loads(capsys.readouterr().out.splitlines()[-1])
        cosines, others = (each["similarities"] for each in (of_precision, verification))
        assert cosines != others
        np.testing.assert_allclose(cosines, others, rtol=0, atol=0.05)
