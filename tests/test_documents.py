"""Links, pictures and the settings page of the documents."""

import importlib.util
import re
from pathlib import Path

import pytest
import yaml
from markdown.extensions.toc import slugify

from tests.helpers.documented_commands import DOCS_FOLDER, PROJECT_FOLDER, README, documents

CONFIG_FOLDER = PROJECT_FOLDER / "config"
MORE_DOCUMENTS = ("CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")
MAX_README_LINES = 200
MAX_PICTURE_BYTES = 150_000
GENERATED_PAGE = DOCS_FOLDER / "settings.md"

_CODE_BLOCK = re.compile(r"^```.*?^```", flags=re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"(!?)\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.*)$", flags=re.MULTILINE)


_OF_A_CHECKOUT = re.compile(
    r"(?<![\w/.-])((?:tests|src|scripts|config|benchmarks)/[\w/.+-]+\.(?:py|sh|yaml|json))\b"
)
_WRITTEN_BY_THE_READER = {"config/experiment/my_pooling.yaml"}


def _prose(document: Path) -> str:
    return _CODE_BLOCK.sub("", document.read_text(encoding="utf-8"))


def _links(document: Path) -> list[tuple[bool, str]]:
    """Return (is a picture, target) of each link that is not a web address."""
    found = _LINK.findall(_prose(document))
    return [(mark == "!", target) for mark, target in found if "://" not in target]


def _anchors(document: Path) -> set[str]:
    return {slugify(heading, "-") for heading in _HEADING.findall(_prose(document))}


@pytest.fixture(scope="module")
def settings_reference():
    path = DOCS_FOLDER / "hooks" / "settings_reference.py"
    spec = importlib.util.spec_from_file_location("settings_reference", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_readme_is_short():
    assert len(README.read_text(encoding="utf-8").splitlines()) <= MAX_README_LINES


@pytest.mark.parametrize(
    "document",
    [*documents(), *(PROJECT_FOLDER / name for name in MORE_DOCUMENTS)],
    ids=lambda path: path.name,
)
def test_every_link_leads_to_a_file_and_a_heading(document):
    for is_picture, target in _links(document):
        name, _, anchor = target.partition("#")
        path = (document.parent / name).resolve() if name else document
        assert path.exists() or path == GENERATED_PAGE, target
        if anchor:
            assert anchor in _anchors(path), target
        if is_picture:
            picture = path.read_bytes()
            assert picture.startswith(b"\x89PNG")
            assert len(picture) < MAX_PICTURE_BYTES


@pytest.mark.parametrize(
    "document",
    [*documents(), *(PROJECT_FOLDER / name for name in MORE_DOCUMENTS)],
    ids=lambda path: path.name,
)
def test_every_file_that_a_document_names_exists(document):
    named = set(_OF_A_CHECKOUT.findall(document.read_text(encoding="utf-8")))
    missing = {
        name for name in named - _WRITTEN_BY_THE_READER if not (PROJECT_FOLDER / name).exists()
    }
    assert not missing


def test_the_settings_page_has_every_key_of_every_yaml(settings_reference):
    page = settings_reference.settings_page()
    for path in CONFIG_FOLDER.rglob("*.yaml"):
        file = settings_reference.read_config_file(path)
        assert file.description or file.parts, path
        *groups, option = path.relative_to(CONFIG_FOLDER).with_suffix("").parts
        assert f"## `{'/'.join(groups)}={option}`" in page or f"## `{option}`" in page
        written = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        written.pop(settings_reference.ASSEMBLY, None)
        documented = {setting.key.removeprefix(f"{file.package}.") for setting in file.settings}
        assert _keys(written) <= documented
        for setting in file.settings:
            assert f"| `{setting.key}` |" in page


def _keys(node, prefix="") -> set[str]:
    keys = set()
    for name, value in node.items():
        if name == "defaults" and isinstance(value, list):
            continue
        key = f"{prefix}{name}"
        keys |= _keys(value, f"{key}.") if isinstance(value, dict) and value else {key}
    return keys


def test_a_setting_has_the_comment_above_it_and_its_value_as_written(settings_reference, tmp_path):
    path = tmp_path / "optim" / "algo" / "adam.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(
        "# Adam.\n\ndefaults:\n  - base\n\n# The peak,\n# of the schedule.\nlr: 1e-4\nnested:\n"
        "  # a | b\n  mode: a # chosen\n  steps: [1, 2]\n"
    )
    file = settings_reference.read_config_file(path, tmp_path)
    assert (file.path, file.package, file.description) == ("optim/algo/adam", "optim.algo", "Adam.")
    assert file.parts == ["base"]
    assert [(setting.key, setting.value, setting.comment) for setting in file.settings] == [
        ("optim.algo.lr", "1e-4", "The peak, of the schedule."),
        ("optim.algo.nested.mode", "a", "a | b"),
        ("optim.algo.nested.steps", "[1, 2]", ""),
    ]
    assert "| `optim.algo.nested.mode` | `a` | a \\| b |" in settings_reference.settings_page(
        tmp_path
    )
