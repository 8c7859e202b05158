"""hosts.toml: which addresses a registry has, in which order, and what is said of a file that cannot be used."""

from __future__ import annotations

import pytest

from corten_shared.errors import Unavailable
from cortend.registry.hosts import endpoints, insecure
from cortend.registry.settings import CAPABILITIES, Endpoint, RegistryHost, RegistrySettings


@pytest.fixture
def write(tmp_path):
    def write(text, name="reg.test", file="hosts.toml"):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / file).write_text(text)

    return write


@pytest.fixture
def find(tmp_path):
    def find(domain="reg.test", **hosts):
        return endpoints(RegistrySettings(directory=str(tmp_path), hosts=hosts), domain)

    return find


def test_without_a_file_a_registry_is_its_own_only_host(find):
    assert find() == [Endpoint("https://reg.test/v2")]
    assert find("docker.io") == [Endpoint("https://registry-1.docker.io/v2")]
    assert find("127.0.0.1:5000") == [
        Endpoint("http://127.0.0.1:5000/v2"),
        Endpoint("https://127.0.0.1:5000/v2", skip_verify=True, fallback=True),
    ]


def test_mirrors_come_in_their_order_and_the_registry_last(find, write):
    write(
        """
        server = "https://registry-1.docker.io"
        [host."https://z.test"]
          capabilities = ["pull"]
        [host."http://a.test:5000"]
        [host."mirror.test/us"]
          capabilities = ["Pull", "resolve"]
        """,
        "docker.io",
    )
    assert [(e.url, e.own, e.capabilities) for e in find("docker.io")] == [
        ("https://z.test/v2", False, {"pull"}),
        ("http://a.test:5000/v2", False, CAPABILITIES),
        ("https://mirror.test/us/v2", False, {"pull", "resolve"}),
        ("https://registry-1.docker.io/v2", True, CAPABILITIES),
    ]


def test_every_key_of_the_specification(find, write, tmp_path):
    write(
        """
        [host."https://m.test/v2/upstream"]
          capabilities = ["pull", "resolve", "push"]
          ca = ["ca.pem", "/etc/other.pem"]
          client = [["c.cert", "c.key"], ["both.pem", ""]]
          skip_verify = true
          override_path = true
          dial_timeout = "1m1.5s"
          proxy = "http://proxy.test:8080"
          [host."https://m.test/v2/upstream".header]
            x-one = "a b"
            x-two = ["c", "d"]
        """
    )
    folder = tmp_path / "reg.test"
    assert find()[0] == Endpoint(
        "https://m.test/v2/upstream",
        own=False,
        ca=(str(folder / "ca.pem"), "/etc/other.pem"),
        client=((str(folder / "c.cert"), str(folder / "c.key")), (str(folder / "both.pem"), "")),
        skip_verify=True,
        headers=(("x-one", "a b"), ("x-two", "c"), ("x-two", "d")),
        timeout=61.5,
        proxy="http://proxy.test:8080",
    )


def test_one_path_is_as_good_as_a_list(find, write, tmp_path):
    write('ca = "ca.pem"\nclient = "both.pem"\n')
    folder = tmp_path / "reg.test"
    (found,) = find()
    assert found.ca == (str(folder / "ca.pem"),) and found.client == ((str(folder / "both.pem"), ""),)
    write('client = ["/1.pem", "/2.pem"]\n')
    assert find()[0].client == (("/1.pem", ""), ("/2.pem", ""))


def test_keys_of_the_root_are_the_registrys_own(find, write):
    write('skip_verify = true\ncapabilities = ["pull"]\n[header]\nx = "1"\n[host."https://m.test"]\n')
    mirror, own = find()
    assert not mirror.skip_verify and not mirror.headers
    assert own == Endpoint("https://reg.test/v2", skip_verify=True, headers=(("x", "1"),))
    write('server = "https://other.test/"\ncapabilities = ["push"]\n')
    assert find() == [Endpoint("https://other.test/v2", capabilities=frozenset({"push"}))]


@pytest.mark.parametrize("name", ["reg.test_5000_", "reg.test:5000"])
def test_a_port_may_be_written_without_a_colon(find, write, name):
    write('server = "https://here.test"', name)
    assert find("reg.test:5000")[-1].url == "https://here.test/v2"
    assert find("reg.test")[-1].url == "https://reg.test/v2"


def test_an_own_directory_comes_before_the_one_for_all(find, write):
    write('[host."https://mirror.test"]', "_default")
    assert [e.url for e in find()] == ["https://mirror.test/v2", "https://reg.test/v2"]
    assert [e.url for e in find("[::1]:5000")] == [
        "https://mirror.test/v2", "http://[::1]:5000/v2", "https://[::1]:5000/v2",
    ]  # fmt: skip
    write("", "reg.test")
    assert [e.url for e in find()] == ["https://reg.test/v2"]


def test_what_stands_in_for_every_registry_gets_no_login(find, write):
    write('server = "https://proxy.test"', "_default")
    assert [(e.url, e.own) for e in find()] == [("https://proxy.test/v2", False)]
    assert [(e.url, e.own) for e in find("proxy.test")] == [("https://proxy.test/v2", True)]


def test_the_configuration_file_comes_before_the_directory_for_all_and_is_refined_by_an_own_one(find, write):
    write('[host."https://mirror.test"]', "_default")
    short = {"reg.test": RegistryHost(skip_verify=True)}
    assert find(**short) == [Endpoint("https://reg.test/v2", skip_verify=True)]
    write('[host."https://mine.test"]\n', "reg.test")
    assert [(e.url, e.skip_verify) for e in find(**short)] == [
        ("https://mine.test/v2", False),
        ("https://reg.test/v2", True),
    ]


def test_dockers_certificate_files(find, write, tmp_path):
    for file in ("a.crt", "b.crt", "c.cert", "c.key", "d.cert", "notes.txt"):
        write("", file=file)
    folder = str(tmp_path / "reg.test")
    (found,) = find()
    assert found.ca == (f"{folder}/a.crt", f"{folder}/b.crt")
    assert found.client == ((f"{folder}/c.cert", f"{folder}/c.key"), (f"{folder}/d.cert", ""))


def test_plain_http_with_certificates_means_https_if_it_can(find, write):
    write('[host."http://10.0.0.1:5000"]\nskip_verify = true\n[host."http://10.0.0.1"]\nskip_verify = true\n')
    assert [(e.url, e.fallback) for e in find()] == [
        ("https://10.0.0.1:5000/v2", False),
        ("http://10.0.0.1:5000/v2", True),
        ("http://10.0.0.1/v2", False),
        ("https://reg.test/v2", False),
    ]
    write("", "127.0.0.1:5000", "ca.crt")
    assert [(e.url, e.fallback) for e in find("127.0.0.1:5000")] == [
        ("https://127.0.0.1:5000/v2", False),
        ("http://127.0.0.1:5000/v2", True),
    ]


MIRROR = '[host."https://m.test"]\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("server = ", "Invalid value"),
        ("server = 5", "'server': must be a string"),
        ('server = "https://u:p@x"', "'server': must be http:// or https://"),
        ('server = "ftp://x"', "'server': must be http:// or https://"),
        ('server = "https://x:y"', "'server': is no address"),
        ('serve = "https://x"', "'serve': unknown key (did you mean 'server'?)"),
        ("[host]\na = 1\n", "'host.\"a\"': must be a table"),
        ("host = 1", "'host': must be tables"),
        (MIRROR + 'capabilites = ["pull"]', "'host.\"https://m.test\".capabilites': unknown key (did you mean 'capa"),
        (MIRROR + 'capabilities = ["fly"]', "capabilities': must be of pull, push, resolve, not fly"),
        (MIRROR + 'capabilities = "pull"', "capabilities': must be a string or a list of strings"),
        (MIRROR + "ca = 1", "ca': must be a string or a list of strings"),
        (MIRROR + 'client = [["a"]]', "client': must be a path, a list of paths, or"),
        (MIRROR + "client = 1", "client': must be a path"),
        (MIRROR + 'skip_verify = "yes"', "skip_verify': must be true or false"),
        (MIRROR + "override_path = 1", "override_path': must be true or false"),
        (MIRROR + 'dial_timeout = "soon"', "dial_timeout': must be a duration"),
        (MIRROR + "dial_timeout = 3", "dial_timeout': must be a duration"),
        (MIRROR + 'proxy = "socks5://x:1"', "proxy': SOCKS proxies are not supported"),
        (MIRROR + 'proxy = "x"', "proxy': must be a proxy's address"),
        (MIRROR + "header = 1", "header': must be a table"),
        (MIRROR + '[host."https://m.test".header]\n"a b" = "1"', "header.a b': is no header's name"),
        (MIRROR + '[host."https://m.test".header]\nx = "S3cret\\r\\nY: 1"', "header.x': must be printable ASCII"),
        (MIRROR + '[host."https://m.test"."http://n.test"]', "'host.\"https://m.test\".http://n.test': unknown key"),
        ("x = " + "[" * 100_000, "hosts.toml: "),
        ("#" * 300_000, "longer than 262144 bytes"),
    ],
)
def test_a_broken_file_is_one_error_with_file_and_key(find, write, tmp_path, text, said):
    write(text)
    with pytest.raises(Unavailable) as caught:
        find()
    assert caught.value.message.startswith(f"{tmp_path}/reg.test/hosts.toml: ") and said in caught.value.message
    assert caught.value.message.isprintable() and "S3cret" not in caught.value.message


def test_text_that_is_none_is_a_broken_file_too(find, tmp_path):
    (tmp_path / "reg.test").mkdir()
    (tmp_path / "reg.test" / "hosts.toml").write_bytes(b"\xff")
    with pytest.raises(Unavailable, match=r"hosts\.toml: "):
        find()


def test_insecure_registries_are_known(write, tmp_path):
    write("skip_verify = true", "a.test_5000_")
    write('server = "http://b.test"', "b.test")
    write('[host."http://c.test"]', "c.test")
    write("broken", "d.test")
    write("skip_verify = true", "_default")
    assert list(insecure(str(tmp_path))) == ["a.test:5000", "b.test"]
    assert list(insecure("")) == list(insecure(str(tmp_path / "none"))) == []
