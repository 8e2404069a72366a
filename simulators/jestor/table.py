"""One table: rows by id, ids never given twice, and views that survive writes.

A view is the list of ids that satisfy a query. Ordered by id, a view is corrected by each write (bisect);
ordered by another field, it is dropped and built again by the next list that needs it. So paging through
100,000 rows sorts and filters once, even while others write.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from simulators.jestor.schema import Field

Row = dict[str, Any]
_MOST_VIEWS: Final = 32


class Query(NamedTuple):
    """What makes two lists the same view; hashable."""

    conditions: tuple[object, ...]
    any_of: bool
    sort: str
    descending: bool
    day: str


@dataclass(slots=True)
class _View:
    matches: Callable[[Row], bool]
    ids: list[int]
    by_id: bool


@dataclass(slots=True)
class Table:
    name: str
    fields: dict[str, Field]
    rows: dict[int, Row] = field(default_factory=dict)
    next_id: int = 1
    _views: OrderedDict[Query, _View] = field(default_factory=OrderedDict)

    @property
    def id_field(self) -> str:
        return f"id_{self.name}"

    def load(self, rows: Iterable[Row]) -> None:
        """Rows in rising id order, each with its id."""
        for row in rows:
            self.rows[row[self.id_field]] = row
            self.next_id = row[self.id_field] + 1

    def ids(self, query: Query, matches: Callable[[Row], bool], among: Collection[int] | None) -> Sequence[int]:
        """Ids of the query's rows in its order; `among`: the only ids that can match, when known."""
        if among is not None:
            found = [i for i in sorted(among) if i in self.rows and matches(self.rows[i])]
            return self._ordered(found, query)
        view = self._views.get(query)
        if view is None:
            by_id = query.sort == self.id_field
            view = _View(matches, [i for i, row in self.rows.items() if matches(row)], by_id)
            if not by_id:
                view.ids = self._ordered(view.ids, query)
            self._views[query] = view
            if len(self._views) > _MOST_VIEWS:
                self._views.popitem(last=False)
        self._views.move_to_end(query)
        return view.ids[::-1] if view.by_id and query.descending else view.ids

    def _ordered(self, ids: list[int], query: Query) -> list[int]:
        if query.sort == self.id_field:
            return ids[::-1] if query.descending else ids
        return sorted(ids, key=lambda i: _sort_key(self.rows[i].get(query.sort)), reverse=query.descending)

    def empty_row(self) -> Row:
        """Every field but the id, null: so is shown what nobody filled in."""
        return {key: None for key in self.fields if key != self.id_field}

    def create(self, values: Row) -> Row:
        """The new row, with the next id."""
        row = {self.id_field: self.next_id, **values}
        self.next_id += 1
        self.rows[row[self.id_field]] = row
        self._correct_views(row[self.id_field], row)
        return row

    def update(self, record_id: int, values: Row) -> tuple[Row, Row]:
        """(before, after). KeyError when there is no such row."""
        before = self.rows[record_id]
        after = before | values
        self.rows[record_id] = after
        self._correct_views(record_id, after)
        return before, after

    def remove(self, record_id: int) -> Row | None:
        row = self.rows.pop(record_id, None)
        if row is not None:
            self._correct_views(record_id, None)
        return row

    def drop_field(self, key: str) -> None:
        """The field vanishes from the table and from every row, as when somebody deletes it."""
        del self.fields[key]
        for row in self.rows.values():
            row.pop(key, None)
        self._views.clear()

    def _correct_views(self, record_id: int, row: Row | None) -> None:
        for query, view in tuple(self._views.items()):
            if not view.by_id:
                del self._views[query]
                continue
            at = bisect_left(view.ids, record_id)
            held = at < len(view.ids) and view.ids[at] == record_id
            wanted = row is not None and view.matches(row)
            if held and not wanted:
                del view.ids[at]
            elif wanted and not held:
                insort(view.ids, record_id)


def _sort_key(value: object) -> tuple[int, float, str]:
    if value is None:
        return 0, 0.0, ""
    if isinstance(value, int | float):
        return 1, float(value), ""
    return 2, 0.0, str(value)
