"""Helpers for files that PyAV decodes: hide their names, and read durations in headers."""

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from w2v2_mt.audio.completeness import BinaryFile

if TYPE_CHECKING:
    from av import AudioStream, Packet
    from av.container import InputContainer

DURATION_ERRORS_SEC = {
    "au": 0.0,
    "caf": 0.3,  # the last packet of a compressed stream is not full
    "nistsphere": 0.0,
    "mov": 0.02,
    "matroska": 0.2,
    "asf": 0.2,
}
"""The most by which less than the duration in the header may be decoded, per FFmpeg format.

FFmpeg guesses the durations of other formats from the size of the file.
"""

MP3_FRAME_COUNT = re.compile(
    rb"(?:VBRI.{10}|(?:Xing|Info)...[\x01\x03\x05\x07\x09\x0b\x0d\x0f])(....)", re.DOTALL
)
"""The header of an mp3 file that counts its frames. Source: Fraunhofer (VBRI), LAME (Xing)."""

MP3_MAX_FRAME_BYTES = 2881


@dataclass
class NamelessFile:
    """A file without a name, since FFmpeg would guess the format from the suffix."""

    file: BinaryFile

    def __post_init__(self) -> None:
        position = self.file.tell()
        self.num_bytes = self.file.seek(0, os.SEEK_END)
        self.file.seek(position)

    def read(self, num_bytes: int) -> bytes:
        """Return the next bytes."""
        return self.file.read(num_bytes)

    def tell(self) -> int:
        """Return the position."""
        return self.file.tell()

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the position within the file and return it; -1 if it is before the beginning."""
        starts = {os.SEEK_SET: 0, os.SEEK_CUR: self.file.tell(), os.SEEK_END: self.num_bytes}
        position = starts[whence] + offset if whence in starts else -1
        return self.file.seek(min(position, self.num_bytes)) if position >= 0 else -1


BITRATES_KBPS = {
    # (is MPEG-1, layer): by the code in the header
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""Source: ISO/IEC 11172-3 and 13818-3."""

RATES_HZ = (44_100, 48_000, 32_000)


def mpeg_frame_bytes(header: bytes) -> int:
    """Return the size of a frame of MPEG audio by its header; 0 if it does not hold the size."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return 0
    version, layer = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3)
    bitrate_code, rate_code, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if version == 1 or layer == 4 or bitrate_code == 15 or rate_code == 3:
        return 0
    rate_hz = RATES_HZ[rate_code] // {3: 1, 2: 2, 0: 4}[version]
    bitrate = 1000 * BITRATES_KBPS[version == 3, layer][bitrate_code]
    if bitrate == 0:
        return 0
    if layer == 1:
        return (12 * bitrate // rate_hz + padding) * 4
    return (72 if layer == 3 and version != 3 else 144) * bitrate // rate_hz + padding


def num_mp3_frames(file: BinaryFile, first_packet: "Packet") -> int:
    """Return the number of frames in the header before the first packet, at least; or 0."""
    position, end = file.tell(), first_packet.pos or 0
    file.seek(max(0, end - MP3_MAX_FRAME_BYTES))
    found = MP3_FRAME_COUNT.search(file.read(min(end, MP3_MAX_FRAME_BYTES)))
    file.seek(position)
    # Some encoders count the header, too.
    return 0 if found is None else int.from_bytes(found[1], "big") - 1


def min_duration_sec(container: "InputContainer", stream: "AudioStream") -> float:
    """Return the shortest duration that the header allows; 0 if it does not hold a duration."""
    import av

    error_sec = DURATION_ERRORS_SEC.get(container.format.name.partition(",")[0])
    if error_sec is not None and stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base) - error_sec
    if error_sec is not None and container.duration is not None:
        return container.duration / av.time_base - error_sec
    return 0.0
