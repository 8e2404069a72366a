"""The month every loop bills: one company's contracts, and our own plan of it."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import accumulate, takewhile
from typing import Any, Final

from billing.open_run import RunRequest, open_run
from billing.plan_company import plan_company
from simulators.lab import START, Lab
from simulators.omie.faults import FaultPlan, read_faults
from simulators.omie.switches import Switches
from simulators.world import COMPANIES, World, make_world

COMPANY: Final = "acme"


def one_company(contracts: int, seed: int, *, clean: bool) -> World:
    """Acme's part of a world, up to `contracts` billable contracts. `clean`: only what both sides agree on.

    Seven contracts of ten are Acme's.
    """
    everybody = make_world(2 * contracts + 20, seed, START.date(), clean=clean)
    own = [contract for contract in everybody.contracts if contract.omie_company == COMPANY]
    billable = accumulate((contract.expected == "bill" for contract in own), initial=0)
    wanted = sum(1 for _ in takewhile(lambda before: before < contracts, billable))
    return replace(everybody, companies={COMPANY: COMPANIES[COMPANY]}, contracts=tuple(own[:wanted]))


@dataclass(frozen=True)
class Terms:
    """What all loops of one table have in common. `faults`, `switches`: the Omie simulator's own words."""

    contracts: int
    seed: int
    latency_ms: float
    faults: str = ""
    switches: Mapping[str, str] | None = None

    def switched(self) -> Switches:
        switches = Switches()
        switches.update(self.switches or {})
        return switches

    def world(self) -> World:
        return one_company(self.contracts, self.seed, clean=True)

    def lab(self) -> Lab:
        lab = Lab(world=self.world(), seed=self.seed, switches=self.switched(), latency_ms=self.latency_ms)
        lab.omie.faults = FaultPlan(read_faults(self.faults), seed=self.seed)
        return lab


def plan(lab: Lab) -> dict[str, Any]:
    """plan_company's answer, its objects in `lab.objects`."""
    request = RunRequest("arn:aws:states:bench:execution:run:1", "operator", companies=(COMPANY,))
    return plan_company(open_run(request, lab.open_deps())["companies"][0], lab.plan_deps())


def batches(lab: Lab, planned: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The messages of 25 contracts that BillBatches would send."""
    return map(json.loads, lab.objects.read_lines(planned["batches"]["key"]))


def numbers(world: World) -> list[int]:
    """nCodCtr of every contract to bill."""
    return [
        int(contract.omie_contrato["cabecalho"]["nCodCtr"])
        for contract in world.contracts
        if contract.expected == "bill" and contract.omie_contrato
    ]
