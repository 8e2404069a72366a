"""What Omie answered to one company's questions in the last minute, so that none is asked twice within it.

Omie refuses the same question within 60 s as redundant, and counts the refusal among the ten errors that block the
key. A question whose answer was lost may have arrived: it counts as asked. What was read ahead and not used when the
lane had to stop is kept for the next worker.
"""

import json
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from billing.omie.replies import NOT_SENT, OmieError
from billing.store.objects import ObjectMissing, answers_key, page_key
from billing.store.ports import Objects

MOST_KEPT: Final = 50
"""Answers handed to the next worker: more than one batch reads ahead."""

Records = list[dict[str, Any]]


_PAGE: Final = "ListarContratos "


def page_question(page: int) -> str:
    """A page of ListarContratos, as the readers' gate words the question, and as it is remembered."""
    return f"{_PAGE}{{}}" if page == 1 else f'{_PAGE}{{"pagina": {page}}}'


class NotYet(Exception):  # noqa: N818
    """Omie does not show it, or may not be asked, before `until` (epoch seconds). Nothing is decided by that."""

    def __init__(self, until: float) -> None:
        super().__init__(until)
        self.until = until


@dataclass
class Answers:
    """Of one company.

    Attributes:
        window: seconds within which Omie refuses the same question.
        asked: question -> when (epoch seconds).
        found: the answers of those that have one.
    """

    window: float
    asked: dict[str, float] = field(default_factory=dict)
    found: dict[str, Records] = field(default_factory=dict)
    too_big: set[int] = field(default_factory=set)
    """Pages of contracts that Omie could not answer whole: asked again they would be errors that count."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def find(self, question: str, since: float, now: float) -> Records | None:
        """The answer, if it was asked for after `since` and within the last minute."""
        with self._lock:
            at = self.asked.get(question, 0.0)
            return self.found.get(question) if at > since and now - at < self.window else None

    def may_ask(self, question: str, now: float) -> bool:
        return now - self.asked.get(question, 0.0) >= self.window

    def ask(self, question: str, now: Callable[[], float], read: Callable[[], Records]) -> Records:
        """Asks Omie, and keeps the answer.

        Raises:
            NotYet: it was asked less than a minute ago.
            OmieError: as `read`; what never left was not asked.
        """
        began = now()
        with self._lock:
            self._forget_old(began)
            if not self.may_ask(question, began):
                raise NotYet(self.asked[question] + self.window)
            self.asked[question] = began
        try:
            records = read()
        except OmieError as error:
            with self._lock:
                if error.rule == NOT_SENT:
                    del self.asked[question]
                else:
                    self.asked[question] = now()
            raise
        with self._lock:
            self.found[question] = records
        return records

    def load(self, objects: Objects, company: str, pages: Iterable[int], now: float) -> None:
        """What the plan and other workers kept: two processes may take a company's batches in turn."""
        for key in (answers_key(company), *(page_key(company, page) for page in pages)):
            try:
                kept = objects.get_json(key)
            except (ObjectMissing, ValueError):  # half a file is as good as none: Omie is asked
                continue
            with self._lock:
                for question, (at, records) in kept.items():
                    if now - at < self.window and at > self.asked.get(question, 0.0):
                        self._note(question, at, records)

    def asked_elsewhere(self, question: str, at: float) -> None:
        """Whoever else is given the answer: this worker may not ask before its minute is over."""
        with self._lock:
            if at > self.asked.get(question, 0.0):
                self._note(question, at, None)

    def _note(self, question: str, at: float, records: Records | None) -> None:
        """An older answer, if there was one, is given no longer: it would look as young as the question."""
        self.asked[question] = at
        if records is None:
            self.found.pop(question, None)
        else:
            self.found[question] = records

    def keep(self, objects: Objects, company: str, now: float) -> None:
        """For the next worker, should it be another process; but for the pages, which are kept one by one."""
        with self._lock:
            self._forget_old(now)
            alone = [question for question in self.asked if not question.startswith(_PAGE)]
            latest = sorted(alone, key=lambda question: -self.asked[question])[:MOST_KEPT]
            text = self._text(latest)
        objects.put_text(answers_key(company), text, "application/json")

    def keep_page(self, objects: Objects, company: str, page: int) -> None:
        """The page, or that it was asked for in vain, for the other workers."""
        with self._lock:
            text = self._text([page_question(page)])
        objects.put_text(page_key(company, page), text, "application/json")

    def _text(self, questions: Iterable[str]) -> str:
        kept = {each: [self.asked[each], self.found.get(each)] for each in questions if each in self.asked}
        return json.dumps(kept, default=float)

    def _forget_old(self, now: float) -> None:
        for question in [one for one, at in self.asked.items() if now - at >= self.window]:
            del self.asked[question]
            self.found.pop(question, None)
