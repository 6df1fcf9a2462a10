"""The console on which commands show tables and sentences with the names of files in them."""

from rich.console import Console


def plain_console(*, stderr: bool = False, width: int | None = None) -> Console:
    """Shows texts as they are; Rich would take `[best]` for a style and `:a:` for a symbol."""
    return Console(stderr=stderr, width=width, markup=False, emoji=False)
