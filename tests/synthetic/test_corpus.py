"""The synthetic corpus looks like the official archives and is the same on every machine."""

import io
import json
import re
import tarfile
import zipfile

import pytest
import soundfile

from tests.synthetic import TINY
from w2v2_mt.app import commands
from w2v2_mt.data.trials import keys_of_trials, read_trials
from w2v2_mt.synthetic.corpus import write_synthetic_corpus
from w2v2_mt.synthetic.corpus_plan import TEST_SUBSETS, TRAIN_SUBSETS
from w2v2_mt.synthetic.phonemes import WORDS

SUBSETS = (*TRAIN_SUBSETS, *TEST_SUBSETS)
READER_FILE = re.compile(r"LibriSpeech/([\w-]+)/(\d+)/(\d+)/\2-\3(-\d{4}\.flac|\.trans\.txt)")
VIDEO_FILE = re.compile(r"wav/(id1\d{4})/[\w-]{11}/\d{5}\.wav")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    write_synthetic_corpus(folder, seed=4, sizes=TINY, num_workers=1)
    return folder


def tar_members(path):
    with tarfile.open(path) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive}


def zip_members(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def speakers(folder, set_name):
    names = zip_members(folder / f"voxceleb_archives/vox1_{set_name}_wav.zip")
    return {VIDEO_FILE.fullmatch(name)[1] for name in names}


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_folder_holds_the_archives_lists_and_nothing_else(folder):
    expected = {f"librispeech/{subset}.tar.gz" for subset in SUBSETS}
    expected |= {f"voxceleb_archives/vox1_{name}_wav.zip" for name in ("dev", "test")}
    expected |= {"voxceleb_meta/vox1_meta.csv", "voxceleb_meta/veri_test2.txt"}
    assert set(contents(folder)) == expected
    assert {path.name for path in folder.iterdir()} == {
        "librispeech",
        "voxceleb_archives",
        "voxceleb_meta",
    }


@pytest.mark.parametrize("subset", SUBSETS)
def test_a_reader_archive_is_laid_out_as_the_official_one(folder, subset):
    members = tar_members(folder / f"librispeech/{subset}.tar.gz")
    in_folders = [name for name in members if name.count("/") > 1]
    assert set(members) - set(in_folders) == {"LibriSpeech/README.TXT", "LibriSpeech/SPEAKERS.TXT"}
    assert all(READER_FILE.fullmatch(name)[1] == subset for name in in_folders)
    transcripts = {
        line.partition(" ")[0]: line.partition(" ")[2].split()
        for name, content in members.items()
        if name.endswith(".trans.txt")
        for line in content.decode().splitlines()
    }
    audio_names = {name.rpartition("/")[2].removesuffix(".flac") for name in in_folders}
    assert set(transcripts) == {name for name in audio_names if not name.endswith(".txt")}
    assert all(set(words) <= set(WORDS) for words in transcripts.values())


def test_the_official_archives_have_the_same_shape(shared_folder):
    names = tar_members(shared_folder / "data/librispeech/dev-clean.tar.gz")
    assert all(READER_FILE.fullmatch(name) for name in names if name.count("/") > 1)
    names = zip_members(shared_folder / "data/voxceleb_archives/vox1_test_wav.zip")
    assert all(VIDEO_FILE.fullmatch(name) for name in names)


def test_the_preparation_reads_what_was_written(folder, tmp_path):
    (tmp_path / "librispeech").symlink_to(folder / "librispeech")
    arguments = ["--data_folder", str(tmp_path), "--subsets", "train-other-500"]
    assert commands.main(["prepare", "librispeech", *arguments, "--num_workers", "0"]) == 0
    meta = json.loads((tmp_path / "librispeech_shards/train_other_500/meta.json").read_text())
    expected = TINY.num_train_readers * 2 * TINY.num_utterances_per_train_chapter
    assert (meta["num_utterances"], meta["num_rejected"]) == (expected, 0)


def test_no_two_sets_share_a_speaker(folder):
    readers = [
        {READER_FILE.fullmatch(name)[2] for name in tar_members(path) if name.count("/") > 1}
        for path in sorted((folder / "librispeech").iterdir())
    ]
    assert sum(map(len, readers)) == len(set().union(*readers)) == 7 * 2
    assert speakers(folder, "dev").isdisjoint(speakers(folder, "test"))


@pytest.mark.parametrize(
    "archive", ["librispeech/dev-other.tar.gz", "voxceleb_archives/vox1_dev_wav.zip"]
)
def test_audio_is_16_khz_mono_16_bit_of_one_to_three_seconds(folder, archive):
    read = tar_members if archive.endswith("gz") else zip_members
    for name, content in read(folder / archive).items():
        if name.endswith((".flac", ".wav")):
            metadata = soundfile.info(io.BytesIO(content))
            assert (metadata.samplerate, metadata.channels, metadata.subtype) == (
                16_000,
                1,
                "PCM_16",
            )
            assert metadata.format == name.rpartition(".")[2].upper()
            assert 0.7 < metadata.duration < 3.0


def test_the_speakers_table_shows_sex_subset_and_minutes(folder):
    members = tar_members(folder / "librispeech/test-clean.tar.gz")
    lines = members["LibriSpeech/SPEAKERS.TXT"].decode().splitlines()
    assert lines[0].startswith(";ID")
    rows = [[cell.strip() for cell in line.split("|")] for line in lines[1:]]
    assert [(row[1], row[2]) for row in rows] == [("F", "test-clean"), ("M", "test-clean")]
    seconds = sum(
        soundfile.info(io.BytesIO(content)).duration
        for name, content in members.items()
        if name.endswith(".flac") and f"/{rows[0][0]}/" in name
    )
    assert float(rows[0][3]) == pytest.approx(seconds / 60, abs=0.005)


def test_the_meta_table_shows_the_sex_and_set_of_every_speaker(folder):
    header, *lines = (folder / "voxceleb_meta/vox1_meta.csv").read_text().splitlines()
    rows = [line.split("\t") for line in lines]
    assert header == "VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet"
    assert {row[2] for row in rows} == {"f", "m"}
    for set_name in ("dev", "test"):
        assert {row[0] for row in rows if row[4] == set_name} == speakers(folder, set_name)


def test_the_header_of_the_meta_table_is_the_official_one(folder, shared_folder):
    ours, official = (
        (path / "voxceleb_meta/vox1_meta.csv").read_bytes().splitlines(keepends=True)[0]
        for path in (folder, shared_folder / "data")
    )
    assert ours == official


def test_the_trials_name_files_of_the_test_archive(folder):
    trials = read_trials(folder / "voxceleb_meta/veri_test2.txt", producer="the test")
    assert sum(trial.same_speaker for trial in trials) * 2 == len(trials) == 20
    files = zip_members(folder / "voxceleb_archives/vox1_test_wav.zip")
    assert keys_of_trials(trials) <= {name[4:-4] for name in files}


def test_the_same_seed_gives_the_same_bytes_with_any_number_of_workers(folder, tmp_path):
    write_synthetic_corpus(tmp_path, seed=4, sizes=TINY, num_workers=2)
    assert contents(tmp_path) == contents(folder)


def test_another_seed_gives_another_corpus(folder, tmp_path):
    write_synthetic_corpus(tmp_path, seed=5, sizes=TINY, num_workers=1)
    ours, others = contents(folder), contents(tmp_path)
    same = [name for name in ours if ours[name] == others[name]]
    assert same == ["voxceleb_meta/vox1_meta.csv"]  # ids and sexes do not depend on the seed


def test_a_file_that_exists_is_never_overwritten(tmp_path):
    archive = tmp_path / "librispeech/dev-clean.tar.gz"
    archive.parent.mkdir()
    archive.write_bytes(b"real speech")
    with pytest.raises(
        ValueError, match="dev-clean.tar.gz exists and may be real speech; remove it"
    ):
        write_synthetic_corpus(tmp_path, seed=4, sizes=TINY, num_workers=1)
    assert contents(tmp_path) == {"librispeech/dev-clean.tar.gz": b"real speech"}


def test_a_run_that_fails_leaves_no_file(tmp_path, monkeypatch):
    def fail(*arguments, **options):
        raise OSError("no space left")

    monkeypatch.setattr("w2v2_mt.synthetic.corpus.write_zip", fail)
    with pytest.raises(OSError, match="no space left"):
        write_synthetic_corpus(tmp_path, seed=4, sizes=TINY, num_workers=1)
    assert list(tmp_path.iterdir()) == []


def test_no_workers_are_an_error(tmp_path):
    with pytest.raises(ValueError, match="number of workers is 0, but must be at least 1"):
        write_synthetic_corpus(tmp_path, seed=4, sizes=TINY, num_workers=0)


def test_the_command_writes_a_corpus_of_the_given_sizes(folder, tmp_path, capsys):
    sizes = [f"--{name}={value}" for name, value in vars(TINY).items()]
    assert commands.main(["synthesise", str(tmp_path), "--seed=4", "--workers=1", *sizes]) == 0
    assert contents(tmp_path) == contents(folder)
    assert str(tmp_path / "voxceleb_meta/veri_test2.txt") in capsys.readouterr().out


def test_the_command_reports_bad_sizes_in_one_sentence(tmp_path, capsys):
    assert commands.main(["synthesise", str(tmp_path), "--num_trials_each=0"]) == 1
    assert (
        capsys.readouterr().err
        == "Error: num_trials_each is 0, but must be at least 1; give more.\n"
    )
