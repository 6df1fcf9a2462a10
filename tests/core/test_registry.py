import sys

import pytest

from w2v2_mt.core.registry import EVERYTHING, Registry, parameters_of, trusting


@pytest.fixture
def animals() -> Registry:
    registry: Registry = Registry("animal", setting="zoo.animal")

    @registry.register("cat", "kitten")
    class Cat:
        def __init__(self, dim: int, *, num_lives: int = 9):
            self.num_lives = num_lives

    return registry


@pytest.fixture
def my_lab(tmp_path, monkeypatch) -> str:  # type: ignore[misc]
    """A package outside of this program whose import leaves a file."""
    (tmp_path / "my_lab.py").write_text(
        "from pathlib import Path\nPath(__file__).with_name('imported').touch()\n"
        "class Dog:\n    pass\ndef bark():\n    pass\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield str(tmp_path)
    sys.modules.pop("my_lab", None)


def test_a_class_is_found_by_each_of_its_names(animals):
    assert animals.find("cat") is animals.find("kitten")
    assert animals.names == ["cat", "kitten"]


def test_an_unknown_name_is_an_error_with_the_nearest_name(animals):
    with pytest.raises(ValueError, match=r"zoo.animal \(kat\) is not a .* animal. .*'cat'"):
        animals.find("kat")


def test_a_dotted_path_is_not_imported_unless_its_package_is_trusted(animals, my_lab, tmp_path):
    with pytest.raises(ValueError, match="--trust my_lab"):
        animals.find("my_lab.Dog")
    with trusting("their_lab"), pytest.raises(ValueError, match="--trust my_lab"):
        animals.find("my_lab.Dog")
    assert not (tmp_path / "imported").exists()


@pytest.mark.parametrize("package", ["my_lab", EVERYTHING])
def test_a_dotted_path_is_followed_inside_trusting(animals, my_lab, package):
    with trusting(package):
        assert animals.find("my_lab.Dog").__name__ == "Dog"
    with pytest.raises(ValueError, match="--trust"):
        animals.find("my_lab.Dog")


@pytest.mark.parametrize(
    ("path", "problem"),
    [("my_lab.Cow", "cannot be imported"), ("my_lab.bark", "must be a class"), ("no.X", "import")],
)
def test_a_path_that_leads_to_no_class_is_an_error(animals, my_lab, path, problem):
    with trusting(EVERYTHING), pytest.raises(ValueError, match=problem):
        animals.find(path)


def test_the_parameters_of_a_class_are_its_keyword_arguments(animals):
    assert list(parameters_of(animals.find("cat"))) == ["num_lives"]
