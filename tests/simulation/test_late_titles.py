import os

import pytest

from tests.unit.test_late_charges import months_of_trouble

SEED = int(os.environ.get("SEED", "0"))
YEARS = int(os.environ.get("LATE_TITLES", "60"))


@pytest.mark.parametrize("seed", range(SEED, SEED + YEARS))
def test_no_title_is_charged_twice_under_any_interleaving_of_runs_payments_and_waivers(seed: int):
    months_of_trouble(seed)
