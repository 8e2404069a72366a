"""What functions log must be loggable: Python's records have names of their own, and refuse a fact that is called so."""

import logging

from billing.log import TOLD, tell
from billing.sync_receivables import Result


def test_no_fact_has_the_name_of_something_every_record_has():
    record = logging.makeLogRecord({})
    assert not {*vars(record), "message", "asctime"} & set(TOLD)


def test_a_line_tells_every_count_of_a_sync_of_receivables(caplog):
    result = Result("acme", titles=3, added=1, updated=2).to_dict()
    assert set(result) <= set(TOLD)
    tell("receivables synced", result)
    (record,) = caplog.records
    assert {name: vars(record)[name] for name in result} == result
