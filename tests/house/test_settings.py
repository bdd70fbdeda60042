"""Laws of settings: one object, the environment wins, a wrong name is an error."""

import pytest

from noria.core.errors import Invalid
from noria.settings import read_settings


@pytest.fixture(autouse=True)
def no_settings(monkeypatch):
    import os

    for name in list(os.environ):
        if name.startswith("NORIA_"):
            monkeypatch.delenv(name)


def test_without_a_word_the_home_is_a_folder_here(tmp_path):
    assert read_settings(tmp_path).home == ".noria"


def test_a_file_is_read_and_the_environment_wins(tmp_path, monkeypatch):
    (tmp_path / "noria.toml").write_text('home = "team"\nlease_seconds = 5\n')
    monkeypatch.setenv("NORIA_LEASE_SECONDS", "7.5")

    found = read_settings(tmp_path)

    assert (found.home, found.lease_seconds) == ("team", 7.5)


def test_a_name_that_is_not_there_is_refused_with_the_nearest(tmp_path):
    (tmp_path / "noria.toml").write_text("lease_second = 5\n")

    with pytest.raises(Invalid, match="no setting 'lease_second'") as caught:
        read_settings(tmp_path)

    assert caught.value.hint == "did you mean 'lease_seconds'?"


def test_a_value_of_the_wrong_type_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("NORIA_LEASE_SECONDS", "soon")

    with pytest.raises(Invalid, match="lease_seconds"):
        read_settings(tmp_path)
