"""What the pages show is run as it stands: the tutorial's script and commands, and README's."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "OMP_NUM_THREADS": "1",
}


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / page).read_text(), flags=re.MULTILINE | re.DOTALL)


def run(*words, folder):
    done = subprocess.run(words, check=False, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_tutorial_runs_as_it_stands(tmp_path):
    (tmp_path / "shop.py").write_text("\n\n".join(blocks("docs/tutorial.md", "python")))

    told = run(sys.executable, "shop.py", folder=tmp_path)
    said = run("bash", "-ec", "\n".join(blocks("docs/tutorial.md", "sh")), folder=tmp_path)

    assert "1 promoted - version 2, trained once more" in told
    assert "against the champion's" in told
    assert "holds        True" in said


def test_the_five_minutes_of_the_readme_run_as_they_stand(tmp_path):
    said = run("bash", "-ec", blocks("README.md", "sh")[0], folder=tmp_path)

    assert "promoted" in said
    assert "holds        True" in said


def test_the_loop_of_the_readme_can_be_declared(tmp_path):
    (tmp_path / "late_flights.py").write_text(blocks("README.md", "python")[0] + "\nprint(loop.when.words())\n")

    said = run(sys.executable, "late_flights.py", folder=tmp_path)

    assert said == "schedule '0 3 * * *' or 5,000 new labels or drift over 0.2 PSI or auc worse by 0.02\n"


def test_the_pipeline_of_the_pages_runs_again_as_the_same_run(tmp_path):
    (tmp_path / "search.py").write_text("\n\n".join(blocks("docs/pipelines.md", "python")))

    told = [run(sys.executable, "search.py", folder=tmp_path) for _ in range(2)]
    runs = run("noria", "runs", "--json", folder=tmp_path)

    assert told == ["succeeded 1.0\n"] * 2
    assert len(json.loads(runs)) == 1


@pytest.mark.parametrize(
    "page", ["README.md", *(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))]
)
def test_every_link_of_a_page_leads_somewhere(page):
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", (ROOT / page).read_text())

    assert [link for link in links if "://" not in link and not ((ROOT / page).parent / link).exists()] == []
