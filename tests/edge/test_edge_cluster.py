"""`mmdense separate --cluster`: two Dask workers on this machine, of which some die."""

import os
import signal
import sys
from contextlib import closing
from unittest.mock import patch

import distributed
import pytest
from command_runs import contents, everything
from dask import config as dask_config
from mmdense_edge.errors import UsageError
from mmdense_edge.separate import cluster
from mmdense_edge.separate.cluster import check_address, on_cluster

pytestmark = pytest.mark.native  # emulated, workers start too slowly for Dask


@pytest.fixture(scope="module")
def dask():
    """A client of two workers, each a process that its nanny restarts when it dies.

    Dask sends a task of one dead worker to another, and gives up after two.
    """
    with (
        patch.dict(os.environ),  # Dask's nannies set variables of malloc in it
        dask_config.set({"distributed.scheduler.allowed-failures": 1}),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0"
        ) as local,
        distributed.Client(local.scheduler_address, set_as_default=False) as client,
    ):
        yield client


@pytest.fixture
def address(dask):
    dask.wait_for_workers(2)
    return dask.scheduler_info()["address"]


def _work(task, aside, cancel):
    log, name = task
    with log.open("a") as file:
        file.write(name)
    if name == "deadly":
        (aside / "half").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if name == "until stopped":
        while not cancel():
            pass
        sum(range(10**7))  # what must be waited for
        log.with_name("ended").touch()
    while name == "first" and not log.with_name("until stopped").exists():
        pass
    return name


def test_an_early_end_waits_for_the_work(address, tmp_path):
    names = ["first", "until stopped", *["never"] * 20]
    tasks = [(tmp_path / name, name) for name in names]
    with closing(on_cluster(address, _work, tasks, tmp_path / "out")) as outcomes:
        assert next(outcomes) == (0, "first", "")
    assert {"ended", "until stopped", "first"} <= {*everything(tmp_path)} <= {
        "ended", "until stopped", "first", "never"
    }  # fmt: skip


def test_what_cannot_work_is_one_line(dask, address, tmp_path, monkeypatch):
    def refused(words, address=address):
        with pytest.raises(UsageError, match=words):
            next(on_cluster(address, _work, [1], tmp_path / "out"))
        assert everything(tmp_path) == []

    with monkeypatch.context() as patched:
        patched.setattr(cluster, "__version__", "9.9")
        refused(r"tcp://127.*: this worker has mmdense_edge .*, the command 9\.9\.")
    with monkeypatch.context() as patched:
        # as if the folder lay on a disk of this machine only
        patched.setattr(cluster.Path, "cwd", lambda: tmp_path / "here")
        refused("tcp://127.*: this worker does not see .*here or .*. Use folders that all")
    with monkeypatch.context() as patched:
        patched.setattr(distributed.Client, "nthreads", lambda client: {address: 2})
        refused("a worker must have one thread; received {'tcp://127.*': 2}. Start workers with")
    refused("tls:// needs certificates. Name them in Dask's configuration", "tls://127.0.0.1:1")
    monkeypatch.setitem(sys.modules, "distributed", None)
    refused(r'--cluster needs distributed. Run pip install "\.\[cluster\]"')


def test_no_attempt_writes_into_the_folder_of_another(tmp_path):
    (tmp_path / cluster.RUNNING).touch()
    shared = tmp_path, tmp_path, cluster.__version__, lambda task, aside, cancel: aside.name
    outcomes = [cluster._attempt(*shared, 7, "song") for _ in range(3)]
    assert outcomes[:2] == [("7-0", ""), ("7-1", "")]
    assert outcomes[2][1].startswith("2 workers died with it")


@pytest.mark.slow
def test_two_attempts_and_no_more(address, tmp_path):
    tasks = [(tmp_path / str(number), name) for number, name in enumerate(("deadly", "good"))]
    with closing(on_cluster(address, _work, tasks, tmp_path / "out")) as outcomes:
        died, good = sorted(outcomes)
    fault = "2 workers died with it, perhaps because memory ran out"
    assert (died, good) == ((0, None, fault), (1, "good", ""))
    assert (tmp_path / "0").read_text() == 2 * "deadly"
    assert everything(tmp_path) == ["0", "1"]


def _dies_in_the_middle_of_the_second_song() -> None:
    from mmdense_edge.separate import pool

    whole = pool.separate_file

    def separate_file(separator, job, **rest):
        def show(done, _):
            if done and job.out.name == "1-0":
                os.kill(os.getpid(), signal.SIGKILL)

        return whole(separator, job, **{**rest, "progress": show})

    pool.separate_file = separate_file


@pytest.mark.slow
def test_a_worker_that_dies_costs_nothing(
    dask, address, mmdense, song, model_path, noise, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    for number in range(4):
        song(f"{number}.wav", noise(100000 + number, seed=number))
    song("5.wav").write_bytes(b"text")
    command = ["separate", "0.wav", "1.wav", "2.wav", "3.wav", "4.wav", "5.wav"]
    command += ["--model", os.path.relpath(model_path("shares")), "-o"]
    results = {}
    for folder, more in (("alone", []), ("cluster", ["--cluster", address])):
        old = tmp_path / folder / "3" / "bass.wav"
        old.parent.mkdir(parents=True)
        old.write_text("mine")
        if more:
            before = dask.run(os.getpid)
            dask.run(_dies_in_the_middle_of_the_second_song)
        code, out, err = mmdense(*command, folder, *more)
        tables = out.replace(folder, "OUT").splitlines()
        tables = [line.partition(", separated")[0] for line in tables]
        results[folder] = code, tables, [line.replace(folder, "OUT") for line in err]
    assert results["cluster"] == results["alone"]
    assert results["alone"][0] == 1
    assert len(results["alone"][2]) == 4  # three songs, and how many
    assert contents(tmp_path / "cluster") == contents(tmp_path / "alone")
    assert everything(tmp_path / "cluster" / "1")[-1] == "vocals.wav"
    assert not {*before.values()} <= {*dask.run(os.getpid).values()}  # one has died


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("127.0.0.1:8786", True),
        ("tcp://127.3.0.1:8786", True),
        ("tcp://localhost:1", True),
        ("[::1]:8786", True),
        ("tls://node7:8786", True),
        ("tcp://192.168.0.3:8786", False),
        ("node7:8786", False),
        ("tcp://0.0.0.0:8786", False),
        ("tcp://127.0.0.1.example.org:8786", False),
        ("localhost.example.org:8786", False),
        ("ws://127.0.0.1:8786", False),
    ],
)
def test_nobody_else_can_send_work(address, allowed):
    if allowed:
        check_address(address)
    else:
        with pytest.raises(UsageError, match="or HOST:PORT on this machine"):
            check_address(address)
