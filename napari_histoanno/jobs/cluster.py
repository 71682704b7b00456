"""Where jobs run: a private one-worker cluster on this machine, or a cluster the user names.

The private one listens on the loopback only and speaks TLS with throw-away certificates, so nobody else on a shared
machine can submit code to it. It has no dashboard. Its worker is a process of its own under a nanny that restarts it
when it dies; when this process dies, however abruptly, the worker's process ends with it.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import dask
import psutil
from distributed import Client, LocalCluster

from napari_histoanno.jobs.worker import WorkerSetup

_LOG_TAIL_LINES = 30
_JOBS_AT_ONCE = 2
_CLOSE_SECONDS = 5
_CONNECT_SECONDS = 5


def worker_threads() -> int:
    """Compute threads of the local worker: all cores but one, which is the person's."""
    return max(1, (os.cpu_count() or 2) - 1)


def worker_environment() -> dict[str, str]:
    """Environment of the local worker's process."""
    threads = str(worker_threads())
    return {
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
        "DASK_LOGGING__DISTRIBUTED": "error",
    }


def _configuration(folder: Path) -> dict[str, Any]:
    return {
        "temporary-directory": str(folder),
        "distributed.nanny.pre-spawn-environ": worker_environment(),
        "distributed.scheduler.allowed-failures": 0,
        "distributed.scheduler.http.routes": [],
        "distributed.worker.http.routes": [],
        "distributed.worker.daemon": True,
    }


def _quiet_dask() -> dict[logging.Logger, int]:
    """Raise the level of dask's loggers, since what matters of a job's end is told by its events; returns the old ones.

    ``LocalCluster(silence_logs=...)`` would silence the root logger's handlers, and with them the whole application.
    """
    names = [name for name in logging.root.manager.loggerDict if name.split(".")[0] == "distributed"]
    levels = {logger: logger.level for logger in map(logging.getLogger, names)}
    for logger in levels:
        logger.setLevel(logging.CRITICAL)
    return levels


class Backend(Protocol):
    """Something with a dask client that can be closed."""

    client: Client

    def worker_process_ids(self) -> list[int]:
        """Process ids of the workers this backend owns."""

    def log_tail(self) -> str:
        """Last lines the worker wrote; empty where they cannot be read from here."""

    def close(self) -> None:
        """Let go of the cluster."""


class LocalBackend:
    """The private cluster: a scheduler in this process and one worker process."""

    def __init__(self, *, preload: bool = True) -> None:
        self._log_levels = _quiet_dask()
        self.folder = Path(tempfile.mkdtemp(prefix="histoanno-"))
        self.log_path = self.folder / "worker.log"
        with dask.config.set(_configuration(self.folder)):
            self.cluster = LocalCluster(
                n_workers=1,
                threads_per_worker=_JOBS_AT_ONCE,
                processes=True,
                security=True,
                memory_limit=0,
                dashboard_address=None,
                silence_logs=False,
                scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
            )
        self.client = Client(self.cluster, set_as_default=False)
        self.client.register_plugin(WorkerSetup(str(self.log_path), preload=preload))

    def worker_process_ids(self) -> list[int]:
        """Process ids of the worker, one or none."""
        return [nanny.pid for nanny in self.cluster.workers.values() if nanny.pid]

    def log_tail(self) -> str:
        """Last lines the worker wrote, for the report of a failure."""
        with suppress(OSError):
            return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-_LOG_TAIL_LINES:])
        return ""

    def close(self) -> None:
        """End the worker and the scheduler, and remove their folder."""
        processes = [psutil.Process(pid) for pid in self.worker_process_ids() if psutil.pid_exists(pid)]
        self.client.close()
        self.cluster.close(timeout=_CLOSE_SECONDS)
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
        for logger, level in self._log_levels.items():
            logger.setLevel(level)


class RemoteBackend:
    """A cluster somebody else runs, at its scheduler's address; needs the same package and file system there."""

    def __init__(self, address: str) -> None:
        self.client = Client(address, set_as_default=False, timeout=_CONNECT_SECONDS)

    def worker_process_ids(self) -> list[int]:
        return []

    def log_tail(self) -> str:
        return ""

    def close(self) -> None:
        """Leave the cluster; it goes on."""
        self.client.close()
