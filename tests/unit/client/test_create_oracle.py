"""The real docker CLI is the oracle: the same command line must send the same request."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from unit.client.recorder import Recorder, reply

DOCKER = shutil.which("docker")

# Each is given to both clients; what they send to /containers/create is compared member by member.
BODIES = r"""
run busybox
run -d busybox
run -i busybox
run -t busybox
run -dit --rm --name nn --platform linux/arm64 busybox a b
run -a stdout busybox
run -a stdin -a stderr -i busybox
run --sig-proxy=false -a STDOUT -a STDERR busybox
run --detach --rm=false --tty=true busybox
run -it=false busybox
run -- busybox -x
run busybox --rm -it
create -it busybox
create busybox sh -c 'a b'
run -e A=1 -e UNSET_HERE -e ORACLE --env PATH2= busybox
run -e A=1 -e A=2 -v /a:/b -v /a:/b --dns 1.1.1.1 --dns 1.1.1.1 -l A=1 -l A=2 busybox
run --env-file {dir}/env -e LAST=1 --label-file {dir}/labels -l z=1 -e FROM_FILE=2 busybox
run -p 8080:80 -p 127.0.0.1:53:53/udp -p 1000-1002:2000-2002 -p 90 -p 127.0.0.1::70 busybox
run -p8080:80 busybox
run -p=8080:80 busybox
run -p '[::1]:80:80' -p 8000-8010:80 --expose 99 --expose 100-101/udp -P busybox
run -p 0.0.0.0:80:80/sctp -p 80:80/TCP busybox
run -p target=80,published=8080,protocol=udp busybox
run -v /a:/b:ro -v vol:/c -v /anon -v a:b:c:d -v /x:y busybox
run -v ./rel:/d -v ../up:/e busybox
run -v : busybox
run --network foo --network-alias a --link-local-ip 1.2.3.4 --ip 10.0.0.2 --ip6 fe80::1 busybox
run --network foo --mac-address 92:d0:c6:0a:29:33 busybox
run --network name=foo,alias=x,alias=y,ip=10.0.0.2,driver-opt=a=b,gw-priority=4 --network bar busybox
run --network host busybox
run --network none busybox
run --network bridge --mac-address 92:d0:c6:0a:29:33 busybox
run --network bridge busybox
run --network container:abc busybox
run --net foo --net-alias z --dns-opt a busybox
run --link a:b --link c busybox
run --network foo --link a:b busybox
run --cpus 1.5 -m 10m --memory-swap -1 --memory-reservation 5MB --memory-swappiness 10 busybox
run --cpus .5 -m 1.5g --memory-swap 2GiB --kernel-memory 1g --shm-size=64M busybox
run -c 10 --cpuset-cpus 0-1 --cpuset-mems 0 --cpu-period 1000 --cpu-quota 500 busybox
run --pids-limit 100 --oom-kill-disable --oom-score-adj -5 --cpu-rt-period 4 --cpu-rt-runtime 3 busybox
run --pids-limit -1 busybox
run --tmpfs /t:ro,size=64m --tmpfs /u busybox
run --restart on-failure:3 busybox
run --restart always busybox
run --restart no --rm busybox
run --health-cmd 'curl -f x' --health-interval 1s --health-timeout 1m30s --health-retries 3 busybox
run --health-start-period 500ms --health-start-interval 1.5s busybox
run --no-healthcheck busybox
run --gpus all busybox
run --gpus 2 busybox
run --gpus '"device=1,2",capabilities=utility' busybox
run --ulimit nofile=1:2 --ulimit nproc=3 --ulimit core=-1 busybox
run --security-opt no-new-privileges --security-opt seccomp=unconfined --security-opt label:disable busybox
run --security-opt systempaths=unconfined busybox
run --security-opt seccomp={dir}/seccomp.json busybox
run --add-host a:1.2.3.4 --add-host b:host-gateway --add-host c=::1 --add-host 'd:[::1]' busybox
run --device /dev/x --device /dev/y:/dev/z --device /dev/q:r --device /dev/a:/dev/b:rw busybox
run --device vendor.com/class=name --device-cgroup-rule 'c 1:3 rwm' busybox
run --device-read-bps /dev/sda:1mb --device-write-bps /dev/sda:2mb busybox
run --device-read-iops /dev/sda:5 --device-write-iops /dev/sdb:6 --blkio-weight-device /dev/sda:10 busybox
run --blkio-weight 50 --annotation a=b --annotation c busybox
run --log-driver json-file --log-opt a=b --log-opt c busybox
run --entrypoint '' busybox
run --entrypoint /bin/sh busybox -c x
run -h hh --domainname d -u 1:2 -w /w --init --read-only --privileged busybox
run --stop-signal TERM --stop-timeout 5 --init=false busybox
run --cap-add NET_ADMIN --cap-add all --cap-drop chown --cap-drop CAP_CHOWN busybox
run --pid host --ipc host --uts host --userns host --cgroupns host busybox
run --pid container:abc --ipc shareable --cgroupns private --cgroup-parent /x --runtime crun busybox
run --isolation default --volume-driver v --volumes-from a --volumes-from b:ro --storage-opt size=1 busybox
run --sysctl net.a=1 --group-add 1 --group-add video busybox
run --dns 1.1.1.1 --dns-option ndots:1 --dns-search x.y busybox
run --mount type=bind,src=/a,dst=/b,ro --mount type=volume,source=v,target=/c,volume-nocopy busybox
run --mount type=tmpfs,dst=/d,tmpfs-size=1m,tmpfs-mode=1770 busybox
run --mount type=bind,src=/a,dst=/b,bind-propagation=rslave,readonly=false --mount src=x,dst=/y busybox
run --mount type=volume,dst=/c,volume-driver=d,volume-opt=a=b,volume-label=l=m,volume-subpath=s busybox
run --mount type=image,src=i,dst=/i,image-subpath=s busybox
run --mount 'type=bind,"src=/a,b",dst=/b' busybox
run --mount type=bind,src=/a,dst=/b,bind-recursive=disabled busybox
run --pull never -q busybox
container run --name=abc busybox true
""".strip().splitlines()

# Each must be refused by both, with the same first line and exit code, before anything is created.
REFUSALS = r"""
run --foo busybox
run -Z busybox
run --memory
run
create
run --rm=x busybox
run -m 5q busybox
run -m -1 busybox
run --memory-swap 5x busybox
run --cpus x busybox
run --cpus 0.0000000001 busybox
run --stop-timeout x busybox
run --health-interval 5 busybox
run --health-retries -1 busybox
run --no-healthcheck --health-cmd a busybox
run -p 99999:80 busybox
run -p a:80 busybox
run -p 1-2:1-3 busybox
run -p 80:80:80:80 busybox
run --expose x busybox
run --ulimit foo=1 busybox
run --ulimit nofile=3:2 busybox
run --add-host a:zz busybox
run --dns zz busybox
run --sysctl b busybox
run --pid foo busybox
run --uts foo busybox
run --userns foo busybox
run --cgroupns foo busybox
run -a foo busybox
run -d -a stdout busybox
run --mount foo busybox
run --mount type=bind,src=/a,dst=/b,foo=x busybox
run --network foo:ip=1 busybox
run --network-alias a busybox
run --network foo --network bridge busybox
run --ulimit core=-1:5 busybox
run --restart always --rm busybox
run --restart on-failure:x busybox
run --log-driver none --log-opt a=b busybox
run --memory-swappiness 101 busybox
run --pull foo busybox
run -e '' busybox
run -e =x busybox
run --env-file /nonexistent busybox
run --label-file /nonexistent busybox
run --volume '' busybox
run --security-opt seccomp=/nonexistent busybox
run -it busybox
rnu busybox
ps --foo
ps a
ps -f bad
rm
stop -t a x
rename x
tag a
exec x
start -a a b
""".strip().splitlines()

# These send other requests; method, path and body are compared (docker also asks for what we know).
REQUESTS = r"""
exec -i -e A=1 -w /w -u 1 --privileged --detach-keys ctrl-a cc sh -c x
exec -d cc true
exec cc true
exec -t cc true
ps -a -n 3 -f name=x -f label=a=b -f label=c -s
ps -l
ps
stop -t 3 -s KILL cc
stop --time 4 cc
restart -t 3 cc
kill cc
kill -s TERM cc
rm -fv cc
rm -l cc
container rm cc
wait cc
pause cc
unpause cc
rename cc dd
top cc -ef
start cc
pull busybox
pull -q busybox:1
pull -a busybox
pull quay.io/a/b@sha256:0000000000000000000000000000000000000000000000000000000000000000
pull --platform linux/arm64 localhost:5000/x
images
images -a -f dangling=true busybox
image ls --digests --no-trunc -q
rmi -f --no-prune busybox
tag busybox foo/bar:1
history busybox
save busybox foo/bar:1
""".strip().splitlines()


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="oracle-") as name:
        path = Path(name)
        (path / "env").write_text("# comment\nFROM_FILE=1\n\nORACLE\nUNSET_HERE\nQ='x'\n")
        (path / "labels").write_text("a=file\nb\n")
        (path / "seccomp.json").write_text('{"defaultAction":  "SCMP_ACT_ALLOW", "syscalls": []}\n')
        yield path


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[Recorder]:
    recorder = Recorder(folder / "s")
    linux = "Ostype: linux\r\nServer: Docker/28.2.2 (linux)\r\n"
    for method in ("HEAD", "GET"):
        recorder.on(method, "/_ping", reply("200 OK", b"OK", linux))
    info = {"Id": "a" * 64, "State": {"Running": True, "Status": "running"}, "Config": {"Tty": False}}
    recorder.on("GET", "/containers/cc/json", reply("200 OK", info))
    for method in ("GET", "POST", "DELETE"):
        recorder.on(method, "/", reply("500 Internal Server Error", {"message": "recorded"}))
    yield recorder
    recorder.close()


def call(engine: Recorder, folder: Path, program: list[str], line: str) -> tuple[Any, list[Any]]:
    """Run one client; its outcome, and what it sent beyond pings and look-ups."""
    before = len(engine.requests)
    words = shlex.split(line.replace("{dir}", str(folder)))
    environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "ORACLE": "seen"}
    done = subprocess.run(
        [*program, "-H", engine.host, *words], cwd=folder, env=environ, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    return done, [r for r in engine.requests[before:] if r.path not in ("/_ping", "/containers/cc/json")]


OURS = [sys.executable, "-m", "corten"]
needs_docker = pytest.mark.skipif(DOCKER is None, reason="the docker CLI is not installed")


def normal(body: Any) -> Any:
    """Binds and variables come from maps in docker's client: their order says nothing."""
    if isinstance(body, dict) and "HostConfig" in body:
        body["HostConfig"]["Binds"] = sorted(body["HostConfig"]["Binds"] or [])
        body["Env"] = sorted(body["Env"] or [])
    return body


@needs_docker
@pytest.mark.parametrize("line", BODIES)
def test_create_sends_what_docker_sends(engine: Recorder, folder: Path, line: str) -> None:
    """Query and body of the create request, with every member that docker's client sends."""
    theirs, expected = call(engine, folder, [str(DOCKER)], line)
    ours, sent = call(engine, folder, OURS, line)
    assert [r.path for r in expected] == ["/containers/create"], theirs.stderr
    assert [r.path for r in sent] == ["/containers/create"], ours.stderr
    assert normal(sent[0].json()) == normal(expected[0].json())
    assert sorted(sent[0].query.split("&")) == sorted(expected[0].query.split("&"))
    assert ours.returncode == theirs.returncode


@needs_docker
@pytest.mark.parametrize("line", REFUSALS)
def test_refusals_read_as_dockers(engine: Recorder, folder: Path, line: str) -> None:
    """First line of stderr (the program's own name aside) and exit code; nothing is sent."""
    theirs, expected = call(engine, folder, [str(DOCKER)], line)
    ours, sent = call(engine, folder, OURS, line)
    assert not expected
    assert not sent
    first = ours.stderr.split("\n")[0].partition(". Use ")[0]
    assert first.replace("corten", "docker") == theirs.stderr.split("\n")[0]
    assert ours.returncode == theirs.returncode
    assert ours.stdout == theirs.stdout == ""


@needs_docker
@pytest.mark.parametrize("line", REQUESTS)
def test_other_commands_send_what_docker_sends(engine: Recorder, folder: Path, line: str) -> None:
    """Method, path, query and body, and what both say of the engine's refusal."""
    theirs, expected = call(engine, folder, [str(DOCKER)], line)
    ours, sent = call(engine, folder, OURS, line)
    assert [described(r) for r in sent] == [described(r) for r in expected]
    assert ours.stderr == theirs.stderr
    assert ours.stdout == theirs.stdout
    assert ours.returncode == theirs.returncode


def described(request: Any) -> tuple[str, str, list[str], str]:
    body = json.dumps(request.json(), sort_keys=True) if request.body.strip() else ""
    return request.method, request.path, sorted(request.query.split("&")), body
