"""Benchmarks print ratios measured in the same run: a time alone says more about the machine than about the code."""


def pytest_terminal_summary(terminalreporter, config):
    session = getattr(config, "_benchmarksession", None)
    if session is None or not session.benchmarks:
        return
    per_case = {b.name: b.stats.median / b.extra_info["cases"] for b in session.benchmarks if "cases" in b.extra_info}
    if per_case:
        fastest = min(per_case.values())
        terminalreporter.section("time a case, as a ratio to the fastest of this run")
        for name, seconds in sorted(per_case.items(), key=lambda item: item[1]):
            terminalreporter.write_line(f"{seconds / fastest:10,.0f}x  {1e6 * seconds:12,.3f} us  {name}")
