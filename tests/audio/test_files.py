import math
import os
import subprocess
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from w2v2_mt.audio.file_names import AUDIO_SUFFIXES
from w2v2_mt.audio.files import find_audio_files, read_header, read_windows


def sine(rate_hz, duration_sec, frequency_hz=440.0):
    return 0.5 * np.sin(
        2 * np.pi * frequency_hz * np.arange(round(rate_hz * duration_sec)) / rate_hz
    )


def convert(source, target, options=""):
    command = ["ffmpeg", "-y", "-loglevel", "error", "-i", source, *options.split(), target]
    subprocess.run(command, check=True)


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
    assert {".wav", ".flac", ".mp3", ".ogg", ".opus", ".aif"} <= AUDIO_SUFFIXES


def test_one_rule_decides_which_files_count(tmp_path):
    audio = ("a.wave", "b.BWF", "c.Mp2", "d.m4b", "linked/e.wav")
    others = ("._a.wav", ".DS_Store", "__MACOSX/a.wav", "Thumbs.db", ".hidden/a.wav", "a.txt")
    for name in (*audio[:4], *others, "../elsewhere/e.wav"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).touch()
    (tmp_path / "in" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "cycle").symlink_to(tmp_path / "in")
    os.mkfifo(tmp_path / "in" / "pipe.wav")
    passed_over: list[Path] = []
    found = find_audio_files([tmp_path / "in"], on_passed_over=passed_over.append)
    assert found == [tmp_path / "in" / name for name in audio]
    assert sorted(passed_over) == sorted(tmp_path / "in" / name for name in (*others, "pipe.wav"))
    with pytest.raises(ValueError, match=r"pipe.wav is a pipe, socket or device"):
        find_audio_files([tmp_path / "in" / "pipe.wav"])


def test_what_is_not_there_is_refused(tmp_path):
    with pytest.raises(ValueError, match="gone does not exist"):
        find_audio_files([tmp_path / "gone"])
    with pytest.raises(ValueError, match="holds no audio file"):
        find_audio_files([tmp_path])


def test_unreadable_files_are_refused_by_name(tmp_path):
    (tmp_path / "none.wav").touch()
    (tmp_path / "text.wav").write_text("This is no audio.\n" * 100)
    soundfile.write(tmp_path / "silent.wav", np.zeros(0), 16_000)
    soundfile.write(tmp_path / "nan.wav", np.array([0.0, np.nan]), 16_000, subtype="FLOAT")
    for name in ("none.wav", "text.wav"):
        with pytest.raises(ValueError, match=f"{name} cannot be decoded as audio"):
            read_header(tmp_path / name)
    with pytest.raises(ValueError, match="silent.wav holds no audio"):
        read_header(tmp_path / "silent.wav")
    soundfile.write(tmp_path / "huge.wav", np.array([0.0, 1e30]), 16_000, subtype="FLOAT")
    for name in ("nan.wav", "huge.wav"):
        with pytest.raises(ValueError, match=f"{name} holds NaN, infinite or impossibly large"):
            whole(tmp_path / name)


def test_a_truncated_flac_file_is_corrupt(tmp_path):
    path = tmp_path / "truncated.flac"
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 160_000)
    soundfile.write(path, noise, 16_000)
    path.write_bytes(path.read_bytes()[:200_000])
    with pytest.raises(ValueError, match=r"truncated.flac is corrupt after 0\.0 s"):
        whole(path)


@pytest.mark.parametrize(
    "kind", ["wav", "aiff", "au", "w64", "rf64", "svx", "nist", "ogg", "voc", "caf", "mp3"]
)
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_truncated_file_is_refused_before_prediction(tmp_path, kind, share):
    path = tmp_path / f"truncated.{kind}"
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 32_000)
    soundfile.write(path, noise, 16_000, format=kind.upper())
    assert len(whole(path)) == 32_000
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=rf"truncated\.{kind} is (truncated|corrupt)"):
        read_header(path)


@pytest.mark.programs("ffmpeg")
@pytest.mark.parametrize("kind", ["wav", "aiff", "au", "w64", "flac", "ogg"])
def test_a_file_that_came_through_a_pipe_is_whole(tmp_path, kind):
    soundfile.write(tmp_path / "a.wav", sine(16_000, 2), 16_000)
    command = ("ffmpeg", "-loglevel", "fatal", "-i", tmp_path / "a.wav", "-f", kind, "-")
    piped = tmp_path / f"piped.{kind}"
    piped.write_bytes(subprocess.run(command, check=False, capture_output=True).stdout)
    audio = read_header(piped)
    assert (audio.num_source_samples, len(whole(piped))) == (32_000, 32_000)


def test_a_name_that_is_not_utf_8_is_refused(tmp_path):
    soundfile.write(tmp_path / "a.wav", sine(16_000, 1), 16_000)
    odd = (tmp_path / "a.wav").rename(tmp_path / "a\udcff.wav")
    with pytest.raises(ValueError, match=r"a\\udcff\.wav' is not a name in UTF-8"):
        read_header(odd)


def test_a_sample_rate_too_low_for_speech_is_refused(tmp_path):
    soundfile.write(tmp_path / "slow.wav", np.zeros(100), 8)
    with pytest.raises(
        ValueError, match="slow.wav has a sample rate of 8 Hz, which must be 1000 Hz or more"
    ):
        read_header(tmp_path / "slow.wav")


@pytest.mark.programs("ffmpeg")
def test_a_file_is_the_same_read_in_windows_as_in_one_go(tmp_path):
    soundfile.write(tmp_path / "a.wav", sine(44_100, 20), 44_100)
    for name in ("a.mp3", "a.m4a"):
        convert(tmp_path / "a.wav", tmp_path / name, "-b:a 64k")
        audio = read_header(tmp_path / name)
        windows = [*read_windows(audio, window_samples=16_000, hop_samples=16_000)]
        assert len(windows) > 19
        assert torch.equal(torch.cat([window.waveform for window in windows]), whole(audio.path))


@pytest.mark.parametrize(
    "options", ["-q:a 2", "-b:a 64k -id3v2_version 0", f"-b:a 32k -metadata title={9999 * 'a'}"]
)
@pytest.mark.programs("ffmpeg")
def test_an_mp3_is_read_to_its_end_with_and_without_a_frame_count(tmp_path, options):
    # Noise takes many bits, so that a guess from the first frames is far too short.
    sound = np.concatenate([np.random.default_rng(0).uniform(-1, 1, 16_000), np.zeros(64_000)])
    soundfile.write(tmp_path / "a.wav", sound, 16_000)
    for has_header in (0, 1):
        convert(
            tmp_path / "a.wav",
            tmp_path / f"{has_header}.mp3",
            f"{options} -write_xing {has_header}",
        )
    without, with_count = (read_header(tmp_path / f"{number}.mp3") for number in (0, 1))
    assert with_count.num_source_samples == 80_000
    # The header also holds the numbers of samples to trim at both ends.
    assert 80_000 < without.num_source_samples < 84_000
    # A header that holds other metadata, but no count.
    content = bytearray(with_count.path.read_bytes())
    flags = max(content.find(b"Xing"), content.find(b"Info")) + 7
    assert content[flags] & 1
    content[flags] &= ~1
    with_count.path.write_bytes(content)
    assert 80_000 <= read_header(with_count.path).num_source_samples < 84_000


def test_tags_around_an_mp3_are_not_audio(tmp_path):
    soundfile.write(tmp_path / "a.mp3", sine(16_000, 2), 16_000)
    content = (tmp_path / "a.mp3").read_bytes()
    id3 = b"TAG" + bytes(125)
    ape = b"APETAGEX" + (2000).to_bytes(4, "little") + bytes(20) + b"abcd" * 500
    for tag in (id3, ape, ape + id3):
        (tmp_path / "tagged.mp3").write_bytes(content + tag)
        waveform = whole(tmp_path / "tagged.mp3")
        # FFmpeg does not trim the padding of a file that is longer than its header says.
        assert 32_000 <= len(waveform) < 34_000
        assert torch.equal(waveform[:32_000], whole(tmp_path / "a.mp3"))


def test_a_playlist_opens_no_other_file(tmp_path):
    soundfile.write(tmp_path / "a.mp3", sine(16_000, 2), 16_000)
    lines = ("#EXTM3U", "#EXT-X-TARGETDURATION:2", "#EXTINF:2,", "a.mp3", "#EXT-X-ENDLIST")
    (tmp_path / "list.m3u8").write_text("\n".join(lines))
    (tmp_path / "list.ffconcat").write_text("ffconcat version 1.0\nfile a.mp3\n")
    for name in ("list.m3u8", "list.ffconcat"):
        with pytest.raises(ValueError, match=f"{name} cannot be decoded as audio"):
            read_header(tmp_path / name)


@pytest.mark.programs("ffmpeg")
def test_a_long_file_is_read_in_bounded_memory(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(600 * 16_000), 16_000)
    convert(tmp_path / "a.wav", tmp_path / "a.m4a", "-b:a 32k")
    for name in ("a.wav", "a.m4a"):
        tracemalloc.start()
        num_windows = sum(
            1
            for _ in read_windows(
                read_header(tmp_path / name), window_samples=16_000, hop_samples=16_000
            )
        )
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert num_windows in (600, 601)
        assert peak_bytes < 10e6  # the file takes 38 MB as float32
