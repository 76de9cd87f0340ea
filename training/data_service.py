"""Serve training data from other machines: `python -m training.data_service dispatcher|worker`.

One dispatcher for all, any number of workers; then `python -m training.train ... --data-service
grpc://HOST:PORT`. The workers need this environment and the audio files under the same paths.
Whoever reaches the ports can have any file read: use them in a network of your own only.

Ctrl-C or SIGTERM ends it with exit code 0.
"""

from __future__ import annotations

import argparse
import signal
import socket
import sys
from collections.abc import Sequence
from typing import Any

from mmdense_edge import signals


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command until it is stopped; return its exit code: 0 stopped, 2 cannot start."""
    args = _parser().parse_args(argv)
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")
    # a signal that is ignored would be waited for all the same
    ends = set(signals.wanted())
    # before the server's threads inherit it, and a signal could end one of them
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    try:
        server = _start(args)
    except (tf.errors.OpError, RuntimeError, OSError) as error:
        line = str(error).strip().splitlines()[0]
        print(f"data_service: the {args.role} cannot start: {line}", file=sys.stderr)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return 2
    print(f"{args.role} is running; Ctrl-C ends it", flush=True)
    if args.role == "dispatcher":
        print(f"train with --data-service {server.target}", flush=True)
    signal.sigwait(ends)
    return 0


def _start(args: argparse.Namespace) -> Any:
    from tensorflow.data.experimental import service

    if args.port:  # TensorFlow would share a port that is taken, and answer every other call
        with socket.socket() as probe:
            probe.bind(("", args.port))
    if args.role == "dispatcher":
        return service.DispatchServer(service.DispatcherConfig(port=args.port))
    config = service.WorkerConfig(
        dispatcher_address=args.dispatcher,
        worker_address=f"{args.host}:%port%",
        port=args.port,
    )
    return service.WorkerServer(config)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.data_service", description=__doc__)
    roles = parser.add_subparsers(dest="role", required=True)
    dispatcher = roles.add_parser("dispatcher", help="deals the batches to the workers")
    worker = roles.add_parser("worker", help="makes batches")
    worker.add_argument("--dispatcher", required=True, metavar="HOST:PORT")
    worker.add_argument(
        "--host", default="localhost", help="name under which trainers reach this machine"
    )
    for role, default in ((dispatcher, 5050), (worker, 0)):
        role.add_argument("--port", type=int, default=default, help="0: any that is free")
    return parser


if __name__ == "__main__":
    sys.exit(main())
