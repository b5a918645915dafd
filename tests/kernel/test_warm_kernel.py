"""Kernels forked from the warm server: processes of their own like any other kernel, and nothing left when they or their client end."""

import asyncio
import json
import logging
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
import papermill
import psutil
import pytest
from jupyter_client.connect import LocalPortCache
from jupyter_client.manager import start_new_async_kernel, start_new_kernel

import workbench
from workbench.kernel import private_socket, provisioner, warm_server
from workbench.notebook.kernels import PromptKernelManager

if not hasattr(os, "fork"):
    pytest.skip("this system cannot fork", allow_module_level=True)

BIN, PACKAGE = Path(sys.executable).parent, Path(workbench.__file__).parent


class Kernel:
    """A kernel with a client that waits."""

    def __init__(self, name="workbench", **options):
        self.manager, self.client = start_new_kernel(kernel_name=name, **options)

    @property
    def pid(self):
        return self.manager.provisioner.pid

    def __call__(self, code):
        """What the code prints; its errors are raised."""
        said = []

        def hear(message):
            if message["msg_type"] == "stream":
                said.append(message["content"]["text"])

        reply = self.client.execute_interactive(code, timeout=60, output_hook=hear)
        if reply["content"]["status"] != "ok":
            raise RuntimeError(f"{reply['content']['ename']}: {reply['content']['evalue']}")
        return "".join(said).strip()

    def end(self, **how):
        self.client.stop_channels()
        self.manager.shutdown_kernel(**how)


@pytest.fixture
def start():
    kernels = []

    def make(*name, **options):
        kernels.append(Kernel(*name, **options))
        return kernels[-1]

    yield make
    for kernel in kernels:
        kernel.end(now=True)


@pytest.fixture
def warm(start):
    kernel = start()
    assert isinstance(kernel.manager.provisioner.process, provisioner.ForkedKernel)
    return kernel


def started(client):
    """Start a cell that sleeps, and return when it does; after an error of it the kernel still takes a cell that comes at once."""
    message = client.execute("import time; print('it sleeps', flush=True); time.sleep(60)", stop_on_error=False)
    while True:
        heard = client.get_iopub_msg(timeout=30)
        if heard["parent_header"].get("msg_id") == message and heard["msg_type"] == "stream":
            time.sleep(0.1)
            return message


def until(condition, seconds=15.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def folders():
    return set(Path(tempfile.gettempdir()).glob("workbench-*"))


# a process of its own


def test_nothing_is_shared_between_kernels(start):
    one, other = start(), start()
    one("x = 1; import workbench.units; workbench.units.mine = 1")
    with pytest.raises(RuntimeError, match="name 'x' is not defined"):
        other("x")
    assert other("import workbench.units; print(hasattr(workbench.units, 'mine'))") == "False"
    draw = "import random, numpy as np; print(random.random(), np.random.random(), np.random.default_rng().random())"
    assert not set(one(draw).split()) & set(other(draw).split())
    assert one.pid != other.pid


def test_libraries_are_there_and_work(warm):
    assert warm("import sys; print('polars' in sys.modules, 'workbench.fleet' in sys.modules)") == "True True"
    assert warm("import polars as pl; print(pl.DataFrame({'a': [1, 2, 3]}).lazy().filter(pl.col('a') > 1).collect()['a'].sum())") == "5"
    assert warm("import numpy as np; print(round(float((np.ones((500, 500)) @ np.ones((500, 500))).sum())))") == "125000000"
    assert warm("import multiprocessing as m; print(m.get_context('fork').Pool(2).map(abs, [-1, -2]))") == "[1, 2]"


def test_it_has_the_folder_and_the_environment_of_its_client(start, tmp_path, monkeypatch):
    monkeypatch.setenv("OF_THE_CLIENT", "é \n'")
    kernel = start(cwd=str(tmp_path))
    assert kernel("import os; print(os.getcwd())") == str(tmp_path)
    assert kernel("print(repr(os.environ['OF_THE_CLIENT']))") == repr("é \n'")
    assert kernel("import subprocess; print(subprocess.check_output('echo \"$OF_THE_CLIENT\"', shell=True, text=True))") == "é \n'"
    monkeypatch.delenv("OF_THE_CLIENT")
    assert start()("import os; print('OF_THE_CLIENT' in os.environ)") == "False"


def test_it_leads_its_own_session_and_looks_like_a_kernel_that_was_started(warm, start):
    assert warm("import os; print(os.getsid(0) == os.getpgrp() == os.getpid())") == "True"
    assert warm("import sys; print(sys.argv[0], __name__)") == "ipykernel_launcher __main__"
    path = "import signal, sys; print(sys.path, sys.flags, signal.getsignal(15), signal.getsignal(17), sys.stdin.name)"
    assert warm(path) == start("python3")(path)
    assert warm("import threading; print(threading.current_thread() is threading.main_thread())") == "True"


def test_output_of_programs_and_errors_goes_to_the_notebook(start, monkeypatch):
    monkeypatch.delenv("PYTEST_CURRENT_TEST")  # ipykernel then leaves the output of programs alone
    warm = start()
    assert warm("import os, time; os.system('echo from a program'); time.sleep(0.5)") == "from a program"
    assert warm("import sys; print('careful', file=sys.stderr)") == "careful"


def test_files_given_as_its_streams(start, tmp_path):
    with open(tmp_path / "said", "w") as said:
        kernel = start(stdout=said, stderr=subprocess.DEVNULL)
        kernel("import sys; print('beside the notebook', file=sys.__stdout__, flush=True)")
        kernel.end()
    assert "beside the notebook" in (tmp_path / "said").read_text() or kernel.manager.provisioner.process is None


def test_nested_loops_widgets_and_plots(warm):
    assert warm("import asyncio; await asyncio.sleep(0); print('awaited')") == "awaited"
    assert (
        warm("import anywidget, traitlets; class_ = type('W', (anywidget.AnyWidget,), {'_esm': ''}); print(class_().comm is not None)")
        == "True"
    )
    assert warm("%reset -f\nprint('x' in dir())") == "False"
    charts = "from workbench.charts import theme; theme.enable(); import altair as alt"
    chart = "alt.Chart(alt.Data(values=[{'a': 1}])).mark_bar().encode(x='a:Q')"
    assert warm(f"{charts}; print({chart}._repr_mimebundle_()[0]['image/png'][:4])") == "b'\\x89PNG'"


def test_interrupt(warm):
    message = started(warm.client)
    warm.manager.interrupt_kernel()
    reply = warm.client.get_shell_msg(timeout=10)
    assert reply["parent_header"]["msg_id"] == message
    assert reply["content"]["ename"] == "KeyboardInterrupt"
    assert warm("print('goes on')") == "goes on"


def test_restart(warm):
    before = warm.pid
    warm("x = 1")
    warm.manager.restart_kernel()
    warm.client.wait_for_ready(timeout=30)
    assert warm.pid != before
    with pytest.raises(RuntimeError, match="not defined"):
        warm("x")
    assert not psutil.pid_exists(before)


@pytest.mark.parametrize(("code", "expected"), [("os.kill(os.getpid(), 9)", -9), ("os._exit(3)", 3), ("os.kill(os.getpid(), 15)", -15)])
def test_exit_codes(warm, code, expected):
    warm.client.execute(f"import os; {code}")
    process = warm.manager.provisioner.process
    until(lambda: process.poll() is not None)
    assert process.returncode == expected
    assert not warm.manager.is_alive()


def test_an_orderly_end_runs_what_is_left_to_do(start, tmp_path):
    kernel = start()
    kernel(f"import atexit; atexit.register(lambda: open({str(tmp_path / 'left')!r}, 'w').write('done'))")
    process, pid = kernel.manager.provisioner.process, kernel.pid
    kernel.end()
    assert process.returncode == 0
    assert (tmp_path / "left").read_text() == "done"
    assert not psutil.pid_exists(pid)


def test_killed_it_takes_what_it_started_along(start):
    kernel = start()
    child = int(kernel("import subprocess; print(subprocess.Popen(['sleep', '100']).pid)"))
    kernel.end(now=True)
    until(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE)


def test_many_at_once():
    async def one(i):
        kernels, client = await start_new_async_kernel(kernel_name="workbench")
        await client.execute_interactive(f"x = {i}; import polars as pl; pl.DataFrame({{'a': [x]}}).filter(pl.col('a') > 0)", timeout=60)
        reply = await client.execute_interactive("", user_expressions={"x": "x"}, timeout=60)
        client.stop_channels()
        await kernels.shutdown_kernel()
        return int(reply["content"]["user_expressions"]["x"]["data"]["text/plain"])

    async def all_of_them():
        return await asyncio.gather(*(one(i) for i in range(1, 7)))

    assert asyncio.run(all_of_them()) == [1, 2, 3, 4, 5, 6]


def test_a_port_taken_meanwhile(monkeypatch, caplog):
    free, others = LocalPortCache.find_available_port, []

    def taken(self, ip):  # as another process may, between the choice of a port and the kernel's use of it
        port = free(self, ip)
        if not others:
            others.append(socket.create_server((ip, port)))
        return port

    monkeypatch.setattr(LocalPortCache, "find_available_port", taken)
    kernel = Kernel()
    try:
        assert isinstance(kernel.manager.provisioner.process, provisioner.ForkedKernel)
        assert kernel("print(1)") == "1"
        assert not caplog.records
    finally:
        kernel.end()
        others[0].close()


# the server


def test_it_has_done_no_work(warm):
    server = psutil.Process(warm.pid).parent()
    threads = {(Path(f"/proc/{server.pid}/task") / str(t.id) / "comm").read_text().strip() for t in server.threads()}
    assert not [t for t in threads if t.startswith(("polars-0", "tokio", "V8", "rayon"))]


REFUSES = """
import os, sys
from workbench import files
from workbench.kernel import private_socket
from workbench.kernel import warm_server
folder = files.private_folder()
server = warm_server.Server(folder, private_socket.listen(folder / "kernels.sock"), 0)
asked = {"python": sys.executable, "env": dict(os.environ)}
print(server.refusal(asked))
print(server.refusal({"python": "/another/python", "env": {}}))
print(server.refusal({"python": sys.executable, "env": {**os.environ, "OMP_NUM_THREADS": "7", "PYTHONPATH": "/a"}}))
import polars as pl
pl.DataFrame({"a": [1]}).filter(pl.col("a") > 0)
print(server.refusal(asked))
import threading, time
threading.Thread(target=time.sleep, args=(1,)).start()
print(server.refusal(asked))
server.close()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux names the threads of a process")
def test_it_looks_for_threads_before_each_fork():
    fresh, python, variables, worked, running = subprocess.run(
        [sys.executable, "-P", "-c", REFUSES], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert fresh == "None"
    assert python.endswith("not /another/python")
    assert variables == "its server was started with other values of OMP_NUM_THREADS, PYTHONPATH"
    assert "threads have worked in its server" in worked
    assert running == "1 Python threads run in its server"


SPOILT = """
import threading, time
from workbench import files
from workbench.kernel import private_socket
from workbench.kernel import warm_server
folder = files.private_folder()
server = warm_server.Server(folder, private_socket.listen(folder / "kernels.sock"), 0)
threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
print(folder / "kernels.sock", flush=True)
server.serve()
"""


@pytest.fixture
def served(monkeypatch):
    """A server run by the code given, that kernels of this process use."""
    processes = []

    def serve(code):
        processes.append(subprocess.Popen([sys.executable, "-P", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        path = Path(processes[-1].stdout.readline().decode().strip())
        monkeypatch.setenv(provisioner.VARIABLE, str(path))
        return path

    yield serve
    for process in processes:
        process.communicate(timeout=20)


def test_where_it_cannot_fork_kernels_start_cold_and_say_so_once(served, start, caplog):
    served(SPOILT)
    with caplog.at_level(logging.WARNING, "workbench"):
        for _ in range(2):
            kernel = start()
            assert isinstance(kernel.manager.provisioner.process, subprocess.Popen)
            assert kernel("print(1)") == "1"
    assert [r.message for r in caplog.records] == ["kernel workbench starts cold: 1 Python threads run in its server"]


@pytest.mark.parametrize("why", ["no server", "a pipe"])
def test_other_reasons_to_start_cold(start, monkeypatch, tmp_path, caplog, why):
    options = {}
    if why == "no server":
        monkeypatch.setenv(provisioner.VARIABLE, str(tmp_path / "nowhere"))
    else:
        options = {"stderr": subprocess.PIPE}
    kernel = start(**options)
    assert isinstance(kernel.manager.provisioner.process, subprocess.Popen)
    assert kernel("print(1)") == "1"


def test_a_server_that_fails_is_not_started_again(start, monkeypatch, caplog):
    provisioner.stop()
    monkeypatch.setattr(provisioner, "SERVER", "raise SystemExit(3)")
    with caplog.at_level(logging.WARNING, "workbench"):
        for _ in range(2):
            assert start()("print(1)") == "1"
    assert caplog.records[-1].message == "kernel workbench starts cold: its server ended with code 3"
    provisioner.stop()
    assert not folders() & {Path(provisioner._Own.path).parent}


CHANGED = """
import logging, sys
from pathlib import Path
from jupyter_client.manager import start_new_kernel
from workbench.kernel import provisioner

def started():
    manager, client = start_new_kernel(kernel_name="workbench")
    print(type(manager.provisioner.process).__name__, flush=True)
    client.stop_channels()
    manager.shutdown_kernel(now=True)

logging.basicConfig(format="%(message)s")
provisioner.start(steady=sys.argv[1] == "steady")
started()
fresh = Path(provisioner.__file__).with_name("fresh.py")
fresh.with_name(".#an_editor.py").symlink_to("nowhere")
started()
fresh.touch()
started()
provisioner.stop()
"""


@pytest.mark.parametrize("how", ["changing", "steady"])
def test_kernels_start_cold_once_the_workbench_was_changed(how, tmp_path):
    """Whoever edits a module or a table, and restarts the kernel, meets what it says now; the runs of a sweep are all of one code."""
    shutil.copytree(PACKAGE, tmp_path / "workbench", ignore=shutil.ignore_patterns("__pycache__", ".*"))  # others are at work with ours
    for name in ("data", "notebooks"):
        (tmp_path / name).symlink_to(PACKAGE.parent / name)
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", CHANGED, how], capture_output=True, text=True, timeout=60, env=environment, cwd=tmp_path)
    assert done.stdout.split() == ["ForkedKernel", "ForkedKernel", "ForkedKernel" if how == "steady" else "Popen"]
    fresh = tmp_path / "workbench" / "kernel" / "fresh.py"
    assert how == "steady" or f"{fresh} has changed since its server started" in done.stderr


def test_a_server_that_is_still_importing_can_be_stopped_at_once():
    provisioner.stop()
    path = Path(provisioner.start())
    start = time.monotonic()
    provisioner.stop()
    assert time.monotonic() - start < 1
    assert not path.parent.exists()


def test_it_serves_its_own_user_only(warm):
    path = Path(provisioner.start())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert path.stat().st_uid == path.parent.stat().st_uid == os.geteuid()


ODD_LINES = [
    b"",
    b"{",
    b"7",
    b"[]",
    b"null",
    b'"x"',
    b"{}",
    b'{"signal": "x"}',
    b'{"signal": 1e99}',
    b'{"signal": 99, "env": 3}',
    b"\xff\xfe",
]
ODD_LINES += [b"[" * 100_000, b'{"python": 3}', b'{"python": "x", "argv": null, "cwd": "/", "env": {}}']
ODD_LINES += [b'{"python": "x", "argv": ["x"], "cwd": "/", "env": {"a": 1}}', b'{"python": "x", "argv": ["x"], "cwd": "/", "env": {}}']


def test_lines_that_ask_for_nothing_end_their_own_connection_only(warm):
    for line in ODD_LINES:
        with private_socket.connect(provisioner.start(), 10) as connection:
            connection.sendall(line + b"\n")
            assert b"cold" in connection.recv(1000), line
            assert connection.recv(1000) == b""
    assert warm("print('still there')") == "still there"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
@pytest.mark.parametrize("folder_mode", [0o700, 0o711])
def test_another_user_is_refused(warm, folder_mode):
    """By the folder, and where that is open by the question who asks."""
    path = Path(provisioner.start())
    path.parent.chmod(folder_mode)
    path.chmod(0o600 if folder_mode == 0o700 else 0o666)
    try:
        child = os.fork()
        if not child:
            try:
                os.setgid(65534)
                os.setuid(65534)
                with socket.socket(socket.AF_UNIX) as other:
                    other.connect(str(path))
                    asked = {"python": sys.executable, "argv": ["x"], "cwd": "/", "env": {}}
                    with open(os.devnull) as nothing:
                        socket.send_fds(other, [json.dumps(asked).encode() + b"\n"], [nothing.fileno()] * 3)
                    os._exit(7 if other.recv(100) else 1)
            except PermissionError:
                os._exit(2)
            except ConnectionError:
                os._exit(1)
            os._exit(9)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code == (2 if folder_mode == 0o700 else 1)
    finally:
        path.chmod(0o600)
        path.parent.chmod(0o700)
    assert warm("print('still there')") == "still there"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_a_socket_of_another_user_is_not_trusted(tmp_path):
    path = tmp_path / "s"
    tmp_path.chmod(0o777)
    for parent in tmp_path.parents[:3]:
        parent.chmod(parent.stat().st_mode | 0o055)
    ready, told = os.pipe()
    child = os.fork()
    if not child:
        os.setuid(65534)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen()
            os.write(told, b"1")
            time.sleep(30)
        os._exit(0)
    try:
        os.read(ready, 1)
        with pytest.raises(PermissionError, match="belongs to another user"):
            private_socket.connect(path, 5)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


CLIENT = """
import os, sys, time
from jupyter_client.manager import start_new_kernel
manager, client = start_new_kernel(kernel_name="workbench")
print(manager.provisioner.pid, manager.provisioner.process.__class__.__name__, flush=True)
if sys.argv[1] == "leave":
    sys.exit(0)
time.sleep(600)
"""


@pytest.mark.parametrize("how", ["kill", "leave"])
def test_with_its_client_the_server_and_the_kernels_go(how):
    before = folders()
    client = subprocess.Popen([sys.executable, "-c", CLIENT, how], stdout=subprocess.PIPE, text=True)
    pid, kind = client.stdout.readline().split()
    assert kind == "ForkedKernel"
    if how == "kill":
        server = psutil.Process(int(pid)).parent()
        family = [server, *server.children(recursive=True)]
        assert len(family) >= 3  # a painter too
        client.kill()
    else:
        family = []
    client.communicate(timeout=20)
    until(lambda: not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in family))
    until(lambda: not psutil.pid_exists(int(pid)))
    until(lambda: not folders() - before)


def test_kernels_die_with_a_server_that_is_killed_and_the_next_one_gets_another(start):
    first = start()
    process, left = first.manager.provisioner.process, Path(provisioner.start()).parent
    server = psutil.Process(first.pid).parent()
    server.kill()
    until(lambda: process.poll() is not None)
    assert process.returncode == -signal.SIGKILL
    until(lambda: not psutil.pid_exists(first.pid))
    assert start()("print(1)") == "1"
    assert not left.exists()


def test_one_server_for_several_processes(start, monkeypatch):
    path = provisioner.start()
    monkeypatch.setenv(provisioner.VARIABLE, path)
    code = "import subprocess, sys; from jupyter_client.manager import start_new_kernel as s; m, c = s(kernel_name='workbench')"
    code += "; import psutil; print(psutil.Process(m.provisioner.pid).ppid()); m.shutdown_kernel()"
    servers = {subprocess.check_output([sys.executable, "-c", code], text=True).strip() for _ in range(2)}
    assert servers == {str(psutil.Process(start().pid).ppid())}


def test_a_server_of_the_user_runs_until_interrupted(tmp_path, start, monkeypatch):
    server = subprocess.Popen([BIN / "workbench", "warm"], stdout=subprocess.PIPE, text=True)
    path = Path(server.stdout.readline().strip())
    monkeypatch.setenv(provisioner.VARIABLE, str(path))
    kernel = start()
    assert psutil.Process(kernel.pid).parent().ppid() == server.pid
    server.send_signal(signal.SIGINT)
    assert server.wait(20) == 0
    assert not path.parent.exists()
    server.stdout.close()


def test_pictures_are_the_same_without_a_painter(tmp_path):
    from workbench.charts import render
    from workbench.kernel import painter

    spec = {
        "mark": "bar",
        "data": {"values": [{"a": 1}]},
        "encoding": {"x": {"field": "a", "type": "quantitative"}},
        "$schema": render.SCHEMA,
    }
    painted = painter.asked(Path(provisioner.start()).parent / "pictures.sock")(spec)
    assert painted == render.paint(spec)
    assert painter.asked(tmp_path / "nobody")(spec) == painted
    with pytest.raises(ValueError, match="conversion failed"):
        painter.asked(Path(provisioner.start()).parent / "pictures.sock")({"mark": 7})


# clients


def test_kernelspec_is_installed():
    found = json.loads(subprocess.check_output([BIN / "jupyter", "kernelspec", "list", "--json"]))["kernelspecs"]
    assert found["workbench"]["spec"]["metadata"]["kernel_provisioner"]["provisioner_name"] == "workbench-warm"


def test_papermill_on_the_command_line(small_notebook, tmp_path):
    done = tmp_path / "done.ipynb"
    code = "import sys; print(sys.argv[0], 'polars' in sys.modules)"
    command = [BIN / "papermill", "-k", "workbench", "-p", "n", "7", small_notebook(code), done]
    subprocess.run(command, check=True, capture_output=True)
    text = json.dumps(nbformat.read(done, 4))
    assert "The answer is 7" in text
    assert "ipykernel_launcher True" in text


def test_jupyter_execute(small_notebook):
    path = small_notebook()
    subprocess.run([BIN / "jupyter", "execute", "--inplace", "--kernel_name=workbench", path], check=True, capture_output=True)
    assert "The answer is 4" in json.dumps(nbformat.read(path, 4))


def test_nbval(small_notebook):
    path = small_notebook("import sys; print('polars' in sys.modules)")
    subprocess.run([BIN / "jupyter", "execute", "--inplace", "--kernel_name=workbench", path], check=True, capture_output=True)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbval", "--nbval-kernel-name", "workbench", path]
    run = subprocess.run(command, capture_output=True, text=True, cwd=path.parent)
    assert run.returncode == 0, run.stdout
    assert "5 passed" in run.stdout


def test_a_prompt_manager_runs_notebooks_for_papermill(small_notebook, tmp_path):
    promptly = {"kernel_name": "workbench", "kernel_manager_class": PromptKernelManager}
    done = papermill.execute_notebook(small_notebook(), tmp_path / "o.ipynb", {"n": 3}, **promptly)
    assert done.metadata.papermill.parameters == {"n": 3}
    assert done.metadata.kernelspec.name == "python3"
    assert "The answer is 3" in json.dumps(nbformat.read(tmp_path / "o.ipynb", 4))
    with pytest.raises(papermill.PapermillExecutionError, match="unlucky"):
        papermill.execute_notebook(small_notebook("raise RuntimeError('unlucky')"), tmp_path / "o.ipynb", **promptly)
    assert "unlucky" in json.dumps(nbformat.read(tmp_path / "o.ipynb", 4))


def test_a_server_of_jupyterlab(tmp_path):
    """The launcher's way: POST /api/kernels, then messages through the connection file."""
    import urllib.request

    from jupyter_client import BlockingKernelClient

    env = {**os.environ, "JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime"), "JUPYTER_CONFIG_DIR": str(tmp_path), "HOME": str(tmp_path)}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--no-browser", f"--ServerApp.port={port}", "--IdentityProvider.token=t", "--allow-root", f"--ServerApp.root_dir={tmp_path}"]
    lab = subprocess.Popen([BIN / "jupyter", "lab", *options], env=env, stderr=subprocess.DEVNULL)

    def ask(method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{port}/api/{path}", data, {"Authorization": "token t"}, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read() or b"null")

    def up():
        try:
            return ask("GET", "status")
        except OSError:
            return None

    try:
        until(up, 60)
        assert "workbench" in ask("GET", "kernelspecs")["kernelspecs"]
        kernel = ask("POST", "kernels", {"name": "workbench"})["id"]
        client = BlockingKernelClient(connection_file=str(tmp_path / "runtime" / f"kernel-{kernel}.json"))
        client.load_connection_file()
        client.start_channels()
        client.wait_for_ready(timeout=60)

        def evaluated(expression):
            reply = {"content": {"status": "aborted"}}
            while reply["content"]["status"] == "aborted":  # as ipykernel answers what comes within a moment of an error
                reply = client.execute_interactive(f"import os, sys; x = {expression}", user_expressions={"x": "x"}, timeout=60)
            return reply["content"]["user_expressions"]["x"]["data"]["text/plain"]

        assert evaluated("'workbench.fleet' in sys.modules") == "True"
        before = int(evaluated("os.getpid()"))
        started(client)
        ask("POST", f"kernels/{kernel}/interrupt")
        assert client.get_shell_msg(timeout=20)["content"]["ename"] == "KeyboardInterrupt"
        assert int(evaluated("os.getpid()")) == before
        ask("POST", f"kernels/{kernel}/restart")
        client.wait_for_ready(timeout=60)
        assert int(evaluated("os.getpid()")) != before
        client.stop_channels()
        ask("DELETE", f"kernels/{kernel}")
    finally:
        lab.terminate()
        lab.wait(30)


def test_names_of_threads_are_counted():
    assert any(name.endswith("/0") for name in warm_server.os_threads()) or sys.platform != "linux"


def test_what_is_imported_beforehand_needs_no_extra():
    hidden = ("mcp", "mkdocs", "dask", "distributed", "fsspec", "pyxirr", "PySAM", "hypothesis")
    code = f"import sys; sys.modules.update(dict.fromkeys({hidden})); from workbench.kernel import warm_kernel; warm_kernel.preload()"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_what_is_loaded_beforehand_starts_no_pool_of_threads():
    code = "from workbench.kernel import warm_kernel, warm_server; warm_kernel.preload(); print(*warm_server.os_threads(), sep='\\n')"
    threads = subprocess.run([sys.executable, "-c", code], check=True, timeout=60, capture_output=True, text=True).stdout
    assert not re.findall("tokio.*|polars-[0-9].*", threads)  # a fork would wait for them without end
