"""A Debian arm64 userland without a board or a chroot: run through qemu's user mode.

mmdebstrap unpacks the packages and configures none. A wrapper script stands in for the Python
interpreter, so that whatever starts `sys.executable` (pip, tests, the `mmdense` command) is
emulated, too, without any registration in the kernel.
"""

import os
import platform
import shlex
import shutil
import subprocess
from pathlib import Path

MIRROR = "http://deb.debian.org/debian"
PACKAGES = "python3,libstdc++6"  # NumPy's wheels do not bring the C++ library
TOOLS = {"qemu-aarch64-static": "qemu-user-static", "mmdebstrap": "mmdebstrap"}

# The processors of the Raspberry Pi 4 and 5: qemu's name, Arm's part number, features in Linux's
# words. Only the second has the int8 dot product, and LiteRT picks its kernels by that.
PROCESSORS = {
    "cortex-a72": ("0xd08", "fp asimd evtstrm crc32 cpuid"),
    "cortex-a76": (
        "0xd0b",
        "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc "
        "dcpop asimddp",
    ),
}
CORES = 4


class Skipped(Exception):
    """The emulation cannot be set up here; the text says why."""


def build(root: Path, suite: str) -> None:
    """Fetch and unpack the userland, unless that was done before.

    Args:
        root: The folder to unpack into; it appears when it is complete.
        suite: Debian's name of the release, "bookworm" (12) or "trixie" (13).

    Raises:
        Skipped: This is no x86-64 Linux, a tool is missing, or the packages cannot be fetched.
    """
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise Skipped(f"made for x86-64 Linux, this is {platform.platform()}")
    missing = " ".join(package for tool, package in TOOLS.items() if shutil.which(tool) is None)
    if missing:
        raise Skipped(f"{missing} not installed; on Debian and Ubuntu: apt-get install {missing}")
    if root.is_dir():
        return
    part = root.with_name(f"{root.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    # Releases from 13 on keep everything below /usr, and the loader's path is an old one.
    hook = "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr"
    command = ["mmdebstrap", "--variant=extract", "--architectures=arm64", hook]
    command += [f"--include={PACKAGES}", suite, str(part), MIRROR]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise Skipped(f"mmdebstrap cannot fetch {suite} from {MIRROR}: {reason}")
    shutil.rmtree(part / "dev")  # in its place the host's devices are found
    part.rename(root)


def write_processor(root: Path, processor: str) -> None:
    """Write the processor files that LiteRT reads; the host's would make it crash.

    Args:
        root: The userland.
        processor: A key of `PROCESSORS`.
    """
    part, features = PROCESSORS[processor]
    block = (
        "processor\t: {}\nBogoMIPS\t: 108.00\n"
        f"Features\t: {features}\n"
        "CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x0\n"
        f"CPU part\t: {part}\nCPU revision\t: 3\n\n"
    )
    cores = root / "sys/devices/system/cpu"
    for folder in (root / "proc", cores):
        folder.mkdir(parents=True, exist_ok=True)
    (root / "proc/cpuinfo").write_text("".join(map(block.format, range(CORES))), "ascii")
    for name in ("possible", "present", "online"):
        (cores / name).write_text(f"0-{CORES - 1}\n", "ascii")


def environment(root: Path, folder: Path) -> Path:
    """Make a virtual environment whose interpreter is an emulated one.

    Args:
        root: The userland.
        folder: Of the environment.

    Returns:
        The path of its interpreter.
    """
    (real,) = (path for path in (root / "usr/bin").glob("python3.??") if path.is_file())
    wrapper = folder / "bin" / "python"
    wrapper.parent.mkdir(parents=True, exist_ok=True)
    # argv[0] is the wrapper, so sys.executable is, and Python finds pyvenv.cfg beside it.
    qemu = shlex.quote(str(shutil.which("qemu-aarch64-static")))
    paths = "-L {} -0 {} {}".format(*(shlex.quote(str(path)) for path in (root, wrapper, real)))
    wrapper.write_text(
        f'#!/bin/sh\nexec {qemu} -cpu "${{ARM64_CPU:-cortex-a72}}" {paths} "$@"\n', "utf-8"
    )
    wrapper.chmod(0o755)
    (folder / "pyvenv.cfg").write_text("home = /usr/bin\n", "utf-8")
    return wrapper


def run(command: list[str], processor: str = "cortex-a72") -> None:
    """Run a command that starts the environment's interpreter, its output as it comes.

    Args:
        command: What to run.
        processor: A key of `PROCESSORS`.

    Raises:
        subprocess.CalledProcessError: It failed.
    """
    values = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    values.update(ARM64_CPU=processor, PYTHONNOUSERSITE="1")
    subprocess.run(command, env=values, check=True)
