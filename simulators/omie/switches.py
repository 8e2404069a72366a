"""What Omie does not document, or where its sources disagree: each a named switch.

The defaults are the uncomfortable side: a client that is safe here is safe with the comfortable side too. A lag could
always be longer: reads and lists lag behind writes for as long as reads were seen to on live accounts.
"""

from __future__ import annotations

import tomllib
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

if TYPE_CHECKING:
    from collections.abc import Mapping


class SwitchError(ValueError):
    """A switch that does not exist, or a value it cannot take; the text lists the valid ones."""


@dataclass(slots=True)
class Switches:
    """Every documented unknown of Omie's API, and the numbers that Omie may change.

    limits: False takes all limits away (load tests of a client); what they would have refused is still counted.
    calls_per_minute_ip, calls_per_minute_method, in_flight: the documented numbers (Omie help 8112984).
    refused_calls_count: does a call answered 429 count in the minute's window? Not documented.
    parallel_writes: "no support for simultaneous inclusion/alteration" (Omie help 8001888) does not say what
      happens then: "record" executes and puts a breach in the book, "refuse" answers 1880.
    redundant_on: the limits page refuses the second identical call within 60 s, live clients saw the third;
      0 switches the rule off.
    repeated_read: an identical read within 60 s that is not refused: answered as the first was ("cached", inferred from
      live accounts), or anew ("fresh")?
    same_id_lookup: "the same ID is answered once in 60 s" does not say which methods look an ID up.
    error_budget, error_window: ten errors of one method block the key; the window's length is not documented.
    redundant_counts, empty_page_counts, busy_counts, server_faults_count: which answers are "errors" there
      is not documented (a list's end is an HTTP 500 too). 429 and 425 never count.
    block_seconds, block_scope: 30 minutes by documentation, 5 to 30 measured; measured on the whole key, while
      the text speaks of the method.
    largest_page: 100 in one help page, 500 in another; larger requests are clamped, as seen.
    missing_slash: documentation shows the trailing slash; what happens without it is not documented.
    null_values: clients strip nulls before AlterarContrato; what Omie does with them is not documented.
    items_on_alter: are items missing from an Alterar/Upsert kept ("merge") or removed ("replace")?
    expenses_on_alter: the same of reimbursable expenses that the request does not name.
    once_only_after_billing: is what was for one billing only (item of type 3, expense that does not recur) taken off
      the contract by Omie ("removed"), or must whoever put it there do so, or it is billed again ("kept")?
    empty_on_alter: does an explicit empty text in AlterarCliente/Upsert empty the field ("clear") or not ("keep")?
    nome_fantasia: must IncluirCliente/Upsert of a new customer carry it (seen live), or not (two public packages)?
    second_billing: FaturarContrato of a contract already billed this month.
    bill_outside_stage_20: FaturarContrato before nDiaFat or outside the vigência.
    repeat_status_change: suspending a suspended contract (and the like).
    duplicate_integration_code: documented as refused ("já cadastrado"), yet seen accepted after a lost reply.
    list_os_cNumContrato: one account's ListarOS leaves the field out (ConsultarOS has it).
    os_nCodCtr: whether an order born of a contract repeats nCodCtr in its Cabecalho is not documented.
    os_named_after: seconds after its billing until ConsultarOS and ListarNFSEs say of which contract an order is; they
      do on live accounts, and how soon is not documented.
    lot_details: one object in the 2024 schema, a list in use.
    lot_per_second: speed of FaturarLoteContrato and FaturarLoteOS; not documented.
    nfse_seconds, nfse_rejected_share: the city's time and refusals; no documented time.
    boleto, boleto_seconds: "automatic" boletos after the title (unless the customer says gerar_boletos N),
      or only "on_request" (GerarBoleto).
    receipt_value: does LancarRecebimento's `valor` include interest and fine ("gross") or not ("net")?
    read_lag: for up to so many seconds after a contract was written, ConsultarContrato, ListarContratos and the stages
      show it as it was before (seen live: 2 to 8 s); lists leave a created one out as long.
    list_lag, list_lag_least: a billing is missing from the stages and from ListarOS for up to, and at least, so many
      seconds. Nobody has measured it: by default as long as reads, in the profile `live` two minutes.
    lists_lag: do the stages and ListarOS lag "alike", or each for itself ("apart")? Not documented.
    turn_late: seconds after midnight of the 1st until the stages turn to the new month: until then stage 30 still shows
      what was billed last month. Whether and when Omie turns them is not documented.
    clock_offset: seconds by which Omie's clock, and with it its calendar, is ahead of ours.
    after_cancel: does a contract whose order was cancelled stand in stage 20 again, or stay in stage 30?
    """

    limits: bool = True
    calls_per_minute_ip: int = 960
    calls_per_minute_method: int = 240
    in_flight: int = 4
    refused_calls_count: bool = False
    parallel_writes: Literal["record", "refuse"] = "record"
    redundant_on: Literal[0, 2, 3] = 3
    repeated_read: Literal["cached", "fresh"] = "cached"
    same_id_lookup: Literal["off", "consultar", "consultar+status"] = "consultar+status"
    error_budget: int = 10
    error_window: float = 600.0
    redundant_counts: bool = True
    empty_page_counts: bool = True
    busy_counts: bool = True
    server_faults_count: bool = False
    block_seconds: float = 1800.0
    block_scope: Literal["key", "method"] = "key"
    largest_page: int = 100
    missing_slash: Literal["redirect", "accept"] = "redirect"
    null_values: Literal["refuse", "accept"] = "refuse"
    items_on_alter: Literal["merge", "replace"] = "merge"
    expenses_on_alter: Literal["merge", "replace"] = "merge"
    once_only_after_billing: Literal["removed", "kept"] = "removed"
    empty_on_alter: Literal["keep", "clear"] = "keep"
    nome_fantasia: Literal["required", "optional"] = "required"
    second_billing: Literal["accept", "refuse"] = "accept"
    bill_outside_stage_20: Literal["accept", "refuse"] = "accept"
    repeat_status_change: Literal["refuse", "accept"] = "refuse"
    duplicate_integration_code: Literal["refuse", "accept"] = "refuse"
    list_os_cNumContrato: Literal["present", "absent"] = "present"
    os_nCodCtr: Literal["present", "absent"] = "absent"
    os_named_after: float = 0.0
    lot_details: Literal["list", "object"] = "list"
    lot_per_second: int = 40
    nfse_seconds: float = 30.0
    nfse_rejected_share: float = 0.0
    boleto: Literal["automatic", "on_request"] = "automatic"
    boleto_seconds: float = 10.0
    receipt_value: Literal["gross", "net"] = "gross"
    read_lag: float = 8.0
    list_lag: float = 8.0
    list_lag_least: float = 0.0
    lists_lag: Literal["alike", "apart"] = "apart"
    turn_late: float = 0.0
    clock_offset: float = 0.0
    after_cancel: Literal["20", "30"] = "20"

    def update(self, changes: Mapping[str, Any]) -> None:
        """Set switches by name; text is read as the switch's own type.

        Raises:
            SwitchError: an unknown name or a value the switch cannot take; nothing is changed then.
        """
        hints = get_type_hints(Switches)
        read = {name: _read(name, value, hints) for name, value in changes.items()}
        for name, value in read.items():
            setattr(self, name, value)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def read_switches(text: str) -> dict[str, Any]:
    """The switches that a file sets: its table [switches], as `billing-ops probe` writes it; each is checked.

    Raises:
        SwitchError: one line: not TOML, no such table, a switch that does not exist, a value that it cannot take.
    """
    try:
        content = tomllib.loads(text.removeprefix("\ufeff"))
    except tomllib.TOMLDecodeError as error:
        raise SwitchError(f"not a TOML file: {error}") from None
    table = content.get("switches")
    if not isinstance(table, dict):
        raise SwitchError("no table [switches] with lines such as read_lag = 8.0")
    Switches().update(table)
    return table


def _read(name: str, value: object, hints: Mapping[str, Any]) -> Any:
    if name not in hints:
        names = ", ".join(field.name for field in fields(Switches))
        raise SwitchError(f"no switch {name!r}; there are: {names}")
    hint = hints[name]
    if get_origin(hint) is Literal:
        for option in get_args(hint):
            if str(option) == str(value):
                return option
        raise SwitchError(f"switch {name} takes one of {list(get_args(hint))}, not {value!r}")
    if hint is bool:
        words = {"true": True, "false": False, "1": True, "0": False}
        if str(value).lower() in words:
            return words[str(value).lower()]
        raise SwitchError(f"switch {name} takes true or false, not {value!r}")
    try:
        return hint(str(value))
    except ValueError:
        raise SwitchError(f"switch {name} takes a number, not {value!r}") from None
