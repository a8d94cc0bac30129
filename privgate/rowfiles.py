"""Files of rows on a person's own machine: CSV, JSON Lines and Parquet, by their names.

Rules
-----
1. Only rows of one's own, or made-up ones, are read and written here: what the gateway seals never comes this way.
2. A file is never overwritten.
3. CSV and JSON Lines need the standard library alone; Parquet needs the extra `train`, and says so.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TextIO, TypeAlias

from kernel.errors import InvalidError
from privacy.schema import Column, ColumnKind, TableSchema

Row: TypeAlias = Mapping[str, Any]


def read_rows(path: Path, *, delimiter: str = ",") -> list[Row]:
    """Every row of a file as a mapping from column to what stands there.

    Raises:
        InvalidError: A name that says none of the forms, or content that is not of that form.
        ExtraMissingError: Parquet without pyarrow.
    """
    form = _form(path)
    if form == ".parquet":
        return _read_parquet(path)
    try:
        with _opened(path) as file:
            if form == ".csv":
                return list(csv.DictReader(file, delimiter=delimiter, skipinitialspace=True, strict=True))
            return [_object(line, path) for line in file if line.strip()]
    except (ValueError, EOFError, OSError, csv.Error) as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise
        raise InvalidError("the file cannot be read as what its name says", field=path.name) from None


def write_rows(path: Path, schema: TableSchema, rows: Iterable[Row]) -> None:
    """Write rows that fit a schema to a fresh file.

    Raises:
        InvalidError: A name that says none of the forms.
        ExtraMissingError: Parquet without pyarrow.
    """
    _WRITERS[_form(path)](path, schema, rows)


def _form(path: Path) -> str:
    form = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    form = {".ndjson": ".jsonl"}.get(form.lower(), form.lower())
    if form not in _WRITERS or (form == ".parquet" and path.suffix == ".gz"):
        raise InvalidError("the file's name must end in .csv, .jsonl or .parquet", field=path.name)
    return form


def _opened(path: Path, *, fresh: bool = False) -> TextIO:
    coding = "utf-8" if fresh else "utf-8-sig"
    if path.suffix == ".gz":
        return gzip.open(path, "xt" if fresh else "rt", encoding=coding, newline="")
    return path.open("x" if fresh else "r", encoding=coding, newline="")


def _object(line: str, path: Path) -> Row:
    row = json.loads(line)
    if not isinstance(row, dict):
        raise InvalidError("each line of the file must be a JSON object", field=path.name)
    return row


def _read_parquet(path: Path) -> list[Row]:
    arrow, parquet = _arrow("reading Parquet")
    try:
        return list(parquet.read_table(path).to_pylist())
    except (arrow.ArrowException, ValueError):
        raise InvalidError("the file cannot be read as what its name says", field=path.name) from None


def _write_csv(path: Path, schema: TableSchema, rows: Iterable[Row]) -> None:
    names = [column.name for column in schema.columns]
    with _opened(path, fresh=True) as file:
        writer = csv.writer(file)
        writer.writerow(names)
        writer.writerows([_text(row[name]) for name in names] for row in rows)


def _text(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(_text, value))
    if value is None or isinstance(value, bool):
        return "" if value is None else str(value).lower()
    return str(value)


def _write_json_lines(path: Path, _: TableSchema, rows: Iterable[Row]) -> None:
    with _opened(path, fresh=True) as file:
        file.writelines(json.dumps(dict(row), ensure_ascii=False) + "\n" for row in rows)


def _write_parquet(path: Path, schema: TableSchema, rows: Iterable[Row]) -> None:
    arrow, parquet = _arrow("writing Parquet")
    shape = arrow.schema([(column.name, _arrow_type(arrow, column)) for column in schema.columns])
    with path.open("xb") as file, parquet.ParquetWriter(file, shape) as writer:
        for part in _parts(rows):
            writer.write_table(arrow.Table.from_pylist(part, schema=shape))


def _arrow_type(arrow: Any, column: Column) -> Any:
    match column.kind:
        case ColumnKind.NUMERIC:
            return arrow.float64()
        case ColumnKind.BOOLEAN:
            return arrow.bool_()
        case ColumnKind.TENSOR:
            return arrow.list_(arrow.float64())
        case _:
            return arrow.string()


def _parts(rows: Iterable[Row], size: int = 4096) -> Iterator[list[Row]]:
    part: list[Row] = []
    for row in rows:
        part.append(row)
        if len(part) == size:
            yield part
            part = []
    if part:
        yield part


def _arrow(what: str) -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        from privgate.sdk.errors import ExtraMissingError

        raise ExtraMissingError(what, "train") from None
    return pyarrow, pyarrow.parquet


_WRITERS: Final[Mapping[str, Callable[[Path, TableSchema, Iterable[Row]], None]]] = {
    ".csv": _write_csv,
    ".jsonl": _write_json_lines,
    ".parquet": _write_parquet,
}
