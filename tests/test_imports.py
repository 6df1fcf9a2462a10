"""The imports of all modules, those inside functions and under TYPE_CHECKING included."""

import ast
import subprocess
import sys
from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from w2v2_mt.settings.environment import PROJECT_FOLDER

SOURCE = PROJECT_FOLDER / "src"
LINT_IMPORTS = Path(sys.executable).with_name("lint-imports")


def module_name(path: Path) -> str:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_names(source: str) -> Iterable[str]:
    """Yield every absolute dotted name that an import statement may mean."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def import_graph() -> dict[str, set[str]]:
    """Map each module of `src` to the modules of `src` that it imports."""
    paths = {module_name(path): path for path in SOURCE.rglob("*.py")}
    return {
        name: {found for found in imported_names(path.read_text()) if found in paths} - {name}
        for name, path in paths.items()
    }


def find_cycle(graph: Mapping[str, set[str]]) -> list[str]:
    """Return the modules of one import cycle; empty if there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_module_imports_itself_over_others():
    graph = import_graph()
    assert len(graph) > 100
    assert find_cycle(graph) == []


def test_a_cycle_over_a_lazy_import_is_found():
    lazy = "def load():\n    from a.b import c\n"
    typing_only = "if TYPE_CHECKING:\n    import a.d\n"
    assert set(imported_names(lazy)) == {"a.b", "a.b.c"}
    assert set(imported_names(typing_only)) == {"a.d"}
    assert set(find_cycle({"a.d": {"a.b"}, "a.b": {"a.d"}, "a.c": set()})) == {"a.b", "a.d"}


@pytest.mark.parametrize("lazily", [False, True])
def test_an_import_that_points_up_breaks_the_layer_contract(tmp_path, lazily):
    package = tmp_path / "src" / "w2v2_mt"
    for layer in ("app", "core"):
        (package / layer).mkdir(parents=True)
        (package / layer / "__init__.py").touch()
    (package / "__init__.py").touch()
    statement = "import w2v2_mt.app\n"
    (package / "core" / "units.py").write_text(
        f"def load():\n    {statement}" if lazily else statement
    )
    (tmp_path / "contracts.toml").write_text(
        '[tool.importlinter]\nroot_package = "w2v2_mt"\n\n[[tool.importlinter.contracts]]\n'
        'name = "layers"\ntype = "layers"\ncontainers = ["w2v2_mt"]\nlayers = ["app", "core"]\n'
    )
    done = subprocess.run(
        [
            Path(sys.executable).with_name("lint-imports"),
            "--config",
            "contracts.toml",
            "--no-cache",
        ],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "src")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "w2v2_mt.core is not allowed to import w2v2_mt.app" in done.stdout


def test_the_layer_contracts_of_the_project_hold():
    done = subprocess.run(
        [LINT_IMPORTS, "--no-cache"],
        cwd=PROJECT_FOLDER,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
