"""The month every loop bills: one company's contracts, in the demo's mix."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import accumulate, takewhile
from typing import Any, Final

from simulators.lab import START, Lab
from simulators.omie.faults import FaultPlan, read_faults
from simulators.omie.switches import Switches
from simulators.world import COMPANIES, World, make_world

COMPANY: Final = "acme"


def one_company(contracts: int, seed: int) -> World:
    """Acme's part of a world, up to `contracts` billable contracts. Seven contracts of ten are Acme's."""
    everybody = make_world(2 * contracts + 20, seed, START.date())
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
    switches: Mapping[str, Any] | None = None

    def switched(self) -> Switches:
        switches = Switches()
        switches.update(self.switches or {})
        return switches

    def world(self) -> World:
        return one_company(self.contracts, self.seed)

    def lab(self) -> Lab:
        lab = Lab(world=self.world(), seed=self.seed, switches=self.switched(), latency_ms=self.latency_ms)
        lab.omie.faults = FaultPlan(read_faults(self.faults), seed=self.seed)
        return lab


def numbers(world: World) -> list[int]:
    """nCodCtr of every contract to bill that exists in Omie; who does not create contracts can bill no other."""
    return [
        int(contract.omie_contrato["cabecalho"]["nCodCtr"])
        for contract in world.contracts
        if contract.expected == "bill" and contract.omie_contrato
    ]
