"""Benchmarks print ratios measured in the same run: a time alone says more about the machine than about the code."""

import os

# One thread, set before numpy loads: what is compared is the method, not the cores.
for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"


def pytest_terminal_summary(terminalreporter, config):
    session = getattr(config, "_benchmarksession", None)
    if session is None or not session.benchmarks:
        return
    groups: dict = {}
    for b in session.benchmarks:
        groups.setdefault(b.group or "all", []).append((b.stats.median / b.extra_info.get("cases", 1), b.name, b.extra_info))
    terminalreporter.section("time a case, as a ratio to the fastest of its group")
    for group, rows in groups.items():
        fastest = min(seconds for seconds, _, _ in rows)
        terminalreporter.write_line(f"{group}")
        for seconds, name, info in sorted(rows):
            said = ", ".join(f"{k} {v}" for k, v in info.items() if k != "cases")
            terminalreporter.write_line(f"{seconds / fastest:10,.1f}x  {1e3 * seconds:12,.5f} ms  {name}  {said}")
