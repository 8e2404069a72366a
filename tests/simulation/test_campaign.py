"""A search that is gone on with, and stands for one content of layers/ only."""

from pathlib import Path

from tests.simulation import campaign


def test_a_campaign_goes_on_where_it_ended_and_says_what_stands(tmp_path: Path):
    book = tmp_path / "campaign.json"
    assert campaign.stands(book) == f"layers {campaign.content()}: nothing was searched yet"
    first = sum(block.schedules for block in campaign.resume(6, 1, late=False, book=book))
    second = list(campaign.resume(3, 1, late=False, book=book))
    late = list(campaign.resume(2, 1, late=True, book=book))
    assert (first, second[0].schedules, late[0].schedules) == (6, 3, 2)
    plain, other = campaign.stands(book).splitlines()
    assert f"layers {campaign.content()}, plain: 9 schedules (seeds 0 to 8), " in plain
    assert plain.endswith("0 failed")
    assert "late: 2 schedules (seeds 0 to 1), " in other


def test_another_content_begins_anew(tmp_path: Path):
    (tmp_path / "one.py").write_text("x = 1\n")
    before = campaign.content(tmp_path)
    assert before == campaign.content(tmp_path)
    (tmp_path / "one.py").write_text("x = 2\n")
    assert campaign.content(tmp_path) != before
