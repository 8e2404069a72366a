"""`billing-ops late-fee`: what a late title owes, with the proof. Needs no stack and no network."""

from __future__ import annotations

from datetime import date
from decimal import Decimal  # noqa: TC003 - Typer reads the annotations
from typing import Annotated

import typer

from billing.domain.late_fee import (
    CountingStart,
    LateFee,
    LateFeeRefused,
    Payment,
    Rounding,
    Terms,
    Title,
)
from billing.domain.late_fee import late_fee as compute
from billing.domain.money import MoneyError, format_brl, parse_money, reais
from billing.domain.month import SAO_PAULO
from billing.domain.number import NumberError, percent
from billing.holidays_br import is_bank_holiday
from ops.desk import desk
from ops.errors import InputError
from ops.options import Json, whole_number

_DATE = "AAAA-MM-DD"


def late_fee(
    ctx: typer.Context,
    *,
    amount: Annotated[str, typer.Option("--amount", metavar="REAIS", help="Principal do título.")],
    due: Annotated[str, typer.Option("--due", metavar=_DATE, help="Vencimento impresso no boleto.")],
    paid: Annotated[
        str | None, typer.Option("--paid", metavar=_DATE, help="Dia em que o saldo foi pago por inteiro.")
    ] = None,
    payment: Annotated[
        list[str] | None,
        typer.Option("--payment", metavar=f"{_DATE}:REAIS", help="Pagamento de parte do principal; repita."),
    ] = None,
    as_of: Annotated[
        str | None,
        typer.Option("--as-of", metavar=_DATE, help="Até que dia calcular; sem ela, a quitação ou hoje."),
    ] = None,
    fine: Annotated[str, typer.Option("--fine", metavar="%", help="Multa combinada.")] = "2",
    interest: Annotated[
        str, typer.Option("--interest", metavar="%", help="Juros combinados ao mês; none se não há taxa combinada.")
    ] = "1",
    grace_days: Annotated[
        int, typer.Option("--grace-days", metavar="DIAS", parser=whole_number(), help="Carência em dias corridos.")
    ] = 0,
    rounding: Annotated[
        Rounding, typer.Option("--rounding", help="Meio centavo sobe, ou frações desprezadas.")
    ] = Rounding.HALF_UP,
    consumer: Annotated[
        bool, typer.Option("--consumer/--business", help="Consumidor (CDC), o padrão, ou empresa.")
    ] = True,
    counting_start: Annotated[
        CountingStart,
        typer.Option("--counting-start", help="De onde se contam os dias: vencimento impresso ou prorrogado."),
    ] = CountingStart.DUE_DATE,
    collected_fine: Annotated[
        str, typer.Option("--collected-fine", metavar="REAIS", help="Multa que o boleto já cobrou.")
    ] = "0",
    collected_interest: Annotated[
        str, typer.Option("--collected-interest", metavar="REAIS", help="Juros que o boleto já cobrou.")
    ] = "0",
    as_json: Json = False,
) -> None:
    """Calcula multa e juros de um título em atraso e mostra a conta, com a base legal.

    Sai com 2 e o motivo, numa linha, quando a lei ou os dados não permitem o cálculo.
    """
    here = desk(ctx)
    terms = Terms(
        fine_percent=_percent("--fine", fine),
        interest_percent=_percent("--interest", interest),
        grace_days=grace_days,
        rounding=rounding,
        consumer=consumer,
        counting_start=counting_start,
    )
    principal = _money("--amount", amount)
    payments = [_payment(text) for text in payment or ()]
    if paid is not None:
        payments.append(_rest(principal, payments, _date("--paid", paid)))
    title = Title(
        amount=principal,
        due=_date("--due", due),
        payments=payments,
        collected_fine=_money("--collected-fine", collected_fine),
        collected_interest=_money("--collected-interest", collected_interest),
    )
    if as_of is not None:
        day = _date("--as-of", as_of)
    elif payments and sum(each.amount for each in payments) == principal:
        day = max(each.day for each in payments)
    else:
        day = here.now().astimezone(SAO_PAULO).date()
    try:
        result = compute(title, terms, day, is_bank_holiday)
    except LateFeeRefused as refused:
        raise InputError(f"Recusado: {refused}.") from None
    if as_json:
        here.say_json(to_json(result))
    else:
        here.tell(result.proof)


def to_json(result: LateFee) -> dict[str, str | int]:
    return {
        "fine": str(reais(result.fine)),
        "interest": str(reais(result.interest)),
        "total": str(reais(result.total)),
        "days": result.days,
        "proof": result.proof,
    }


def _rest(principal: int, payments: list[Payment], day: date) -> Payment:
    """The payment that leaves nothing open. Raises InputError when the others leave no room for it."""
    rest = principal - sum(each.amount for each in payments)
    if rest <= 0 or any(each.day > day for each in payments):
        raise InputError(
            f"--paid {day} não combina com --payment: os pagamentos já somam {format_brl(principal - rest)} "
            "ou há um depois da quitação."
        )
    return Payment(day, rest)


def _payment(text: str) -> Payment:
    day, colon, amount = text.partition(":")
    if not colon:
        raise InputError(
            f"Pagamento inválido em --payment: {text}. Escreva data e valor, por exemplo 2026-11-02:400.00."
        )
    return Payment(_date("--payment", day), _money("--payment", amount))


def _date(option: str, text: str) -> date:
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        raise InputError(
            f"Data inválida em {option}: {text}. Escreva ano, mês e dia, por exemplo 2026-10-01."
        ) from None


def _money(option: str, text: str) -> int:
    try:
        return parse_money(text)
    except MoneyError as error:
        raise InputError(f"Valor inválido em {option}: {error}.") from None


def _percent(option: str, text: str) -> Decimal | None:
    if text.strip().casefold() == "none":
        return None
    try:
        return percent(text)
    except NumberError:
        raise InputError(f"Percentual inválido em {option}: {text}. Escreva, por exemplo, 2 ou 0,5.") from None
