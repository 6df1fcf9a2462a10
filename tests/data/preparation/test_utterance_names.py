import pytest

from w2v2_mt.data.preparation.utterance_names import parse_key, parse_member_name


@pytest.mark.parametrize("folder", ["wav/", "dev/aac/", ""])
def test_the_last_three_parts_name_the_utterance(folder: str) -> None:
    name = parse_member_name(f"{folder}id10001/-_x1/00002.wav", source="x")
    assert name == ("id10001", "-_x1", "00002")
    assert name.key == "id10001/-_x1/00002"


def test_hidden_files_are_no_utterances() -> None:
    assert parse_member_name("__MACOSX/wav/id1/v/._00001.wav", source="x") is None


@pytest.mark.parametrize("key", ["id1/00001", "id1/v/0.1", "a/b/c/d", "id1//00001", ""])
def test_another_layout_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="^list.txt names .* not <speaker>/<video>/<utterance>"):
        parse_key(key, source="list.txt")
