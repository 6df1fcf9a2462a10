from collections.abc import Callable
from pathlib import Path

import pytest

from w2v2_mt.manifests.manifest import Manifest, read_manifest

ReadCsv = Callable[..., Manifest]


@pytest.fixture
def read_csv(tmp_path: Path) -> ReadCsv:
    """Read a table whose recordings `a.wav`, `b.wav` and `sub/c.wav` exist, from text or bytes."""
    (tmp_path / "sub").mkdir()
    for name in ("a.wav", "b.wav", "sub/c.wav"):
        (tmp_path / name).touch()

    def read(content: str | bytes, *, name: str = "mine.csv", root: Path | None = None) -> Manifest:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_manifest(path, root=root)

    return read
