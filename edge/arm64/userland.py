"""A Debian arm64 userland without a board, a chroot or root: run through qemu's user mode.

debootstrap only fetches the packages; they are unpacked, not configured. A wrapper script stands
in for the Python interpreter, so that whatever starts `sys.executable` (pip, tests, the `mmdense`
command) is emulated, too, without any registration in the kernel.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path

MIRROR = "http://deb.debian.org/debian"
PACKAGES = "python3,python3-pip,python3-venv,ca-certificates"
TOOLS = {"qemu-aarch64-static": "qemu-user-static", "debootstrap": "debootstrap"}

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


def tool(name: str) -> str | None:
    """Return the path of a tool; debootstrap lies where only root looks."""
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))


def require_tools() -> None:
    """Install qemu and debootstrap with apt-get where they lack and root may.

    Raises:
        Skipped: they lack and cannot be installed.
    """
    packages = [package for name, package in TOOLS.items() if tool(name) is None]
    if not packages:
        return
    wanted = " ".join(packages)
    if tool("apt-get") is None or os.geteuid() != 0:
        raise Skipped(f"{wanted} not installed; on Debian and Ubuntu: apt-get install {wanted}")
    for arguments in (["update"], ["install", "-y", "--no-install-recommends", *packages]):
        done = subprocess.run(["apt-get", "-qq", *arguments], capture_output=True, text=True)
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise Skipped(f"apt-get cannot install {wanted}: {reason}")


def build(root: Path, suite: str) -> None:
    """Fetch and unpack the userland, unless that was done before.

    Args:
        root: the folder to unpack into; it appears when it is complete.
        suite: Debian's name of the release, "bookworm" (12) or "trixie" (13).

    Raises:
        Skipped: the packages cannot be fetched.
    """
    if root.is_dir():
        return
    part = root.with_name(f"{root.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    command = [
        *(str(tool("debootstrap")), "--download-only", "--arch=arm64", "--variant=minbase"),
        *(f"--include={PACKAGES}", suite, str(part.resolve()), MIRROR),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        lines = (done.stdout + done.stderr).strip().splitlines() or ["no message"]
        raise Skipped(f"debootstrap cannot fetch {suite} from {MIRROR}: {lines[-1]}")
    # Releases from 13 on keep everything below /usr, and the loader's path is an old one.
    for name in ("bin", "lib", "sbin"):
        (part / "usr" / name).mkdir(parents=True, exist_ok=True)
        (part / name).symlink_to(f"usr/{name}")
    for package in sorted((part / "var/cache/apt/archives").glob("*.deb")):
        # /lib is a link into /usr; tar would put a folder in its place.
        unpack = f"dpkg-deb --fsys-tarfile {shlex.quote(str(package))} | tar -x "
        unpack += f"--keep-directory-symlink --no-same-owner -C {shlex.quote(str(part))}"
        subprocess.run(["bash", "-c", f"set -o pipefail; {unpack}"], check=True)
    shutil.rmtree(part / "var/cache/apt")
    part.rename(root)


def write_processor(root: Path, processor: str) -> None:
    """Write the processor files that LiteRT reads; the host's would make it crash.

    Args:
        root: the userland.
        processor: a key of `PROCESSORS`.
    """
    part, features = PROCESSORS[processor]
    block = (
        "processor\t: {}\nBogoMIPS\t: 108.00\n"
        f"Features\t: {features}\n"
        "CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x0\n"
        f"CPU part\t: {part}\nCPU revision\t: 3\n\n"
    )
    files = {"proc/cpuinfo": "".join(block.format(core) for core in range(CORES))}
    for name in ("possible", "present", "online"):
        files[f"sys/devices/system/cpu/{name}"] = f"0-{CORES - 1}\n"
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "ascii")


def environment(root: Path, folder: Path) -> Path:
    """Make a virtual environment whose interpreter is an emulated one.

    Args:
        root: the userland.
        folder: of the environment.

    Returns:
        The path of its interpreter.
    """
    (real,) = (path for path in (root / "usr/bin").glob("python3.??") if path.is_file())
    wrapper = folder / "bin" / "python"
    wrapper.parent.mkdir(parents=True, exist_ok=True)
    # argv[0] is the wrapper, so sys.executable is, and Python finds pyvenv.cfg beside it.
    wrapper.write_text(
        '#!/bin/sh\nexec {} -cpu "${{ARM64_CPU:-cortex-a72}}" -L {} -0 {} {} "$@"\n'.format(
            *map(shlex.quote, map(str, (tool("qemu-aarch64-static"), root, wrapper, real)))
        ),
        "utf-8",
    )
    wrapper.chmod(0o755)
    (folder / "pyvenv.cfg").write_text(
        "home = /usr/bin\ninclude-system-site-packages = false\n", "utf-8"
    )
    return wrapper


def run(command: list[str], processor: str = "cortex-a72") -> None:
    """Run a command of the environment, its output as it comes.

    Args:
        command: what to run.
        processor: a key of `PROCESSORS`.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    values = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    values.update(ARM64_CPU=processor, PYTHONNOUSERSITE="1")
    subprocess.run(command, env=values, check=True)
