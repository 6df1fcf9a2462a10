import math
import subprocess

import numpy as np
import pytest
import soundfile
import torch
import torchaudio

from w2v2_mt.data.audio_files import audio_suffixes, find_audio_files, read_header
from w2v2_mt.data.audio_windows import read_windows


def sine(rate_hz, duration_sec, frequency_hz=440.0):
    return 0.5 * np.sin(
        2 * np.pi * frequency_hz * np.arange(round(rate_hz * duration_sec)) / rate_hz
    )


def whole(path):
    (window,) = read_windows(read_header(path), window_samples=10**9, hop_samples=10**9)
    return window.waveform


@pytest.mark.parametrize(
    ("name", "rate_hz", "num_channels", "subtype"),
    [
        ("a.flac", 48_000, 2, "PCM_24"),
        ("a.wav", 16_000, 1, "PCM_16"),
        ("a.wav", 44_100, 3, "FLOAT"),
        ("a.wav", 8000, 1, "ULAW"),
        ("a.mp3", 8000, 1, None),
        ("a.ogg", 22_050, 2, None),
        ("a.aiff", 32_000, 1, "PCM_16"),
    ],
)
def test_files_of_any_kind_become_16_khz_mono(tmp_path, name, rate_hz, num_channels, subtype):
    path = tmp_path / name
    tone = sine(rate_hz, 2)
    soundfile.write(path, np.stack([tone] * num_channels, axis=1), rate_hz, subtype=subtype)
    audio = read_header(path)
    assert (audio.sample_rate_hz, audio.num_channels) == (rate_hz, num_channels)
    waveform = whole(path)
    assert len(waveform) == pytest.approx(32_000, abs=0.1 * 16_000)
    spectrum = torch.fft.rfft(waveform[4000:20_000]).abs()
    assert int(spectrum.argmax()) == 440  # 16,000 samples: a bin for each hertz
    assert waveform[4000:20_000].std() == pytest.approx(0.5 / math.sqrt(2), rel=0.06)


def test_channels_are_averaged(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.array([[0.5, -0.25]] * 1000), 16_000, subtype="FLOAT")
    assert torch.equal(whole(path), torch.full((1000,), 0.125))


def test_a_folder_is_searched_for_audio_and_a_named_file_is_taken_as_it_is(tmp_path):
    for name in ("b.wav", "sub/a.FLAC", "sub/c.txt", "d.mp3", "e.json", "f.m4a"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    text = tmp_path / "in" / "e.json"
    (tmp_path / "in" / "g.wav").symlink_to("gone.wav")
    (tmp_path / "in" / "h.wav").mkdir()
    names = ("b.wav", "d.mp3", "f.m4a", "g.wav", "sub/a.FLAC")
    inside = [tmp_path / "in" / name for name in names]
    assert find_audio_files([tmp_path / "in"]) == inside
    assert find_audio_files([text, tmp_path / "in", inside[0]]) == [text, *inside]
    assert {".wav", ".flac", ".mp3", ".ogg", ".opus", ".aif"} <= audio_suffixes()


def test_what_is_not_there_is_refused(tmp_path):
    with pytest.raises(ValueError, match="there is no .*gone"):
        find_audio_files([tmp_path / "gone"])
    with pytest.raises(ValueError, match="has no audio file"):
        find_audio_files([tmp_path])


def test_unreadable_files_are_refused_by_name(tmp_path):
    (tmp_path / "none.wav").touch()
    (tmp_path / "text.wav").write_text("This is no audio.\n" * 100)
    soundfile.write(tmp_path / "silent.wav", np.zeros(0), 16_000)
    soundfile.write(tmp_path / "nan.wav", np.array([0.0, np.nan]), 16_000, subtype="FLOAT")
    for name in ("none.wav", "text.wav"):
        with pytest.raises(ValueError, match=f"{name} cannot be read as audio"):
            read_header(tmp_path / name)
    with pytest.raises(ValueError, match="silent.wav is empty"):
        read_header(tmp_path / "silent.wav")
    soundfile.write(tmp_path / "huge.wav", np.array([0.0, 1e30]), 16_000, subtype="FLOAT")
    for name in ("nan.wav", "huge.wav"):
        with pytest.raises(ValueError, match=f"{name} holds NaN, infinite or impossibly large"):
            whole(tmp_path / name)


def test_a_cut_file_is_refused(tmp_path):
    path = tmp_path / "cut.flac"
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 160_000)
    soundfile.write(path, noise, 16_000)
    path.write_bytes(path.read_bytes()[:200_000])
    with pytest.raises(ValueError, match=r"cut.flac (ends|is damaged) after \d+\.\d s"):
        whole(path)


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        *((kind, "is cut: it holds (68|69).* %") for kind in ("wav", "aiff", "au", "w64", "rf64")),
        ("svx", "is cut: it holds (68|69).* %"),
        ("nist", "is cut: it holds (68|69|67).* %"),
        ("ogg", "is cut: it has no end"),
        ("voc", "is cut: it has no end"),
        ("caf", "cannot be read as audio"),
    ],
)
def test_a_cut_file_is_refused_by_its_header(tmp_path, kind, sentence):
    path = tmp_path / f"cut.{kind}"
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 32_000)
    soundfile.write(path, noise, 16_000, format=kind.upper())
    assert len(whole(path)) == 32_000
    content = path.read_bytes()
    path.write_bytes(content[: len(content) - 20_000])
    with pytest.raises(ValueError, match=rf"cut\.{kind} {sentence}"):
        read_header(path)


@pytest.mark.parametrize("kind", ["wav", "aiff", "au", "w64", "flac", "ogg"])
def test_a_file_that_came_through_a_pipe_is_whole(tmp_path, kind):
    soundfile.write(tmp_path / "a.wav", sine(16_000, 2), 16_000)
    command = ("ffmpeg", "-loglevel", "fatal", "-i", tmp_path / "a.wav", "-f", kind, "-")
    piped = tmp_path / f"piped.{kind}"
    piped.write_bytes(subprocess.run(command, check=False, capture_output=True).stdout)
    audio = read_header(piped)
    assert (audio.num_source_samples, len(whole(piped))) == (32_000, 32_000)


def test_a_name_that_is_not_utf_8_is_told(tmp_path):
    soundfile.write(tmp_path / "a.wav", sine(16_000, 1), 16_000)
    odd = (tmp_path / "a.wav").rename(tmp_path / "a\udcff.wav")
    with pytest.raises(ValueError, match=r"a\\udcff\.wav' is no name in UTF-8"):
        read_header(odd)


def test_a_sample_rate_too_low_for_speech_is_refused(tmp_path):
    soundfile.write(tmp_path / "slow.wav", np.zeros(100), 8)
    with pytest.raises(ValueError, match="slow.wav has a sample rate of 8 Hz; give a file of 1000"):
        read_header(tmp_path / "slow.wav")


def test_an_mp3_is_the_same_read_in_blocks_as_in_one_go(tmp_path):
    # At so few bits, a frame begins in those before it.
    sound = sine(8000, 6) * np.sin(np.arange(48_000) / 997) ** 2
    soundfile.write(tmp_path / "a.wav", sound, 8000)
    command = ("ffmpeg", "-loglevel", "error", "-i", "a.wav", "-q:a", "7", "a.mp3")
    subprocess.run(command, check=True, cwd=tmp_path)
    in_one_go, rate_hz = soundfile.read(tmp_path / "a.mp3", dtype="float32")
    expected = torchaudio.functional.resample(torch.from_numpy(in_one_go), rate_hz, 16_000)
    torch.testing.assert_close(whole(tmp_path / "a.mp3"), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "options", ["-q:a 2", "-b:a 64k -id3v2_version 0", f"-b:a 32k -metadata title={9999 * 'a'}"]
)
def test_an_mp3_that_does_not_say_how_long_it_is_is_read_to_its_end(tmp_path, options):
    # Noise takes many bits, so that a guess from the first frames is far too short.
    sound = np.concatenate([np.random.default_rng(0).uniform(-1, 1, 16_000), np.zeros(64_000)])
    soundfile.write(tmp_path / "a.wav", sound, 16_000)
    for has_header in (0, 1):
        subprocess.run(
            [
                *("ffmpeg", "-loglevel", "error", "-i", tmp_path / "a.wav", *options.split()),
                *("-write_xing", str(has_header), tmp_path / f"{has_header}.mp3"),
            ],
            check=True,
        )
    if "-q" in options:
        assert soundfile.info(tmp_path / "0.mp3").frames < 60_000
    audio, other = (read_header(tmp_path / f"{has_header}.mp3") for has_header in (0, 1))
    # A header tells of samples to leave out at both ends, too.
    assert 0 <= audio.num_source_samples - other.num_source_samples < 4000
    assert abs(other.num_source_samples - 80_000) < 4000
    windows = [*read_windows(audio, window_samples=16_000, hop_samples=16_000)]
    assert torch.equal(torch.cat([window.waveform for window in windows]), whole(audio.path))
    # A header that has other facts, but no count.
    content = bytearray(other.path.read_bytes())
    flags = max(content.find(b"Xing"), content.find(b"Info")) + 7
    assert content[flags] & 1
    content[flags] &= ~1
    other.path.write_bytes(content)
    with pytest.raises(ValueError, match=r"1\.mp3 has a header without the number of its frames"):
        read_header(other.path)
