from pathlib import Path

import pytest

from w2v2_mt.prepare.voxceleb_utterances import read_sexes

TABS = b"""VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet
id1\tA, B\tm\tUK\tdev
id2\tC\tf\tUK\ttest
"""
COMMAS_WITH_A_BYTE_ORDER_MARK_AND_SPACES = b"""\xef\xbb\xbfVoxCeleb2 ID ,VGGFace2 ID ,Gender ,Set \r
id1 ,n1 ,m ,dev \r
id2 ,n2 ,f ,dev \r
"""
TABS_WITH_SPACES_AND_A_LATIN1_NAME = b"""Name \tVoxCeleb2 ID \tVGGFace2 ID \tGender \tSet \n
Jos\xe9 \tid1 \tn1 \tm \tdev \n
X \tid2 \tn2 \tf \tdev \n
"""


@pytest.mark.parametrize(
    "content",
    [TABS, COMMAS_WITH_A_BYTE_ORDER_MARK_AND_SPACES, TABS_WITH_SPACES_AND_A_LATIN1_NAME],
    ids=["tabs", "commas", "tabs and spaces"],
)
def test_every_official_edition_is_read(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "meta.csv").write_bytes(content)
    assert read_sexes(tmp_path / "meta.csv") == {"id1": "m", "id2": "f"}


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "is empty"),
        ("VoxCeleb1 ID\tSet\nid1\tdev\n", "has the columns VoxCeleb1 ID, Set; it needs 'Gender'"),
        ("VoxCeleb1 ID\tGender\nid1\tm\nid2\tx\n", "line 3: .* not a speaker with the sex"),
        ("VoxCeleb1 ID\tGender\nid1\n", "line 2"),
        ("VoxCeleb1 ID\tGender\nid1\tm\nid1\tf\n", "line 3: the speaker id1 has another sex"),
    ],
)
def test_a_malformed_file_is_refused(tmp_path: Path, content: str, complaint: str) -> None:
    (tmp_path / "meta.csv").write_text(content)
    with pytest.raises(ValueError, match=complaint):
        read_sexes(tmp_path / "meta.csv")


def test_both_editions_of_the_real_file_agree(shared_folder: Path) -> None:
    folder = shared_folder / "data" / "voxceleb_meta"
    sexes = read_sexes(folder / "vox2_meta.csv")
    assert len(sexes) == 128
    assert sexes == read_sexes(folder / "vox2_meta.tab_variant.csv")
