"""What a container sees of itself: its isolation, limits, user, file system and settings."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from daemon import Cortend
from images import busybox_image, directory, make_layer, push_to_registry
from support_registry import Registry

pytestmark = pytest.mark.root

DEFAULT_CAPABILITIES = 0xA80425FB
"""What docker gives: chown dac_override fowner fsetid kill setgid setuid setpcap net_bind_service net_raw sys_chroot
mknod audit_write setfcap."""


def sh(engine: Cortend, script: str, *flags: str) -> str:
    """What `sh -c script` says in a container of its own."""
    return engine.corten("run", "--rm", *flags, "busybox", "sh", "-c", script).stdout.decode().strip()


def refusal(engine: Cortend, *args: str) -> tuple[int, str]:
    """Exit code and first line of what goes wrong; nothing of it is left."""
    done = engine.corten("run", "--rm", *args, check=False)
    assert engine.corten("ps", "-aq").stdout == b""
    return done.returncode, done.stderr.decode().splitlines()[0]


# -- isolation --------------------------------------------------------------------------------------------------------


def test_default_security(engine: Cortend) -> None:
    status = dict(
        line.split(":\t", 1) for line in sh(engine, "cat /proc/self/status").splitlines() if ":\t" in line
    )
    held = DEFAULT_CAPABILITIES & int(Path("/proc/self/status").read_text().split("CapBnd:\t")[1].split()[0], 16)
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == int(status["CapPrm"], 16) == held
    assert int(status["CapInh"], 16) == int(status["CapAmb"], 16) == 0
    assert status["Seccomp"] == "2"
    assert status["NoNewPrivs"] == "0"  # as docker: only with --security-opt no-new-privileges
    assert "NoNewPrivs:\t1" in sh(engine, "cat /proc/self/status", "--security-opt", "no-new-privileges")


def test_every_namespace_is_its_own_but_the_users(engine: Cortend) -> None:
    kinds = ("cgroup", "ipc", "mnt", "net", "pid", "uts", "user")
    inside = sh(engine, "for kind in " + " ".join(kinds) + "; do readlink /proc/self/ns/$kind; done").splitlines()
    outside = [str(Path(f"/proc/self/ns/{kind}").readlink()) for kind in kinds]
    shared = [kind for kind, mine, theirs in zip(kinds, outside, inside, strict=True) if mine == theirs]
    # On cgroup v1 docker leaves the cgroup namespace shared; corten never does.
    assert shared == ["user"]


def test_what_the_kernel_shows_is_masked_or_read_only(engine: Cortend) -> None:
    script = """
        for path in /proc/kcore /proc/keys /proc/timer_list /proc/sched_debug; do
            [ -e $path ] && [ -n "$(head -c 1 $path 2>/dev/null | od -An -tx1)" ] && echo "$path is readable"
        done
        for path in /proc/acpi /proc/scsi /sys/firmware; do
            [ -d $path ] && [ -n "$(ls $path)" ] && echo "$path has entries"
        done
        for path in /proc/sys/kernel/hostname /proc/sysrq-trigger /proc/irq/default_smp_affinity; do
            [ -e $path ] && (echo x >$path) 2>/dev/null && echo "$path is writable"
        done
        for path in $(awk '$3 ~ /^cgroup/ { print $2 }' /proc/mounts); do
            mkdir $path/new 2>/dev/null && echo "$path is writable"
        done
        mount -t tmpfs none /tmp 2>/dev/null && echo "mount works"
        unshare -U true 2>/dev/null && echo "user namespaces work"
        mknod /tmp/disk b 8 0 2>/dev/null; head -c 1 /tmp/disk 2>/dev/null && echo "devices are readable"
        ls /dev | grep -vx core | tr '\\n' ' '  # crun makes a link to /proc/kcore, which is masked
    """
    devices = "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero"
    assert sh(engine, script) == devices


def test_only_its_own_processes_and_its_hostname(engine: Cortend) -> None:
    engine.corten("run", "-d", "--name", "own", "-h", "its-name", "busybox", "sleep", "1000")
    seen = engine.corten("exec", "own", "sh", "-c", "hostname; cat /etc/hostname; ls -d /proc/[0-9]*").stdout
    lines = seen.decode().split()
    assert lines[:2] == ["its-name", "its-name"]
    assert lines[2] == "/proc/1" and len(lines) <= 5
    identifier = engine.inspect("own")["Id"]
    assert sh(engine, "hostname") != identifier[:12]
    engine.corten("run", "-d", "--name", "unnamed", "busybox", "sleep", "1000")
    name = engine.corten("exec", "unnamed", "hostname").stdout.decode().strip()
    assert name == engine.inspect("unnamed")["Id"][:12]


def test_limits_are_in_its_cgroup_and_hold(engine: Cortend) -> None:
    flags = ["--memory", "32m", "--cpus", "0.5", "--pids-limit", "7"]
    engine.corten("run", "-d", "--name", "limited", *flags, "busybox", "sleep", "1000")
    identifier = engine.inspect("limited")["Id"]
    found = {
        path.name: path.read_text().strip()
        for top in Path("/sys/fs/cgroup").glob("*")
        for path in (top / engine.cgroup[1:] / identifier).glob("*")
        if path.name in ("memory.limit_in_bytes", "memory.max", "pids.max", "cpu.cfs_quota_us", "cpu.cfs_period_us",
                         "cpu.max")
    }  # fmt: skip
    assert found.get("memory.limit_in_bytes", found.get("memory.max")) == str(32 << 20)
    assert found["pids.max"] == "7"
    quota, period = found["cpu.max"].split() if "cpu.max" in found else (
        found["cpu.cfs_quota_us"], found["cpu.cfs_period_us"]
    )  # fmt: skip
    assert int(quota) * 2 == int(period)
    done = engine.corten("exec", "limited", "sh", "-c", "for i in 1 2 3 4 5 6 7 8 9; do sleep 9 & done", check=False)
    assert b"can't fork" in done.stderr
    # Memory: the kernel ends what takes too much, and the state says why.
    engine.corten("run", "--name", "greedy", "-m", "16m", "--memory-swap", "16m", "busybox",
                  "sh", "-c", "exec dd if=/dev/zero of=/dev/null bs=64M", check=False)  # fmt: skip
    state = engine.inspect("greedy")["State"]
    assert (state["ExitCode"], state["OOMKilled"]) == (137, True)


def test_capabilities_and_privileged(engine: Cortend) -> None:
    read = "sed -n 's/CapEff:.//p' /proc/self/status"
    assert int(sh(engine, read, "--cap-drop", "ALL"), 16) == 0
    assert int(sh(engine, read, "--cap-drop", "ALL", "--cap-add", "CHOWN"), 16) == 1
    added = int(sh(engine, read, "--cap-add", "NET_ADMIN"), 16)
    assert added & (1 << 12)
    privileged = int(sh(engine, read, "--privileged"), 16)
    mine = int(Path("/proc/self/status").read_text().split("CapEff:\t")[1].split()[0], 16)
    assert privileged == mine
    assert sh(engine, "mount -t tmpfs none /tmp && echo mounted", "--privileged") == "mounted"
    assert refusal(engine, "--cap-add", "BOGUS", "busybox", "true")[0] == 125


def test_seccomp_can_be_switched_off(engine: Cortend) -> None:
    assert "Seccomp:\t0" in sh(engine, "cat /proc/self/status", "--security-opt", "seccomp=unconfined")


# -- user, environment, command ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("nobody", "65534:65534"),
        ("1234", "1234:0"),
        ("1234:4321", "1234:4321"),
        ("nobody:root", "65534:0"),
        ("0:nogroup", "0:65534"),
    ],
)
def test_users(engine: Cortend, user: str, expected: str) -> None:
    assert sh(engine, "echo $(id -u):$(id -g)", "-u", user) == expected
    assert int(sh(engine, "sed -n 's/CapEff:.//p' /proc/self/status", "-u", "nobody"), 16) == 0


def test_unknown_users_and_groups_are_named(engine: Cortend) -> None:
    code, line = refusal(engine, "-u", "stranger", "busybox", "true")
    assert code == 125 and "unable to find user stranger" in line
    code, line = refusal(engine, "-u", "root:strangers", "busybox", "true")
    assert code == 125 and "unable to find group strangers" in line


def test_environment_workdir_entrypoint_and_home(engine: Cortend) -> None:
    script = 'echo "$A|$B|$HOME|$PATH|$HOSTNAME|$(pwd)"'
    said = sh(engine, script, "-e", "A=1 2", "-e", "B", "-h", "host-name", "-w", "/new/dir")
    standard = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    assert said == f"1 2||/root|{standard}|host-name|/new/dir"
    assert sh(engine, "echo $HOME", "-u", "nobody") == "/"
    out = engine.corten("run", "--rm", "--entrypoint", "echo", "busybox", "a", "b").stdout
    assert out == b"a b\n"


@pytest.mark.parametrize(
    ("args", "code", "line"),
    [
        (["no-such-program"], 127, 'exec: "no-such-program": executable file not found in $PATH'),
        (["/no/such/file"], 127, "no such file or directory"),
        (["/etc/passwd"], 126, "permission denied"),
        (["/tmp"], 126, "directory|permission denied"),
    ],
)
def test_what_cannot_run_says_so_with_dockers_code(engine: Cortend, args: list[str], code: int, line: str) -> None:
    found, said = refusal(engine, "busybox", *args)
    assert found == code
    assert re.search(line.replace("$", r"\$"), said), said


def test_a_work_directory_that_is_a_file_is_refused(engine: Cortend) -> None:
    code, line = refusal(engine, "-w", "/etc/passwd", "busybox", "true")
    assert code in (125, 126, 127) and "/etc/passwd" in line


@pytest.mark.parametrize("number", [0, 1, 77, 255])
def test_exit_codes_are_exact(engine: Cortend, number: int) -> None:
    engine.corten("run", "--name", "coded", "busybox", "sh", "-c", f"exit {number}", check=False)
    assert engine.inspect("coded")["State"]["ExitCode"] == number


@pytest.mark.parametrize("signal", ["KILL", "TERM", "INT", "SEGV", "USR1"])
def test_signals_are_exact(engine: Cortend, signal: str) -> None:
    number = int(subprocess.run(["kill", "-l", signal], capture_output=True, check=True, text=True).stdout)
    done = engine.corten("run", "--rm", "--init", "busybox", "sh", "-c", f"kill -{signal} $$", check=False)
    assert done.returncode == 128 + number


def test_kill_sends_the_signal_that_was_asked_for(engine: Cortend) -> None:
    script = "trap 'echo usr1' USR1; trap 'exit 3' INT; echo ready; while :; do sleep 0.05; done"
    engine.corten("run", "-d", "--name", "struck", "busybox", "sh", "-c", script)
    follower = engine.popen("logs", "-f", "struck")
    assert follower.stdout is not None and follower.stdout.readline() == b"ready\n"
    engine.corten("kill", "-s", "USR1", "struck")
    assert follower.stdout.readline() == b"usr1\n"
    engine.corten("kill", "-s", "2", "struck")
    assert engine.wait("struck") == [3]
    follower.communicate(timeout=30)
    engine.corten("start", "struck")
    engine.corten("kill", "struck")
    assert engine.wait("struck") == [137]


def test_init_reaps_orphans_and_passes_signals(engine: Cortend) -> None:
    engine.corten("run", "-d", "--init", "--name", "reaper", "busybox", "sh", "-c", "trap 'exit 4' TERM; echo ready; "
                  "(sh -c 'sleep 0 & exec true'); while :; do sleep 0.05; done")  # fmt: skip
    follower = engine.popen("logs", "-f", "reaper")
    assert follower.stdout is not None and follower.stdout.readline() == b"ready\n"
    first = engine.corten("exec", "reaper", "cat", "/proc/1/comm").stdout
    assert first.strip() in (b"docker-init", b"catatonit", b"tini", b"tini-static")
    assert b"Z" not in engine.corten("exec", "reaper", "sh", "-c", "ps -o stat | grep Z || true").stdout
    engine.corten("stop", "reaper")
    follower.communicate(timeout=30)
    assert engine.inspect("reaper")["State"]["ExitCode"] == 4


# -- file system ------------------------------------------------------------------------------------------------------


def test_read_only_root_and_tmpfs(engine: Cortend) -> None:
    script = "echo x >/etc/new && echo written; echo x >/scratch/new && df -k /scratch | tail -1"
    said = sh(engine, script + " 2>/dev/null", "--read-only", "--tmpfs", "/scratch:size=1m")
    assert "written" not in said
    assert said.split()[1] == "1024"


def test_ulimits_sysctls_shm_and_devices(engine: Cortend) -> None:
    flags = ["--ulimit", "nofile=100:200", "--sysctl", "net.ipv4.ip_forward=0", "--shm-size", "3m",
             "--device", "/dev/null:/dev/nothing", "--sysctl", "kernel.shm_rmid_forced=1"]  # fmt: skip
    script = (
        "ulimit -Sn; ulimit -Hn; cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shm_rmid_forced; "
        "df -k /dev/shm | tail -1 | awk '{print $2}'; echo gone >/dev/nothing && echo ok"
    )
    assert sh(engine, script, *flags).split() == ["100", "200", "0", "1", "3072", "ok"]
    code, line = refusal(engine, "--device", "/dev/no-such-device", "busybox", "true")
    assert code == 127 and '"/dev/no-such-device": no such file' in line  # docker's clients go by these words
    code, line = refusal(engine, "--sysctl", "kernel.panic=1", "busybox", "true")
    assert code == 125 and "kernel.panic" in line


def test_bind_mounts(engine: Cortend, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("from the host\n")
    assert sh(engine, "cat /data/file; echo back >/data/new", "-v", f"{tmp_path}:/data") == "from the host"
    assert (tmp_path / "new").read_text() == "back\n"
    assert "Read-only" in sh(engine, "echo x 2>&1 >/data/file || true", "-v", f"{tmp_path}:/data:ro") or (
        (tmp_path / "file").read_text() == "from the host\n"
    )
    sh(engine, "true", "-v", f"{tmp_path}/made/on/demand:/data")
    assert (tmp_path / "made/on/demand").is_dir()
    code, line = refusal(engine, "--mount", f"type=bind,src={tmp_path}/missing,dst=/data", "busybox", "true")
    assert code == 125 and f"{tmp_path}/missing" in line


def test_mounts_do_not_leak_to_the_host(engine: Cortend, tmp_path: Path) -> None:
    sh(engine, "mkdir /data/inner && mount -t tmpfs none /data/inner", "--privileged", "-v", f"{tmp_path}:/data")
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()


def test_volumes_get_what_the_image_has_there_once(engine: Cortend, registry: Registry) -> None:
    layer = make_layer([directory("data", 0o751), ("data/seed", b"seed\n", 0o640)])
    config = {"Cmd": ["sh"], "Volumes": {"/data": {}}}
    push_to_registry(busybox_image(layer, config=config), registry.host, "seeded", "v1")
    name = f"{registry.host}/seeded:v1"
    run = ["run", "--rm", "-v", "named:/data", name, "sh", "-c"]
    assert engine.corten(*run, "cat /data/seed; rm /data/seed; stat -c %a /data; echo kept >/data/own").stdout == (
        b"seed\n751\n"
    )
    assert engine.corten(*run, "ls /data").stdout == b"own\n"
    # Without -v the declared volume is anonymous; it goes with --rm and stays without.
    engine.corten("run", "--name", "anonymous", name, "true")
    (mount,) = engine.inspect("anonymous")["Mounts"]
    assert (mount["Type"], mount["Destination"], len(mount["Name"])) == ("volume", "/data", 64)
    assert (Path(mount["Source"]) / "seed").read_bytes() == b"seed\n"
    engine.corten("rm", "anonymous")
    assert Path(mount["Source"]).exists()
    engine.corten("rmi", name)


def test_what_is_written_stays_until_rm(engine: Cortend) -> None:
    engine.corten("create", "--name", "written", "busybox", "sh", "-c", "cat /state 2>/dev/null; echo again >>/state")
    outputs = [engine.corten("start", "-a", "written").stdout for _ in range(3)]
    assert outputs == [b"", b"again\n", b"again\nagain\n"]


def test_bad_input_is_refused_in_one_line_and_makes_nothing(engine: Cortend) -> None:
    cases: list[tuple[list[str], str]] = [
        (["--memory", "1m", "busybox"], "Minimum memory limit allowed is 6MB"),
        (["--cpus", "999", "busybox"], "Range of CPUs"),
        (["--name", "bad name", "busybox"], "Invalid container name"),
        (["--network", "nowhere", "busybox"], "network nowhere not found"),
        (["--rm", "--network", "container:nobody", "busybox", "true"], "nobody"),
        (["--pull", "never", "no/such:image"], "No such image: no/such:image"),
        (["--pull", "never", "upper/CASE"], "repository name (upper/CASE) must be lowercase"),
        (["upper/CASE"], "repository name (upper/CASE) must be lowercase"),
        (["not a name"], "invalid reference format"),
        (["-p", "70000:80", "busybox"], "70000"),
        (["-v", "relative/path:/data", "busybox"], "relative/path"),
        (["--restart", "sometimes", "busybox"], "sometimes"),
        (["--runtime", "nonesuch", "busybox"], "nonesuch"),
        (["--no-such-flag", "busybox"], "no-such-flag"),
        (["-w", "relative", "busybox"], "relative"),
        (["--stop-signal", "SIGNOPE", "busybox"], "SIGNOPE"),
        (["--add-host", "bad", "busybox"], "bad"),
        (["--rm", "--restart", "always", "busybox"], "restart"),
    ]
    for args, text in cases:
        done = engine.corten("run", *args, check=False)
        said = done.stderr.decode()
        assert done.returncode == 125, (args, said)
        assert text in said.splitlines()[0], (args, said)
        assert "Traceback" not in said
    assert engine.corten("ps", "-aq").stdout == b""
