"""npm pg through node/matrix.js, whose every check is one test here."""

import re
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent / "node"
CHECKS = re.findall(r"^check\('([^']+)'", (FOLDER / "matrix.js").read_text(), re.M)


@pytest.fixture(scope="module")
def report(cluster):
    if not (FOLDER / "node_modules" / "pg").exists():
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--silent"], cwd=FOLDER, check=True, timeout=300)
    done = subprocess.run(["node", "matrix.js"], cwd=FOLDER, capture_output=True, text=True, timeout=180,
                          env=cluster.environment(), check=False)
    return done.stdout + done.stderr


@pytest.mark.parametrize("name", CHECKS)
def test_node(report, name):
    lines = [line for line in report.splitlines() if line == f"ok {name}" or line.startswith(f"FAIL {name}:")]
    assert lines and lines[0].startswith("ok "), "\n".join(lines) or report[-3000:]
