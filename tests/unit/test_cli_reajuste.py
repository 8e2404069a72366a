"""`billing-ops reajuste` as it is typed, over the simulated Jestor."""

import io
import json
from decimal import Decimal
from types import SimpleNamespace

import httpx
import pytest
from botocore.exceptions import ClientError
from typer.testing import CliRunner

from billing.domain.month import BillingMonth
from billing.domain.reajuste import Index, window
from billing.store.indices import KEY, BadTable, from_csv, from_json, from_sgs, merged, read_indices, to_json
from ops.cli import app
from ops.desk import Tools
from ops.stack import Clients, Stack
from simulators.jestor.transport import transport
from simulators.lab import Lab, demo_settings
from simulators.memory_store import MemoryObjects
from simulators.world import CONTRACT_ID, CONTRACTS_TABLE, FIELDS, READJUSTMENTS

ID_OF = {label: key for key, label in READJUSTMENTS.items()}
OUTPUTS = {"DataBucketName": "dados", "SettingsKey": "config/settings.toml", "SecretsPrefix": "billing-ops"}
PARAMETERS = {"JestorBaseUrl": "http://demo.api.jestor.com", "OmieBaseUrl": "http://omie.lab/api/v1/"}
TABLE = "índice;mês;variação\n" + "".join(
    f"IPCA;{month};0,50\n" for month in window(BillingMonth(2027, 1).first_day, 1)
)


class DemoStack(Stack):
    """The demonstration's settings are in force, without being read each time."""

    def settings(self):
        return demo_settings()


class Rig:
    """The stack's bucket and secrets in memory, the Jestor of a lab, and Banco Central as `bank` answers it."""

    def __init__(self):
        self.lab = Lab(4, seed=2, clean=True)
        self.texts = {}
        self.bank = lambda request: httpx.Response(200, json=[{"data": "01/11/2026", "valor": "0.18"}])
        self.terminal = True
        s3 = SimpleNamespace(meta=SimpleNamespace(region_name="sa-east-1"), get_object=self._get, put_object=self._put)
        secrets = SimpleNamespace(get_secret_value=lambda **_: {"SecretString": '{"token": "demo-jestor-token"}'})
        clients = Clients(None, None, s3, None, secrets, None)
        self.stack = DemoStack("billing-ops", OUTPUTS, PARAMETERS, clients)
        for each in self.table.rows.values():
            each.update(dict.fromkeys((FIELDS["readjust_index"], FIELDS["readjust_percent"], FIELDS["readjusted_on"])))

    def _get(self, *, Bucket, Key):
        if Key not in self.texts:
            raise ClientError({"Error": {"Code": "NoSuchKey"}}, "GetObject")
        return {"Body": io.BytesIO(self.texts[Key].encode())}

    def _put(self, *, Bucket, Key, Body, ContentType):
        self.texts[Key] = Body.decode()

    @property
    def table(self):
        return self.lab.jestor.tables[CONTRACTS_TABLE]

    def contract(self, number, index, percent=None, last="2026-01-01", **more):
        """Jestor's row `number` (from 0), stating an adjustment; its code."""
        row = self.table.rows[sorted(self.table.rows)[number]]
        row |= {
            FIELDS["readjust_index"]: ID_OF[index],
            FIELDS["readjust_percent"]: percent,
            FIELDS["readjusted_on"]: last,
            FIELDS["unit_amount"]: 1000,
            **{FIELDS[word]: value for word, value in more.items()},
        }
        return f"JST-{row[CONTRACT_ID]}"

    def row(self, code):
        return self.table.rows[int(code.removeprefix("JST-"))]

    def written(self):
        return [write["data"] for write in self.lab.jestor.book()["writes"]]

    def http(self):
        jestor = transport(self.lab.jestor, self.lab.now)

        def answer(request):
            if request.url.host == "api.bcb.gov.br":
                return self.bank(request)
            return jestor.handle_request(request)

        return httpx.Client(transport=httpx.MockTransport(answer))

    def __call__(self, *words, stdin="s\n"):
        tools = Tools(
            environ={"AWS_PROFILE": "faturamento"},
            clock=self.lab.clock,
            connect=lambda _: self.stack,
            http=self.http,
            at_a_terminal=lambda: self.terminal,
        )
        return CliRunner().invoke(app, ["reajuste", *words], obj=tools, input=stdin, prog_name="billing-ops")


@pytest.fixture
def ops():
    return Rig()


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "ipca.csv"
    path.write_text(TABLE, encoding="utf-8")
    return str(path)


# ---- the table


@pytest.mark.parametrize("month", ["01/11/2026", "2026-11-01", "11/2026", "2026-11"])
def test_a_month_may_be_written_as_its_first_day(month):
    assert from_csv(f"IPCA;{month};0,18") == {Index.IPCA: {BillingMonth(2026, 11): Decimal("0.18")}}


@pytest.mark.parametrize("name", ["INPC", "IPACA", "IPCA-E", "Índice do mês"])
def test_a_first_line_with_a_value_is_no_heading(name):
    with pytest.raises(BadTable, match=r"linha 1: índice .* desconhecido"):
        from_csv(f"{name};2026-10;0,3\nIPCA;2026-11;0,18")


@pytest.mark.parametrize("name", ["IPCA (IBGE)", "ipca/ibge", "IGP-M (FGV)"])
def test_an_index_may_be_called_as_the_lists_call_it(name):
    (index,) = from_csv(f"{name};2026-11;0,18")
    assert index in {Index.IPCA, Index.IGPM}


@pytest.mark.parametrize(
    "text",
    [
        "IPCA;2026-11;0,18",
        "\ufeffíndice;mês;variação\nIPCA;2026-11;0,18%\n\n",
        "ipca,11/2026,0.18",
        "IPCA;2026-11;0.1800",
    ],
)
def test_a_table_is_read_as_people_write_it(text):
    (percent,) = from_csv(text)[Index.IPCA].values()
    assert f"{percent.normalize()}" == "0.18"
    assert list(from_csv(text)[Index.IPCA]) == [BillingMonth(2026, 11)]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("IPCA;2026-11", "linha 1: esperava índice, mês e variação; vieram 2 colunas"),
        ("IPCA;2026-11;0,18\nINPC;2026-11;0,2", "linha 2: índice INPC desconhecido"),
        ("IPCA;novembro;0,18", "linha 1: mês novembro inválido"),
        ("IPCA;2026-11;alto", "linha 1: alto não é uma variação"),
        ("IPCA;2026-11;NaN", "NaN não é uma variação"),
        ("IPCA;2026-11;180", "180 não é uma variação"),
        ("IPCA;2026-11;0,18\nIPCA;2026-11;0,19", "linha 2: IPCA de 2026-11 aparece duas vezes"),
        ("", "nenhuma linha"),
        ("índice;mês;variação", "nenhuma linha"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(text, why):
    with pytest.raises(BadTable, match=why):
        from_csv(text)


def test_a_table_survives_its_bucket():
    table = from_csv("IGP-M;2026-11;-0,34\nIPCA;2026-11;0,18")
    assert from_json(to_json(table)) == table
    assert merged(table, from_csv("IPCA;2026-12;0,5"))[1] == []
    bucket = MemoryObjects()
    assert read_indices(bucket) == {}
    bucket.texts[KEY] = '{"ipca": {"2026-13": "1"}}'
    with pytest.raises(BadTable, match="não é uma tabela de índices"):
        read_indices(bucket)


@pytest.mark.parametrize("code", ["AccessDenied", "403"])
def test_no_table_without_the_permission_to_list_is_an_empty_one(code):
    def get_text(key):
        raise ClientError({"Error": {"Code": code}}, "GetObject")

    assert read_indices(SimpleNamespace(get_text=get_text)) == {}


@pytest.mark.parametrize("answer", [[{"data": "15/11/2026", "valor": "1"}], [{"valor": "1"}], {"error": 1}, [1]])
def test_another_answer_of_the_bank_is_no_series(answer):
    with pytest.raises(BadTable):
        from_sgs(answer)


def test_importing_adds_and_a_revised_value_asks_first(ops, table, tmp_path):
    result = ops("import", table)
    assert (result.exit_code, result.stdout) == (0, "IPCA (IBGE): 12 meses, até 2026-12.\n")
    revised = tmp_path / "novo.csv"
    revised.write_text("IPCA;2026-12;0,51\nIPCA;2027-01;0,40", encoding="utf-8")
    before = ops.texts[KEY]
    result = ops("import", str(revised))
    assert result.exit_code == 2
    assert "IPCA (IBGE) de 2026-12: 0.50% na tabela, 0.51% agora." in result.stderr
    assert ops.texts[KEY] == before
    assert ops("import", str(revised), "--replace").stdout == "IPCA (IBGE): 13 meses, até 2027-01.\n"


def test_the_series_come_from_banco_central(ops):
    asked = []

    def bank(request):
        asked.append((request.url.path, request.url.params["dataFinal"]))
        return httpx.Response(200, json=[{"data": "01/11/2026", "valor": "0.18"}])

    ops.bank = bank
    assert ops("fetch").exit_code == 0
    assert asked == [(f"/dados/serie/bcdata.sgs.{number}/dados", "01/12/2026") for number in (433, 189)]
    assert json.loads(ops.texts[KEY]) == {"igpm": {"2026-11": "0.18"}, "ipca": {"2026-11": "0.18"}}


def _no_route(request):
    raise httpx.ConnectError("no route")


@pytest.mark.parametrize(
    ("bank", "why"),
    [
        (_no_route, "Sem acesso a api.bcb.gov.br (ConnectError)."),
        (lambda request: httpx.Response(502), "O Banco Central respondeu 502 pela série 433."),
        (lambda request: httpx.Response(200, text="<html>"), "Série 433:"),
    ],
)
def test_without_the_bank_one_line_says_how_to_do_it_by_hand(ops, bank, why):
    ops.bank = bank
    result = ops("fetch")
    assert result.exit_code == 1
    assert result.stderr.startswith(why)
    assert result.stderr.endswith("Importe a tabela de um arquivo: billing-ops reajuste import ARQUIVO\n")
    assert KEY not in ops.texts


# ---- what is due, and applying it


def test_what_is_due_is_listed_with_its_proof_and_total(ops, table):
    ops("import", table)
    indexed = ops.contract(0, "IPCA")
    ops.contract(1, "Percentual fixo", 5, last="2026-01-02")  # not on the next bill: its year ends one day later
    result = ops("list", "--json")
    (one,) = json.loads(result.stdout)["contracts"]
    assert (one["contract"], one["before"], one["after"], one["effective"]) == (
        indexed, "1000.00", "1061.68", "2027-01-01",
    )  # fmt: skip
    shown = ops("list").stdout
    assert "Fator acumulado: 1,06167781… (6,1677…%)." in shown
    assert "Total: R$ 61,68 a mais por mês, em 1 contrato." in shown
    assert ops.written() == []


def test_another_month_can_be_looked_at(ops):
    ops.contract(1, "Percentual fixo", 5, last="2026-01-02")
    assert ops("list").stdout == "Nenhum reajuste devido.\n"
    assert "R$ 1.050,00" in ops("list", "--month", "2027-02").stdout


def test_applying_writes_price_and_days_once_and_the_year_begins_anew(ops):
    code = ops.contract(0, "Percentual fixo", 5)
    result = ops("apply", "--contract", code)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.endswith("Reajustes aplicados: 1 de 1.\n")
    assert ops.written() == [
        {FIELDS["unit_amount"]: 1050.0, FIELDS["readjusted_on"]: "2027-01-01", FIELDS["change_from"]: "2027-01-01"}
    ]
    again = ops("apply", "--contract", code)
    assert (again.exit_code, again.stderr.splitlines()[-1]) == (
        2, f"Sem reajuste devido: {code}. Veja com: billing-ops reajuste list",
    )  # fmt: skip
    assert "R$ 1.102,50" not in ops("list", "--month", "2027-12").stdout
    assert "R$ 1.102,50" in ops("list", "--month", "2028-01").stdout


@pytest.mark.parametrize("answer", ["n\n", ""])
def test_without_a_yes_nothing_is_written(ops, answer):
    ops.contract(0, "Percentual fixo", 5)
    result = ops("apply", "--all", stdin=answer)
    assert (result.exit_code, ops.written()) == (1, [])


def test_without_a_terminal_it_wants_the_yes_on_the_line(ops):
    ops.terminal = False
    ops.contract(0, "Percentual fixo", 5)
    assert ops("apply", "--all").exit_code == 2
    assert ops.written() == []
    assert ops("apply", "--all", "--yes").exit_code == 0
    assert len(ops.written()) == 1


def test_what_lacks_a_month_or_has_a_change_pending_stays_out(ops):
    lacking = ops.contract(0, "IGP-M")
    pending = ops.contract(1, "Percentual fixo", 5, change_from="2027-03-01")
    ready = ops.contract(2, "Percentual fixo", 10)
    result = ops("apply", "--all", "--yes")
    assert result.exit_code == 0
    assert f"{lacking} fica de fora: falta na tabela o IGP-M (FGV) de 01/2026, 02/2026" in result.stderr
    assert f"{pending} fica de fora: há uma mudança marcada no Jestor para 01/03/2027" in result.stderr
    assert [row[FIELDS["unit_amount"]] for row in map(ops.row, (lacking, pending, ready))] == [1000, 1000, 1100.0]


def test_a_month_that_has_come_cannot_be_chosen(ops):
    ops.contract(0, "Percentual fixo", 5, last="2025-01-01")
    result = ops("apply", "--all", "--yes", "--month", "2026-12")
    assert result.exit_code == 1
    assert "o dia 01/12/2026 já chegou" in result.stderr
    assert ops.written() == []


def test_a_row_that_changed_meanwhile_is_left_alone(ops):
    code = ops.contract(0, "Percentual fixo", 5)
    number = int(code.removeprefix("JST-"))
    edit = {"table": CONTRACTS_TABLE, "id": number, "data": {FIELDS["unit_amount"]: 1200}}
    ops.lab.jestor.set_faults([{"kind": "edit", "path": "/object/list", "times": 1, **edit}])
    result = ops("apply", "--all", "--yes")
    assert result.exit_code == 1
    assert f"{code} mudou no Jestor enquanto isso" in result.stderr
    assert ops.row(code)[FIELDS["unit_amount"]] == 1200


@pytest.mark.parametrize("words", [["apply"], ["apply", "--all", "--contract", "JST-1"]])
def test_it_must_be_said_which(ops, words):
    assert ops(*words).exit_code == 2


OF_EXCEL = "Índice;Mês;Variação\r\nIPCA;2026-11;0,18\r\nIGP-M;12/2026;-0,5%\r\n"


@pytest.mark.parametrize(
    "raw",
    [
        OF_EXCEL.encode("cp1252"),
        OF_EXCEL.encode("utf-8-sig"),
        OF_EXCEL.encode("utf-16"),
        OF_EXCEL.replace(";", "\t").encode("utf-16"),
        ("sep=;\r\n" + OF_EXCEL).encode("cp1252"),
        OF_EXCEL.replace(",", ".").replace(";", ",").encode(),
        OF_EXCEL.replace("-0,5", "\u22120,5").encode(),
    ],
    ids=["ansi", "mark", "utf-16", "tabs", "sep", "commas", "minus"],
)
def test_a_table_is_read_as_excel_saves_it(ops, tmp_path, raw):
    file = tmp_path / "tabela.csv"
    file.write_bytes(raw)
    result = ops("import", str(file))
    assert (result.exit_code, result.stderr) == (0, "")
    table = from_json(ops.texts[KEY])
    assert str(table[Index.IPCA][BillingMonth(2026, 11)]) == "0.18"
    assert str(table[Index.IGPM][BillingMonth(2026, 12)]) == "-0.5"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("IPCA;2026-11;1e1", "não é uma variação em percentual"),
        ("IPCA;2026-11;\u0661", "não é uma variação em percentual"),
        ("IPCA;2026-11;1_0", "não é uma variação em percentual"),
        ("IPCA;nov/26;0,1", "mês nov/26 inválido"),
        ("\u2160PCA\ud800;2026-11;0,1".encode("utf-8", "replace").decode(), "desconhecido"),
    ],
)
def test_a_line_of_a_table_that_cannot_be_read_is_one_clear_line(line, said):
    with pytest.raises(BadTable) as refused:
        from_csv(f"IPCA;2026-10;0,1\n{line}")
    assert str(refused.value).startswith("linha 2: ")
    assert said in str(refused.value)


def test_a_file_that_is_no_table_is_one_line(ops, tmp_path):
    file = tmp_path / "tabela.xlsx"
    file.write_bytes(b"PK\x03\x04\x00\x00\x81\x8d")
    result = ops("import", str(file))
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert result.stderr.startswith(f"{file}: está em UTF-16 sem marca, ou não é um texto")
