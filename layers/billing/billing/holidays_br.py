"""Days on which Brazilian banks do not open: national holidays, Carnival, Corpus Christi, the year's last day.

From the `holidays` package's B3 calendar, which is the banks' own (FEBRABAN) but for Christmas Eve: the exchange rests,
banks open in the morning.
"""

from datetime import date
from functools import lru_cache

import holidays


@lru_cache
def _calendar() -> holidays.HolidayBase:
    return holidays.financial_holidays("BVMF")


def is_bank_holiday(day: date) -> bool:
    return day in _calendar() and (day.month, day.day) != (12, 24)
