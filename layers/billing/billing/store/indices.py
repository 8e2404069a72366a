"""The operator's table of price indices, one JSON object in the data bucket: {"ipca": {"2025-11": "0.18"}, ...}."""

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from billing.domain.month import BillingMonth, MonthError
from billing.domain.number import change
from billing.domain.reajuste import Index, IndexTable, check_percent
from billing.domain.text import shown, visible
from billing.store.objects import ObjectMissing

if TYPE_CHECKING:
    from billing.store.ports import Objects

KEY = "config/indices.json"
PUBLISHED = (Index.IPCA, Index.IGPM)
"""What a table may hold; a fixed percentage is the contract's own."""

_NAMES = {"ipca": Index.IPCA, "ipcaibge": Index.IPCA, "igpm": Index.IGPM, "igpmfgv": Index.IGPM}
_BRAZILIAN_MONTH = re.compile(r"(?:01/)?([0-9]{1,2})/([0-9]{4})")


class BadTable(ValueError):  # noqa: N818 - it is an answer, in Portuguese
    """Not a table of indices: one line, with the place."""


def read_indices(objects: "Objects") -> dict[Index, dict[BillingMonth, Decimal]]:
    """The table; an empty one when nothing was ever imported.

    Without the permission to list, S3 says "access denied" of an object that does not exist.

    Raises:
        BadTable: the object is not such a table.
    """
    try:
        text = objects.get_text(KEY)
    except ObjectMissing:
        return {}
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") in {"AccessDenied", "403"}:
            return {}
        raise
    return from_json(text)


def to_json(table: IndexTable) -> str:
    plain = {str(index): {str(month): f"{table[index][month]:f}" for month in sorted(table[index])} for index in table}
    return json.dumps(plain, sort_keys=True, indent=1)


def from_json(text: str) -> dict[Index, dict[BillingMonth, Decimal]]:
    """Raises BadTable."""
    try:
        raw: Any = json.loads(text)
        return {
            Index(name): {
                BillingMonth.parse(month): check_percent(Decimal(str(value))) for month, value in rows.items()
            }
            for name, rows in raw.items()
        }
    except (ValueError, AttributeError, InvalidOperation) as error:
        raise BadTable(f"{KEY}: não é uma tabela de índices ({error})") from None


def from_csv(text: str) -> dict[Index, dict[BillingMonth, Decimal]]:
    """Lines `índice;mês;variação`: "IPCA;2025-11;0,18". Comma or tab as separator, 11/2025, 01/11/2025, a heading
    (a first line without a digit) and Excel's `sep=;` before it are read too.

    Raises:
        BadTable: a line that cannot be read, or a month twice with two values.
    """
    delimiter = next((mark for mark in (";", "\t") if mark in text), ",")
    found: dict[Index, dict[BillingMonth, Decimal]] = {}
    heading_may_come = True
    for number, row in enumerate(csv.reader(io.StringIO(text.lstrip("\ufeff")), delimiter=delimiter), start=1):
        cells = [visible(cell) for cell in row]
        if not any(cells) or (number == 1 and cells[0].casefold().startswith("sep=")):
            continue
        values = any(character.isdigit() for cell in cells for character in cell)
        heading, heading_may_come = heading_may_come and not values, False
        if heading:
            continue
        index, month, percent = _line(number, cells)
        if found.setdefault(index, {}).setdefault(month, percent) != percent:
            raise BadTable(f"linha {number}: {cells[0]} de {month} aparece duas vezes, com valores diferentes")
    if not found:
        raise BadTable("nenhuma linha com índice, mês e variação: escreva, por exemplo, IPCA;2025-11;0,18")
    return found


def merged(
    table: IndexTable, new: IndexTable
) -> tuple[dict[Index, dict[BillingMonth, Decimal]], list[tuple[Index, BillingMonth, Decimal, Decimal]]]:
    """Both tables as one, the new one over the old, and what changes: (index, month, before, after)."""
    together = {index: dict(rows) for index, rows in table.items()}
    changed = []
    for index, rows in new.items():
        for month, percent in rows.items():
            before = together.setdefault(index, {}).get(month)
            if before is not None and before != percent:
                changed.append((index, month, before, percent))
            together[index][month] = percent
    return together, changed


def from_sgs(answer: Iterable[Mapping[str, Any]]) -> dict[BillingMonth, Decimal]:
    """A monthly series as Banco Central's SGS gives it: [{"data": "01/11/2025", "valor": "0.18"}].

    Raises:
        BadTable: another shape.
    """
    found = {}
    try:
        for entry in answer:
            month, year = str(entry["data"]).removeprefix("01/").split("/")  # another day leaves a part too many
            found[BillingMonth(int(year), int(month))] = check_percent(Decimal(str(entry["valor"])))
    except (KeyError, TypeError, ValueError, InvalidOperation) as error:
        raise BadTable(f"a resposta do Banco Central não é uma série mensal ({error})") from None
    return found


def _line(number: int, cells: list[str]) -> tuple[Index, BillingMonth, Decimal]:
    if len(cells) != 3:
        came = "veio 1 coluna" if len(cells) == 1 else f"vieram {len(cells)} colunas"
        raise BadTable(f"linha {number}: esperava índice, mês e variação; {came}")
    index = _index(cells[0])
    if index is None:
        raise BadTable(f"linha {number}: índice {shown(cells[0])} desconhecido; use IPCA ou IGP-M")
    try:
        month = BillingMonth.parse(_iso_month(cells[1]))
    except MonthError:
        raise BadTable(f"linha {number}: mês {shown(cells[1])} inválido; escreva 2025-11 ou 11/2025") from None
    try:
        return index, month, check_percent(change(cells[2]))
    except ValueError:
        raise BadTable(
            f"linha {number}: {shown(cells[2])} não é uma variação em percentual; escreva, por exemplo, 0,18"
        ) from None


def _iso_month(text: str) -> str:
    """2026-11, of 2026-11-01, 11/2026 and 01/11/2026; any other text as it is."""
    if brazilian := _BRAZILIAN_MONTH.fullmatch(text):
        return f"{brazilian[2]}-{int(brazilian[1]):02d}"
    return text.removesuffix("-01") if len(text) == len("2026-11-01") else text


def _index(text: str) -> Index | None:
    return _NAMES.get(re.sub(r"[^a-z]", "", text.casefold()))
