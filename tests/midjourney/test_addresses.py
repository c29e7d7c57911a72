"""Which links only a private network can reach, in every spelling that somebody reads so."""

from __future__ import annotations

import pytest

from midjourney.addresses import host_and_port, is_named, is_private, links_in, shown

PRIVATE = [
    *(
        "http://localhost:3000/mj/image/1",
        "http://LOCALHOST/x.png",
        "http://localhost./x.png",
        "http://a.localhost/x",
    ),
    *(
        "http://10.1.2.3/x",
        "http://172.16.0.1/x",
        "http://172.31.255.255/x",
        "http://192.168.1.5:8080/x.png?a=1",
    ),
    *(
        "http://127.0.0.1/x",
        "http://127.8.9.1/x",
        "http://169.254.169.254/latest",
        "http://100.64.0.1/x",
        "http://0.0.0.0/x",
    ),
    *(
        "http://2130706433/x",
        "http://0x7f000001/x",
        "http://017700000001/x",
        "http://127.1/x",
        "http://0x7f.1/x",
    ),
    *(
        "http://0177.0.0.1/x",
        "http://010.0.0.1/x",
        "http://192.168.257/x",
        "http://127.0.0.1./x",
        "http://4294967297/x",
    ),
    *(
        "http://[::1]/x",
        "http://[::]/x",
        "http://[fc00::1]/x",
        "http://[fd12::5]:9000/x",
        "http://[fe80::1%25eth0]/x",
    ),
    *(
        "http://[::ffff:127.0.0.1]/x",
        "http://[::ffff:c0a8:105]/x",
        "http://[64:ff9b::7f00:1]/x",
        "http://[2002:7f00:1::]/x",
    ),
    *("http://[::127.0.0.1]/x", "http://[fec0::1]/x", "http://224.0.0.1/x", "http://255.255.255.255/x"),
    *(
        "http://nas.local/x",
        "http://host.docker.internal/x",
        "http://minio.svc.cluster.local:9000/x",
        "http://NAS.LAN/x",
    ),
    *("http://router.home.arpa/x", "http://minio:9000/x.png", "http://intranet/x", "http://files.corp/x"),
    *(
        "http://cdn.example.com@127.0.0.1/x",
        "http://u:p@localhost/x",
        "http://%6cocalhost/x",
        "http://127%2e0.0.1/x",
    ),
    *(
        "http:\\\\127.0.0.1\\x",
        "http://cdn.example.com\\@127.0.0.1/x",
        "http:/127.0.0.1/x",
        "http:///127.0.0.1/x",
    ),
    *("http://①②⑦.⓪.⓪.①/x", "http://127。0。0。1/x", "http://127．0．0．1/x", "HTTPS://LocalHost/x"),
    *(
        "http://",
        "http:///",
        "http://[::1/x",
        "http://[nonsense]/x",
        "http://:80/x",
        "http://cdn.exa\tmple.com/x",
    ),
]
PUBLIC = [
    *(
        "https://cdn.discordapp.com/attachments/1/2/a.png?ex=1&is=2&hm=3&",
        "http://8.8.8.8/x",
        "http://134744072/x",
    ),
    *("https://cdn.example.com:8443/x.png", "https://u@cdn.example.com/x", "https://CDN.Example.com./x.png"),
    *(
        "http://[2606:4700::1111]/x",
        "http://[::ffff:8.8.8.8]/x",
        "https://bücher.example/x.png",
        "https://图片.中国/x.png",
    ),
    *(
        "http://172.32.0.1/x",
        "http://192.169.0.1/x",
        "http://100.128.0.1/x",
        "http://11.0.0.1/x",
        "http://9.9.9.9./x",
    ),
    *(
        "https://localhost.example.com/x",
        "https://my-local.net/x",
        "https://lan.example.org/x",
        "https://10.example.com/x",
    ),
    *(
        "https://cdn.example.com/to?url=http://localhost/x",
        "https://a_b.example.com/x",
        "http://127.0.0.1.nip.io/x",
    ),
]


@pytest.mark.parametrize("link", PRIVATE)
def test_what_only_a_private_network_reaches(link: str) -> None:
    """Whoever of the readers of links is asked: one that sees a private address is enough."""
    assert is_private(link)


@pytest.mark.parametrize("link", PUBLIC)
def test_what_everybody_reaches(link: str) -> None:
    """A public name is public, wherever it leads: nothing is looked up."""
    assert not is_private(link)


@pytest.mark.parametrize(
    ("text", "links"),
    [
        ("http://localhost:3000/a.png a cat", ["http://localhost:3000/a.png"]),
        ("a cat --sref http://minio:9000/a.png::2 --ar 1:1", ["http://minio:9000/a.png::2"]),
        (
            "{http://a.example/1.png, http://localhost/2.png} cat",
            ["http://a.example/1.png", "http://localhost/2.png"],
        ),
        ("<HTTP://localhost/a.png> cat", ["HTTP://localhost/a.png"]),
        ("see http://a.example.", ["http://a.example"]),
        ("一只猫，http://localhost/a.png。再来", ["http://localhost/a.png"]),
        ("a http server, localhost:3000, the word https", []),
    ],
)
def test_links_in_a_prompt(text: str, links: list[str]) -> None:
    """All of them, at its beginning and behind its parameters."""
    assert links_in(text) == links


@pytest.mark.parametrize(
    ("link", "host", "is_at_it"),
    [
        ("http://minio:9000/a", "minio:9000", True),
        ("http://MINIO.:9000/a", "minio:9000", True),
        ("http://minio:9001/a", "minio:9000", False),
        ("http://minio/a", "minio:80", True),
        ("https://minio/a", "minio:443", True),
        ("http://minio:1234/a", "minio", True),
        ("http://minio.evil.example/a", "minio", False),
        ("http://x@minio:9000/a", "minio:9000", True),
        ("http://minio:9000@evil.example/a", "minio:9000", False),
        ("http://192.168.1.5/a", "192.168.1.5", True),
        ("http://192.168.1.50/a", "192.168.1.5", False),
        ("http://[fd00:0::5]:90/a", "[fd00::5]:90", True),
        ("http://[fd00::5]/a", "fd00::5", True),
        ("http://minio:99999/a", "minio", False),
    ],
)
def test_a_host_is_named_exactly(link: str, host: str, is_at_it: bool) -> None:
    """With its port, or with every port."""
    assert is_named(link, [host]) is is_at_it


@pytest.mark.parametrize(
    "text",
    ["", "*", "*.local", "http://minio", "minio/path", "minio:", "minio:0", "minio:65536", "minio:http", "a b", "u@minio",
     "[::1", "[::x]:1", "192.168.1.0/24", "minio?x", "min%69o"],
)  # fmt: skip
def test_what_names_no_host(text: str) -> None:
    """Neither an address, nor a network, nor a pattern."""
    with pytest.raises(ValueError, match=r"host|port"):
        host_and_port(text)


def test_a_link_is_shown_without_what_may_be_a_secret() -> None:
    """User name, password and query string."""
    assert shown("http://u:p@localhost/a.png?sig=1#x") == "http://localhost/a.png"
