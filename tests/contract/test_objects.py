import tracemalloc

import pytest

from billing.domain.month import BillingMonth
from billing.store.objects import ObjectMissing, ObjectStore, batches_key, lines_key, plan_key, report_key

DECEMBER = BillingMonth(2026, 12)
PLAN = plan_key(DECEMBER, 1, "acme", "a1b2")


def test_keys_tell_the_run_and_the_company():
    assert PLAN == "runs/2026-12/1/acme/a1b2/plan.jsonl"
    assert batches_key(PLAN, 3) == "runs/2026-12/1/acme/a1b2/batches-3.jsonl"
    assert report_key(DECEMBER, "report.html") == "reports/2026-12/report.html"


def test_lines_are_read_as_they_were_written(stores):
    lines = ['{"name":"Padaria São João & Filhos"}', "", "separador\u2028de linha\x0b do Unicode", "fim"]
    with stores.objects.plan_writer(PLAN) as plan:
        for line in lines:
            plan.write(line)
    assert plan.lines == 4
    assert list(stores.objects.read_lines(PLAN)) == lines


def test_a_plan_without_lines_is_an_object_without_lines(stores):
    with stores.objects.plan_writer(PLAN):
        pass
    assert list(stores.objects.read_lines(PLAN)) == []


def test_a_plan_that_fails_half_way_leaves_nothing(stores):
    def fail():
        with stores.objects.plan_writer(PLAN) as plan:
            plan.write("{}")
            raise RuntimeError("Jestor não respondeu")

    with pytest.raises(RuntimeError):
        fail()
    with pytest.raises(ObjectMissing, match=PLAN):
        next(stores.objects.read_lines(PLAN))


def test_json_and_text_come_back(stores):
    key = report_key(DECEMBER, "report.json")
    stores.objects.put_json(key, {"total": 120050, "título": "Fechamento"})
    assert stores.objects.get_json(key) == {"total": 120050, "título": "Fechamento"}
    assert "título" in stores.objects.get_text(key)
    stores.objects.put_text(key, "<p>Olá</p>", "text/html; charset=utf-8")
    assert list(stores.objects.read_lines(key)) == ["<p>Olá</p>"]


def test_a_part_is_so_many_bytes_from_a_place_on(stores):
    key = lines_key(PLAN, 0)
    stores.objects.put_text(key, "São João\nfim\n")
    assert stores.objects.get_part(key, 0, 4) == "São".encode()
    assert stores.objects.get_part(key, 11, 4) == b"fim\n"
    assert stores.objects.get_part(key, 11, 400) == b"fim\n"
    with pytest.raises(ObjectMissing, match=r"lines-1\.jsonl"):
        stores.objects.get_part(lines_key(PLAN, 1), 0, 4)


def test_a_missing_object_is_named(stores):
    with pytest.raises(ObjectMissing, match=r"reports/2026-12/report\.json"):
        stores.objects.get_json(report_key(DECEMBER, "report.json"))


def test_a_page_keeps_its_content_type(moto_aws):
    objects = ObjectStore(moto_aws.s3, moto_aws.bucket)
    objects.put_text("reports/x.html", "<p>", "text/html; charset=utf-8")
    head = moto_aws.s3.head_object(Bucket=moto_aws.bucket, Key="reports/x.html")
    assert head["ContentType"] == "text/html; charset=utf-8"


def test_a_long_plan_needs_no_memory(moto_aws):
    objects = ObjectStore(moto_aws.s3, moto_aws.bucket)
    line = "x" * 999
    with objects.plan_writer(PLAN) as plan:
        tracemalloc.start()
        for _ in range(4_000):  # 4 MB
            plan.write(line)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 100_000
    assert sum(1 for _ in objects.read_lines(PLAN)) == 4_000
