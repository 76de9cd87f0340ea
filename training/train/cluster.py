"""Which machines train together: TF_CONFIG, as TensorFlow reads it, checked."""

from __future__ import annotations

import json
from collections.abc import Mapping

from training.train.recipe import RecipeError

STRATEGIES = ("none", "mirrored", "multiworker")
EXAMPLE = (
    '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}'
)


class DistributionError(RecipeError):
    """Devices, a cluster or a recipe that do not fit together."""


def parse_cluster(text: str) -> tuple[int, int]:
    """Check a TF_CONFIG; return the number of this worker, from 0, and of all workers.

    Args:
        text: JSON with the addresses of all workers, the same on each of them, and the task that
            this one has. A task "chief" comes before the workers.

    Raises:
        DistributionError: It is missing or wrong.

    Example:
        >>> parse_cluster(EXAMPLE)
        (0, 2)
    """
    try:
        config = json.loads(text)
    except ValueError:
        raise _refused("be JSON", text or "nothing") from None
    cluster = config.get("cluster") if isinstance(config, Mapping) else None
    if not isinstance(cluster, Mapping) or not cluster or set(cluster) - {"chief", "worker"}:
        raise _refused('name a "cluster" of workers and at most a chief', text)
    jobs = [(job, cluster[job]) for job in ("chief", "worker") if job in cluster]
    tasks = [(job, index) for job, hosts in jobs if isinstance(hosts, list)
             for index in range(len(hosts))]  # fmt: skip
    addresses = [host for _, hosts in jobs if isinstance(hosts, list) for host in hosts]
    if not tasks or not all(map(_is_address, addresses)):
        raise _refused('list addresses as "host:port"', addresses or text)
    if len({*addresses}) < len(addresses) or tasks.count(("chief", 0)) < len(
        cluster.get("chief", "")
    ):
        raise _refused("list each address once and one chief at most", addresses)
    task = config.get("task")
    place = (task.get("type"), task.get("index")) if isinstance(task, Mapping) else None
    if place not in tasks:
        raise _refused(f"have a task among {tasks}", task)
    return tasks.index(place), len(tasks)


def _refused(rule: str, received: object) -> DistributionError:
    return DistributionError(f"TF_CONFIG must {rule}; received {received}. Example: {EXAMPLE}")


def _is_address(host: object) -> bool:
    name, _, port = str(host).rpartition(":")
    return isinstance(host, str) and bool(name) and port.isdigit() and 0 < int(port) < 65536
