"""Laws of what is said where a window has too little to learn from."""

from datetime import UTC, datetime

import pytest

from noria.loop.rules import why_few

UNTIL = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("rows", "labelled", "in_time", "words"),
    [
        (900, 900, 0, "900 more rows have labels that count as known only after the window's end, 2026-03-01 00:00"),
        (900, 900, 0, "--label-delay"),
        (900, 20, 20, "of its 900 rows 20 have a label"),
        (0, 0, 0, "there are no rows from before 2026-03-01 00:00"),
    ],
)
def test_a_shortage_says_whether_labels_came_too_late_or_not_at_all(rows, labelled, in_time, words):
    assert words in why_few(rows, labelled=labelled, in_time=in_time, until=UNTIL)
