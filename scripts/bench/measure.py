"""What a command costs: wall and CPU seconds and peak memory of its whole process tree."""

import ctypes
import os
import pathlib
import re
import resource
import signal
import subprocess
import sys
import threading
import time

PR_SET_CHILD_SUBREAPER = 36
RUN_TIMEOUT_S = 600


def become_reaper():
    """Processes whose parents end become this one's children, so that their time is counted."""
    if ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        sys.exit("cannot become the reaper of grandchildren: CPU times would be too low")


def tree():
    """Every process that descends from this one."""
    parents = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except (OSError, ValueError, IndexError):
                continue  # it ended
    found, more = set(), {os.getpid()}
    while more:
        found |= more
        more = {child for child, parent in parents.items() if parent in more} - found
    return found - {os.getpid()}


def memory_bytes():
    """What the tree uses now; a page that several processes share counts once."""
    total = 0
    for process in tree():
        try:
            text = pathlib.Path(f"/proc/{process}/smaps_rollup").read_text()
        except OSError:
            continue  # it ended
        total += sum(int(kilobytes) * 1024 for kilobytes in re.findall(r"^Pss:\s+(\d+)", text, re.MULTILINE))
    return total


def high_water_bytes(process):
    """The most that one process has used so far, or nothing if it has ended."""
    try:
        text = pathlib.Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0
    found = re.search(r"^VmHWM:\s+(\d+)", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def measure(command, directory, environment=None):
    """Runs `command` to its end. Returns wall and CPU seconds and peak memory of its whole tree, and what it printed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.monotonic()
    process = subprocess.Popen(
        [str(part) for part in command],
        cwd=directory,
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    ended, peak = threading.Event(), [0]

    def sample():
        # A look at the whole tree takes milliseconds; one process tells its own peak at once, also if it does not live for long.
        looks = 0
        while not ended.wait(0.02):
            looks += 1
            whole = memory_bytes() if looks % 25 == 0 else 0
            peak[0] = max(peak[0], whole, high_water_bytes(process.pid))

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        output, _ = process.communicate(timeout=RUN_TIMEOUT_S)
        wall = time.monotonic() - start
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        sys.exit(f"{command[0]} did not end within {RUN_TIMEOUT_S} s")
    finally:
        ended.set()
        sampler.join()
    # Grandchildren whose parents ended are ours now (see become_reaper); their time counts once they are reaped.
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                time.sleep(0.02)
        except ChildProcessError:
            break
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{output.decode(errors='replace')[-3000:]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall_s": wall, "cpu_s": cpu, "memory_bytes": peak[0]}, output.decode(errors="replace")
