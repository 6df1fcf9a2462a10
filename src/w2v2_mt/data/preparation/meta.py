"""The VoxCeleb meta files: the sex of every speaker.

Official files are separated by tabs or, in another edition, by commas; some begin with a byte-order
mark, and some have spaces around each field.
"""

from pathlib import Path
from typing import Literal

Sex = Literal["m", "f"]

ID_COLUMNS = ("VoxCeleb1 ID", "VoxCeleb2 ID")
SEX_COLUMN = "Gender"
SEXES: dict[str, Sex] = {"m": "m", "f": "f"}


def read_sexes(path: Path) -> dict[str, Sex]:
    """Speaker -> "m" or "f". Raises ValueError for a missing or malformed file."""
    if not path.is_file():
        raise ValueError(
            f"there is no meta file {path}; run scripts/download/download_voxceleb_meta.sh or set "
            "DATA_FOLDER."
        )
    # Only the columns of ids and sexes are read, which are ASCII; a name may be in any encoding.
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    rows = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if not rows:
        raise ValueError(f"the meta file {path} is empty; download it again.")
    delimiter = "\t" if "\t" in rows[0][1] else ","
    header = _fields(rows[0][1], delimiter)
    id_columns = [header.index(name) for name in ID_COLUMNS if name in header]
    if not id_columns or SEX_COLUMN not in header:
        raise ValueError(
            f"the meta file {path} has the columns {', '.join(header)}; it needs {SEX_COLUMN!r} "
            f"and one of {', '.join(map(repr, ID_COLUMNS))}, so download it again."
        )
    sex_column = header.index(SEX_COLUMN)
    sexes: dict[str, Sex] = {}
    for number, line in rows[1:]:
        fields = _fields(line, delimiter)
        sex = SEXES.get(fields[sex_column]) if len(fields) == len(header) else None
        if sex is None:
            raise ValueError(
                f"{path}, line {number}: {line.strip()!r} is not a speaker with the sex 'm' or 'f' "
                f"in {len(header)} columns; correct the line."
            )
        speaker = fields[id_columns[0]]
        if sexes.setdefault(speaker, sex) != sex:
            raise ValueError(
                f"{path}, line {number}: the speaker {speaker} has another sex than in an earlier "
                "line; correct the wrong one."
            )
    return sexes


def _fields(line: str, delimiter: str) -> list[str]:
    return [field.strip() for field in line.split(delimiter)]
