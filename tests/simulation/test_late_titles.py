"""The adversary's schedules in worlds with late titles: no addition is billed twice, none is lost track of."""

import os
from collections import Counter
from datetime import timedelta
from decimal import Decimal
from random import Random

import pytest

from billing.domain.addition import marker_in
from billing.domain.charge import State
from billing.domain.month import SAO_PAULO
from billing.settings import LateFeeSettings
from simulators.lab import Lab
from simulators.omie.receivables import keep_title
from simulators.omie.state import App, Receipt, Title
from tests.simulation.adversary import Adversary
from tests.simulation.checker import check

SEED = int(os.environ.get("SEED", "0"))
SCHEDULES = int(os.environ.get("LATE_SCHEDULES", "240"))


def late_titles(lab: Lab, random: Random) -> None:
    """Half of the contracts owe late charges, and Omie is as strange about expenses as it may be."""
    late = LateFeeSettings(fine_percent=Decimal(2), interest_percent=Decimal(1), how=random.choice(["expense", "item"]))
    companies = {key: company.model_copy(update={"late_fee": late}) for key, company in lab.settings.companies.items()}
    lab.settings = lab.settings.model_copy(update={"companies": companies})
    lab.omie.switches.expenses_on_alter = random.choice(["merge", "replace"])
    lab.omie.switches.once_only_after_billing = random.choice(["removed", "kept"])
    for app in lab.omie.apps.values():
        owing = [contract.nCodCtr for contract in app.contract_list if random.random() < 0.5]
        for nCodCtr in [*owing, 0]:  # nobody's too: a list without a row is an error to Omie, and counted
            add_title(lab, app, nCodCtr, days_late=random.randint(15, 60), amount=random.choice([9990, 100000]))
        paid = add_title(lab, app, 0, days_late=20, amount=5000)
        paid.receipts.append(
            Receipt(app.new_id(), "", paid.due, paid.amount, 0, 0, 0, paid.account, "", reconciled=False)
        )


def add_title(lab: Lab, app: App, nCodCtr: int, *, days_late: int, amount: int) -> Title:
    due = lab.clock.now().astimezone(SAO_PAULO).date() - timedelta(days=days_late)
    title = Title(
        nCodTitulo=app.new_id(),
        code="",
        nCodCli=app.contracts[nCodCtr].nCodCli if nCodCtr else 1,
        due=due,
        forecast=due,
        issued=due,
        amount=amount,
        category="1.01.02",
        account=1,
        origin="VENR",
        document="RPS 1",
        fiscal_document="",
        installment="001/001",
        included=lab.now(),
        altered=lab.now(),
        nCodCtr=nCodCtr,
    )
    return keep_title(app, title)


@pytest.mark.parametrize("seed", range(SEED, SEED + SCHEDULES))
def test_no_schedule_bills_an_addition_twice_or_loses_track_of_one(seed: int) -> None:
    adversary = Adversary(seed, spoil=lambda lab: late_titles(lab, Random(f"late-{seed}"))).run()
    verdict = check(adversary)
    # Billed by a person in the same second: whoever is the second bills without what the first has used up.
    at_once = {line.partition(":")[0] for line in verdict.forgiven if " times in " in line}
    assert [line for line in verdict.broken if line.partition(":")[0] not in at_once] == []
    lab = adversary.lab
    charged = {charge.nCodOS: charge for charge in adversary.charges() if charge.state is State.BILLED}
    shown: Counter[tuple[str, str]] = Counter()
    for billing in lab.omie.book.billings:
        order = lab.omie.apps[billing.company].orders[billing.nCodOS]
        if billing.nCodOS in lab.omie.book.cancelled or billing.nCodOS not in charged:
            continue
        entries = charged[billing.nCodOS].additions
        if billing.by != "api" and lab.omie.switches.once_only_after_billing == "kept":
            continue  # what Omie should have taken off, a person billed again before we could: the run says so
        markers = [marker for line in order.lines if (marker := marker_in(line.description))]
        shown.update((billing.company, marker) for marker in markers)
        sure = [entry for entry in entries if not entry.get("doubtful")]
        if markers and billing.by == "api":  # doubtful: adopted at another total than planned, so nobody can tell which
            assert len(sure) <= len(markers) <= len(entries), charged[billing.nCodOS].key
            assert len(sure) in {0, len(markers)}, charged[billing.nCodOS].key
    assert set(shown.values()) <= {1}
