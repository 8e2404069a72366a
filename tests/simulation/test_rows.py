"""One row of Jestor with anything in it, or one title of Omie, changes nothing of what the others get.

EXAMPLES=20000 tries more, in PARTS that run side by side; `make rows` does.
"""

import os
from functools import lru_cache

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.simulation.rows import Spoiled, SpoiledLab, Told, row_fields, title_fields, told

EXAMPLES = int(os.environ.get("EXAMPLES", "1000"))
PARTS = int(os.environ.get("PARTS", "1"))
PART = EXAMPLES // PARTS


@lru_cache(maxsize=1)
def as_always() -> Told:
    return told(Spoiled())


@lru_cache(maxsize=1)
def lab() -> SpoiledLab:
    return SpoiledLab(Spoiled())


def rows() -> list[int]:
    return [contract.jestor_id for contract in lab().world.contracts if contract.jestor_row]


def others_get_what_they_always_get(spoiled: Spoiled) -> Told:
    found = told(spoiled)
    mine = {f"JST-{spoiled.row}"}
    if spoiled.title:
        mine |= owners(spoiled.title)
    always = as_always().without(*mine)
    changed = {code: each for code, each in found.without(*mine).items() if each != always[code]}
    for code, each in changed.items():
        assert each == always[code], code
    return found


def owners(nCodTitulo: int) -> set[str]:
    """The contracts whose Omie contract made the title."""
    title = next(title for title in lab().titles if title.nCodTitulo == nCodTitulo)
    known = [(contract.code, contract.omie_contrato) for contract in lab().world.contracts]
    return {code for code, cadastro in known if cadastro and cadastro["cabecalho"]["nCodCtr"] == title.nCodCtr}


def test_the_month_that_is_compared_with_has_everything_in_it():
    seen = {name for each in as_always().of.values() for name in each}
    assert {"plan", "report", "charge mensalidade", "billed", "titles"} <= seen
    assert len([each for each in as_always().of.values() if "billed" in each]) >= 12
    assert any(line["additions"] for each in as_always().of.values() for line in each.get("plan", ()))


@pytest.mark.parametrize("_part", range(PARTS))
@settings(max_examples=PART, deadline=None, suppress_health_check=list(HealthCheck))
@given(which=st.sampled_from(range(24)), fields=row_fields)
def test_one_row_with_anything_in_it_changes_nothing_for_the_others(_part, which, fields):
    row = rows()[which % len(rows())]
    found = others_get_what_they_always_get(Spoiled(row=row, fields=fields))
    lines = found.of[f"JST-{row}"]["plan"]
    assert len(lines) == 1
    assert lines[0]["action"] == "bill" or lines[0]["reason"]


@pytest.mark.parametrize("_part", range(PARTS))
@settings(max_examples=PART // 4, deadline=None, suppress_health_check=list(HealthCheck))
@given(which=st.sampled_from(range(64)), fields=title_fields)
def test_one_title_with_anything_in_it_changes_nothing_for_the_others(_part, which, fields):
    titles = lab().titles
    others_get_what_they_always_get(Spoiled(title=titles[which % len(titles)].nCodTitulo, fields=fields))
