"""The decoder of every audio file that this project reads.

soundfile decodes flac, wav and its relatives (aiff, w64). PyAV, the FFmpeg libraries in a Python
package, decodes everything else: m4a, mp3, ogg, opus, webm, amr and more. The content of a file
decides, not its name. Samples are decoded in blocks, so that a long file takes no more memory than
a short one.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from io import BufferedReader, BytesIO
from itertools import chain
from math import gcd
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from w2v2_mt.audio.completeness import (
    RIFF_MAGICS,
    BinaryFile,
    check_complete,
    check_nothing_follows,
    lacks_size,
)
from w2v2_mt.audio.flac import count_flac_samples, is_flac
from w2v2_mt.audio.pyav_files import (
    NamelessFile,
    min_duration_sec,
    mpeg_frame_bytes,
    num_mp3_frames,
)
from w2v2_mt.audio.stream import AudioStream, DecodingError, Samples, reason_of
from w2v2_mt.core.units import SAMPLE_RATE_HZ

if TYPE_CHECKING:
    from av import AudioFrame
    from av import AudioStream as PyavStream
    from av.container import InputContainer

BLOCK_SEC = 8
MAX_BLOCK_VALUES = 1 << 24
"""The most values of all channels in a block."""

MIN_SAMPLE_RATE_HZ = 1000
"""Speech needs more, and the ratio of two rates must stay small."""

MAX_SAMPLE_RATE_HZ = 768_000
MAX_NUM_CHANNELS = 64

SOUNDFILE_MAGICS = (*RIFF_MAGICS, b"fLaC")
UNKNOWN_NUM_SAMPLES = 2**62
"""From this number on, libsndfile means that a flac file does not hold its length."""

PYAV_OPTIONS = {
    # A playlist must not open other files or addresses.
    "protocol_whitelist": "none",
    # FFmpeg would open a decoder only to probe the stream, which takes a third of the time.
    "codec_whitelist": "none",
}


@contextmanager
def open_audio(source: Path | bytes, *, name: str, start_sec: float = 0.0) -> Iterator[AudioStream]:
    """Open an audio file, or the content of one; `name` is its name in messages.

    Args:
        start_sec: The samples before this time are not needed. A file of soundfile is read from
            the last sample before it that is also a sample at 16 kHz; any other file is decoded
            from its beginning, since FFmpeg cannot seek in all formats to the sample.

    Raises:
        ValueError: The file is not audio, truncated, or has too low a sample rate.
    """
    with ExitStack() as stack:
        try:
            file: BinaryFile = BytesIO(source) if isinstance(source, bytes) else source.open("rb")
            stack.enter_context(file)
            if isinstance(source, Path):
                status = os.stat(source)
                num_flac_samples = _check_file(source, status.st_size, status.st_mtime_ns)
            else:
                num_flac_samples = _check(file, name)
            open_stream = _open_soundfile if _is_for_soundfile(file) else _open_pyav
            file.seek(0)
        except OSError as error:
            raise ValueError(f"{name} cannot be read ({reason_of(error)}).") from error
        stream = stack.enter_context(open_stream(file, name, num_flac_samples, start_sec))
        if not MIN_SAMPLE_RATE_HZ <= stream.sample_rate_hz <= MAX_SAMPLE_RATE_HZ:
            raise ValueError(
                f"{name} has a sample rate of {stream.sample_rate_hz} Hz, which must be "
                f"{MIN_SAMPLE_RATE_HZ} Hz or more and at most {MAX_SAMPLE_RATE_HZ} Hz. Get "
                "another file."
            )
        if stream.num_channels > MAX_NUM_CHANNELS:
            raise ValueError(
                f"{name} has {stream.num_channels} channels; at most {MAX_NUM_CHANNELS} are "
                "read. Get another file."
            )
        yield stream


@lru_cache(maxsize=64)
def _check_file(path: Path, num_bytes: int, mtime_ns: int) -> int:
    """Check a file once, since thousands of segments may be read of it."""
    with path.open("rb") as file:
        return _check(file, str(path))


def _check(file: BinaryFile, name: str) -> int:
    """Raise ValueError for a truncated file; return the number of samples of a FLAC file, or 0."""
    check_complete(file, name=name)
    return count_flac_samples(file, name=name) if is_flac(file) else 0


def _cannot_be_decoded(name: str, error: Exception) -> ValueError:
    return ValueError(f"{name} cannot be decoded as audio ({reason_of(error)}). Get another file.")


def _block_samples(rate_hz: int, num_channels: int) -> int:
    return max(1, min(BLOCK_SEC * rate_hz, MAX_BLOCK_VALUES // max(1, num_channels)))


def _is_for_soundfile(file: BinaryFile) -> bool:
    """Return True for the formats of libsndfile, in a codec that it has."""
    file.seek(0)
    head = file.read(12)
    if head[:4] not in SOUNDFILE_MAGICS or head[8:] == b"AVI " or lacks_size(file):
        return False
    file.seek(0)
    try:
        info = soundfile.info(file.name if isinstance(file, BufferedReader) else file)
    except (soundfile.SoundFileError, OSError):
        return False
    return not info.subtype.startswith("MPEG")  # whose number of samples is a guess


class ForwardSoundFile(soundfile.SoundFile):
    """A file that is read from its beginning, or from where `seek` has moved to, to its end.

    soundfile seeks to the end of each block in a seekable file, which takes longer than decoding.
    """

    def seekable(self) -> bool:
        """Return False."""
        return False


@contextmanager
def _open_soundfile(
    file: BinaryFile, name: str, num_flac_samples: int, start_sec: float
) -> Iterator[AudioStream]:
    try:
        # libsndfile reads a file on disk itself, which is faster than through Python.
        sound = ForwardSoundFile(file.name if isinstance(file, BufferedReader) else file)
    except (soundfile.SoundFileError, OSError) as error:
        raise _cannot_be_decoded(name, error) from error
    with sound:
        num_samples = sound.frames if sound.frames < UNKNOWN_NUM_SAMPLES else None
        num_samples = num_samples or num_flac_samples or None
        block_samples = _block_samples(sound.samplerate, sound.channels)
        period = sound.samplerate // gcd(sound.samplerate, SAMPLE_RATE_HZ)
        first_sample = min(int(start_sec * sound.samplerate) // period * period, num_samples or 0)

        def blocks() -> Iterator[Samples]:
            # not further: a tag may follow
            num_left = (num_samples or UNKNOWN_NUM_SAMPLES) - first_sample
            try:
                if first_sample > 0:
                    sound.seek(first_sample)
                while size := min(block_samples, num_left):
                    block = sound.read(size, dtype="float32", always_2d=True)
                    if len(block) == 0:
                        return
                    num_left -= len(block)
                    yield block
            except soundfile.SoundFileError as error:
                raise DecodingError(reason_of(error)) from error

        yield AudioStream(
            name=name,
            sample_rate_hz=sound.samplerate,
            num_channels=sound.channels,
            num_samples=num_samples,
            min_num_samples=num_samples or 0,
            blocks=blocks(),
            first_sample=first_sample,
            can_seek=num_samples is not None,
        )


@contextmanager
def _open_pyav(
    file: BinaryFile, name: str, num_flac_samples: int, start_sec: float
) -> Iterator[AudioStream]:
    import av  # wav and flac files, as in shards, do not need it

    try:
        is_mp4 = file.read(8).endswith(b"ftyp")
        file.seek(0)
        # Without the format, FFmpeg asks each of its hundreds of demuxers.
        nameless = NamelessFile(file)
        container = av.open(nameless, "r", format="mov" if is_mp4 else None, options=PYAV_OPTIONS)
    except (av.FFmpegError, OSError, ValueError) as error:
        raise _cannot_be_decoded(name, error) from error
    with container:
        if not container.streams.audio:
            raise _cannot_be_decoded(name, ValueError("it has no audio stream"))
        stream = container.streams.audio[0]
        stream.codec_context.thread_count = 1
        try:
            frames = _frames(container, stream, file, name)
            first_frame = next(frames, None)
        except DecodingError as error:
            raise _cannot_be_decoded(name, error) from error
        if first_frame is None:
            raise ValueError(f"{name} holds no audio; it must have at least one sample.")
        # Frames have the true rate of a codec that doubles the one of its container (HE-AAC).
        rate_hz = first_frame.sample_rate
        yield AudioStream(
            name=name,
            sample_rate_hz=rate_hz,
            num_channels=first_frame.layout.nb_channels,
            num_samples=None,
            min_num_samples=max(
                num_flac_samples, round(min_duration_sec(container, stream) * rate_hz)
            ),
            blocks=_blocks(chain([first_frame], frames), name),
        )


def _frames(
    container: "InputContainer", stream: "PyavStream", file: BinaryFile, name: str
) -> Iterator["AudioFrame"]:
    import av

    codec = stream.codec_context.codec.canonical_name
    num_packets, min_num_packets, end = 0, 0, 0
    is_wav = container.format.name == "wav"
    try:
        for packet in container.demux(stream):
            if packet.is_corrupt and not is_wav:  # checked already
                raise ValueError(f"{name} is truncated within its samples. Get the file again.")
            if codec in ("mp1", "mp2", "mp3") and packet.size:
                head = bytes(memoryview(packet)[:4])
                if head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
                    continue  # a tag after a recording
                if codec == "mp3" and num_packets == 0:
                    min_num_packets = num_mp3_frames(file, packet)
                num_packets += 1
                if packet.size < mpeg_frame_bytes(head):
                    raise ValueError(
                        f"{name} is truncated within its last frame. Get the file again."
                    )
            end = max(end, (packet.pos or 0) + packet.size)
            for frame in packet.decode():
                if frame.is_corrupt:
                    raise ValueError(f"{name} is truncated or corrupt. Get the file again.")
                yield frame
        check_nothing_follows(file, end, name=name)
    except (av.FFmpegError, OSError) as error:
        raise DecodingError(reason_of(error)) from error
    if num_packets < min_num_packets:
        raise ValueError(
            f"{name} is truncated: it has {num_packets} of the {min_num_packets} frames that its "
            "header counts. Get the file again."
        )


def _blocks(frames: Iterable["AudioFrame"], name: str) -> Iterator[Samples]:
    from av.audio.fifo import AudioFifo

    fifo = AudioFifo()
    for frame in frames:
        frame.pts = None  # the timestamps of chained Ogg files start again
        try:
            fifo.write(frame)
        except ValueError as error:
            raise ValueError(
                f"{name} changes its sample rate or number of channels midway. Split the file."
            ) from error
        if fifo.samples >= _block_samples(fifo.sample_rate, frame.layout.nb_channels):
            yield _samples_of(fifo.read())
    if fifo.samples:
        yield _samples_of(fifo.read())


def _samples_of(frame: "AudioFrame | None") -> Samples:
    assert frame is not None
    samples = frame.to_ndarray()
    if frame.format.is_packed:
        samples = samples.reshape(-1, frame.layout.nb_channels).T
    if samples.dtype == np.uint8:
        return ((samples.astype(np.float32) - 128) / 128).T
    if samples.dtype.kind == "i":
        return (samples.astype(np.float32) / 2.0 ** (8 * samples.dtype.itemsize - 1)).T
    return samples.astype(np.float32, copy=False).T
