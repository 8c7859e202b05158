"""Names, signals, host files, locks, waiters and pending attachments."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from corten_shared.errors import InvalidArgument
from corten_shared.models.container import ContainerSpec, NetworkSpec, RestartPolicy
from corten_shared.models.task import TaskRecord, TaskStatus
from cortend.core.runtime import Chunk, TaskKey
from cortend.services import hostfiles
from cortend.services.locks import Locks
from cortend.services.names import check_name, new_id, random_name
from cortend.services.requests import WaitResult
from cortend.services.signals import signal_number
from cortend.services.streams import PendingAttachments
from cortend.services.supervisor import wants_restart
from cortend.services.waiters import Waiters

KEY = TaskKey("default", "a" * 64)


@pytest.mark.parametrize(
    ("text", "number"),
    [("SIGTERM", 15), ("kill", 9), ("2", 2), ("RTMIN", 34), ("RTMIN+1", 35), ("SIGRTMAX-1", 63)],
)
def test_signals_by_name_and_number(text: str, number: int) -> None:
    assert signal_number(text) == number


@pytest.mark.parametrize("text", ["", "0", "65", "-1", "SIGFOO", "RTMIN+99", "RTMAX+1", "9999999999", "SIG"])
def test_unknown_signals_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid signal"):
        signal_number(text)


def test_ids_and_names() -> None:
    assert len(new_id()) == 64
    assert check_name("/web-1") == "web-1"
    assert check_name(random_name())
    for bad in ("", "x", "-a", "a b", "a/b", "é" * 3, "a" * 256, "a\n"):
        with pytest.raises(InvalidArgument, match="Invalid container name"):
            check_name(bad)


def test_hosts_name_the_container_and_extra_hosts() -> None:
    network = NetworkSpec(extra_hosts=["db:10.0.0.9", "gw:host-gateway", "v6:[::2]"])
    spec = ContainerSpec(domainname="lan", network=network)
    text = hostfiles.hosts(spec, "web", "172.20.0.5", "172.20.0.1")
    assert "172.20.0.5\tweb.lan web\n" in text
    assert "10.0.0.9\tdb\n" in text and "172.20.0.1\tgw\n" in text and "::2\tv6\n" in text
    assert text.startswith("127.0.0.1\tlocalhost\n")


@pytest.mark.parametrize("entry", ["nocolon", "a:b", "a\nb:1.2.3.4", ":1.2.3.4"])
def test_malformed_extra_hosts_are_refused(entry: str) -> None:
    with pytest.raises(InvalidArgument):
        hostfiles.hosts(ContainerSpec(network=NetworkSpec(extra_hosts=[entry])), "h", "", "")


def test_resolvers_on_loopback_are_of_no_use_in_a_container() -> None:
    host = "nameserver 127.0.0.53\nnameserver 192.0.2.1 # x\nsearch a b\noptions edns0\nnameserver ::1\n"
    own = hostfiles.resolv_conf(ContainerSpec(), host, (), own_network=True)
    assert own == "nameserver 192.0.2.1\nsearch a b\noptions edns0\n"
    assert hostfiles.resolv_conf(ContainerSpec(), host, (), own_network=False).count("nameserver") == 3
    assert "8.8.8.8" in hostfiles.resolv_conf(ContainerSpec(), "nameserver 127.0.0.1\n", (), own_network=True)
    asked = ContainerSpec(network=NetworkSpec(dns=["9.9.9.9"], dns_search=["."]))
    assert hostfiles.resolv_conf(asked, host, ("1.1.1.1",), own_network=True) == "nameserver 9.9.9.9\noptions edns0\n"


@pytest.mark.parametrize(
    ("policy", "code", "count", "wanted"),
    [
        ("no", 1, 0, False),
        ("always", 0, 5, True),
        ("unless-stopped", 0, 0, True),
        ("on-failure", 0, 0, False),
        ("on-failure", 1, 2, True),
    ],
)
def test_restart_policies(policy: str, code: int, count: int, wanted: bool) -> None:
    task = TaskRecord(container_id="x", status=TaskStatus.STOPPED, exit_code=code, restart_count=count)
    assert wants_restart(RestartPolicy.model_validate({"name": policy}), task) is wanted


def test_on_failure_gives_up_after_its_retries() -> None:
    policy = RestartPolicy(name="on-failure", max_retries=3)
    task = TaskRecord(container_id="x", status=TaskStatus.STOPPED, exit_code=1, restart_count=3)
    assert not wants_restart(policy, task)


def test_one_key_is_held_by_one_and_forgotten_afterwards() -> None:
    async def run() -> list[str]:
        locks, order = Locks(), []

        async def hold(name: str) -> None:
            async with locks.hold("k"):
                order.append(f"+{name}")
                await asyncio.sleep(0)
                order.append(f"-{name}")

        await asyncio.gather(hold("a"), hold("b"), hold("c"))
        assert not locks._locks
        return order

    assert asyncio.run(run()) == ["+a", "-a", "+b", "-b", "+c", "-c"]


def test_waiters_are_told_once_and_removal_tells_everybody() -> None:
    async def run() -> None:
        waiters = Waiters()
        first, gone = waiters.next_exit(KEY), waiters.removal(KEY)
        waiters.exited(KEY, WaitResult(3))
        assert (await first).exit_code == 3
        assert not gone.done()
        second = waiters.next_exit(KEY)
        waiters.removed(KEY, WaitResult(4))
        assert (await second).exit_code == 4 and (await gone).exit_code == 4

    asyncio.run(run())


class Real:
    """An attachment with three chunks of output."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[Chunk]:
        for part in (b"a", b"b", b"c"):
            yield Chunk(1, part)

    async def write(self, data: bytes) -> None:
        self.written.append(data)

    async def close_stdin(self) -> None:
        self.written.append(b"<eof>")

    async def close(self) -> None:
        self.closed = True


class Runtime:
    def __init__(self) -> None:
        self.real = Real()

    async def attach(self, key: TaskKey, exec_id: str | None = None, *, stdin: bool = True) -> Real:
        return self.real


def test_an_attachment_made_before_start_gets_everything() -> None:
    async def run() -> None:
        pending, runtime = PendingAttachments(), Runtime()
        attachment = pending.add(KEY, stdin=True)
        writing = asyncio.create_task(attachment.write(b"in"))
        await asyncio.sleep(0)
        assert runtime.real.written == []
        await pending.bind(KEY, runtime)  # type: ignore[arg-type]
        await writing
        assert [chunk.data async for chunk in attachment] == [b"a", b"b", b"c"]
        await attachment.close()
        assert runtime.real.closed and runtime.real.written == [b"in"]

    asyncio.run(run())


def test_an_attachment_ends_when_its_container_goes() -> None:
    async def run() -> None:
        pending = PendingAttachments()
        attachment = pending.add(KEY, stdin=False)
        pending.end(KEY)
        assert [chunk async for chunk in attachment] == []

    asyncio.run(run())
