"""Pickles, and options that would read them, wherever somebody else may have put them."""

import ast
import io
import json
import tarfile

import pytest

from tests.helpers.archive_files import noise
from tests.helpers.shard_files import encoded_audio
from w2v2_mt.app.commands import main
from w2v2_mt.app.main import launch
from w2v2_mt.settings.environment import PROJECT_FOLDER

UNPICKLING = {
    ("pickle", "load"), ("pickle", "loads"), ("cloudpickle", "load"), ("joblib", "load"),
    ("dill", "load"), ("yaml", "load"), ("yaml", "unsafe_load"), ("yaml", "full_load"),
    ("os", "system"), ("marshal", "loads"), ("shelve", "open"),
}  # fmt: skip
SOURCES = [
    path
    for folder in ("src", "scripts", "benchmarks")
    for path in sorted((PROJECT_FOLDER / folder).rglob("*.py"))
]


def unsafe_calls(source: str) -> list[str]:
    """Return the calls that may run code of a file, in one Python file."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        options = {each.arg: ast.unparse(each.value) for each in node.keywords}
        is_unsafe = (
            tuple(name.rpartition(".")[::2]) in UNPICKLING
            or (name == "torch.load" and options.get("weights_only") != "True")
            or (name.endswith("np.load") and options.get("allow_pickle", "False") != "False")
            or options.get("trust_remote_code") == "True"
            or options.get("shell") == "True"
            or name in ("eval", "exec")
        )
        if is_unsafe:
            found.append(ast.unparse(node))
    return found


def test_no_file_of_the_project_reads_pickles():
    found = {
        str(path): calls for path in SOURCES if (calls := unsafe_calls(path.read_text("utf-8")))
    }
    assert not found


@pytest.mark.parametrize(
    "call",
    ["torch.load(path)", "pickle.load(file)", "np.load(f, allow_pickle=True)", "yaml.load(f, L)"],
)
def test_an_unsafe_call_would_be_found(call):
    assert unsafe_calls(call) == [call]


def test_pickles_in_a_shard_are_skipped(tmp_path, watched, traps, capfd):
    payload = f"cos\nsystem\n(S{traps.command!r}\ntR.".encode()
    members = {
        "a/b.wav": encoded_audio(noise(0)),
        "a/b.json": json.dumps({"key": "a/b"}).encode(),
        **{f"a/b.{suffix}": payload for suffix in ("pyd", "pickle", "pkl", "pth", "pt", "npy")},
    }
    with tarfile.open(tmp_path / "00.tar", "w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    with watched():
        assert main(["prepare", "inspect", str(tmp_path)]) == 0
    assert "a/b" in capfd.readouterr().out


@pytest.mark.parametrize("option", ["--experimental-rerun", "--experimental", "--exp"])
def test_hydra_reads_no_pickle_of_a_run(option, monkeypatch, tmp_path, traps):
    pickled = tmp_path / "config.pickle"
    pickled.write_bytes(f"cos\nsystem\n(S{traps.command!r}\ntR.".encode())
    for arguments in ([f"{option}={pickled}"], [option, str(pickled)]):
        monkeypatch.setattr("sys.argv", ["run_speech.py", *arguments])
        with pytest.raises(SystemExit, match="must not be used, because it reads a pickle"):
            launch("train_speech")
    traps.check()
