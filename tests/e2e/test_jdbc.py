"""Debian's pgjdbc through jdbc/Matrix.java, whose every check is one test here."""

import re
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parent / "jdbc" / "Matrix.java"
DRIVER = "/usr/share/java/postgresql.jar"
CHECKS = re.findall(r'check\("([^"]+)"', SOURCE.read_text()) + ["wrong password"]


@pytest.fixture(scope="module")
def report(cluster, tmp_path_factory):
    classes = tmp_path_factory.mktemp("jdbc")
    subprocess.run(["javac", "-encoding", "UTF-8", "-cp", DRIVER, "-d", str(classes), str(SOURCE)], check=True,
                   timeout=120)
    url = f"jdbc:postgresql://{cluster.host}:{cluster.port}/{cluster.database}"
    done = subprocess.run(["java", "-Xmx1200m", "-Dfile.encoding=UTF-8", "-cp", f"{DRIVER}:{classes}", "Matrix", url,
                           cluster.user], capture_output=True, text=True, timeout=300, env=cluster.environment(),
                          check=False)
    return done.stdout + done.stderr


@pytest.mark.parametrize("name", CHECKS)
def test_jdbc(report, name):
    lines = [line for line in report.splitlines() if line.startswith((f"ok {name}", f"FAIL {name}"))]
    exact = [line for line in lines if line.split(" ", 1)[1].split(":")[0] == name]
    assert exact and exact[0].startswith("ok "), "\n".join(exact) or report[-3000:]
