"""Which URLs may be called at all, and which addresses a connection may go to."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pim_platform.errors import AddressRefused, Misconfigured
from pim_platform.settings import Settings
from pim_platform.storage.addresses import is_public, parse_url, without_query
from pim_platform.storage.outbound import Policy


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.255.255.254",
        "0.0.0.0",
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "192.0.2.1",
        "198.18.0.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:8.8.8.8",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::1",
        "2001::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "3fff::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fec0::1",
        "ff02::1",
    ],
)
def test_what_is_not_public_is_refused(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["8.8.8.8", "93.184.216.34", "172.32.0.1", "2606:4700:4700::1111", "2a00:1450::1"])
def test_ordinary_addresses_pass(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@given(st.ip_addresses())
def test_nothing_passes_that_python_calls_special(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    if is_public(address):
        assert not any((address.is_loopback, address.is_link_local, address.is_multicast, address.is_unspecified))
        assert address.is_global


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://shop.example/hook", "scheme"),
        ("ftp://shop.example/hook", "scheme"),
        ("file:///etc/passwd", "scheme"),
        ("shop.example/hook", "scheme"),
        ("https://", "no host"),
        ("https://user:secret@shop.example/", "user name"),
        ("https://shop.example@10.0.0.1/", "user name"),
        ("https://shop.example:22/", "port 22"),
        ("https://shop.example:6667/", "port 6667"),
        ("https://shop.example/a b", "blanks"),
        ("https://shop.example/\r\nX: y", "blanks"),
        ("https://shop.example\\@evil.example/", "backslashes"),
        ("https://shop.example:99999/", "port 99999"),
        ("https://shop.example:x/", "not a URL"),
        ("https://" + "a" * 3000 + ".example/", "characters"),
    ],
)
def test_urls_that_are_none_are_refused_with_the_reason(url: str, why: str) -> None:
    with pytest.raises(AddressRefused, match=why):
        parse_url(url, allow_http=False)


def test_a_name_is_compared_in_one_spelling() -> None:
    target = parse_url("https://Bücher.Example.:443/x#part", allow_http=False)
    assert (target.host, target.port) == ("xn--bcher-kva.example", 443)
    assert target.url.endswith("/x")


def test_messages_hold_neither_query_nor_password() -> None:
    assert without_query("https://u:p@shop.example:8443/feed.csv?token=abc#d") == "https://shop.example:8443/feed.csv"


def test_only_hosts_of_the_list_are_fetched_from() -> None:
    policy = Policy.for_fetches(Settings(outbound_fetch_hosts="feeds.example, *.supplier.example"))
    assert policy.check_url("https://feeds.example/a").host == "feeds.example"
    assert policy.check_url("https://eu.supplier.example/a").host == "eu.supplier.example"
    for host in ("feeds.example.evil.example", "supplier.example", "evilsupplier.example", "xfeeds.example"):
        with pytest.raises(AddressRefused, match="not fetched from"):
            policy.check_url(f"https://{host}/a")


def test_networks_may_be_opened_one_by_one_and_metadata_stays_shut_in_development() -> None:
    opened = Policy.for_calls(Settings(outbound_private_networks="10.1.2.0/24"))
    assert opened.may_reach(ipaddress.ip_address("10.1.2.3"))
    assert not opened.may_reach(ipaddress.ip_address("10.1.3.3"))
    develop = Policy.for_calls(Settings(outbound_allow_private=True))
    assert develop.allow_http
    assert develop.may_reach(ipaddress.ip_address("127.0.0.1"))
    assert not develop.may_reach(ipaddress.ip_address("169.254.169.254"))
    assert not develop.may_reach(ipaddress.ip_address("::ffff:169.254.169.254"))


def test_a_network_that_is_none_is_a_misconfiguration() -> None:
    with pytest.raises(Misconfigured, match="PIM_OUTBOUND_PRIVATE_NETWORKS"):
        Policy.for_calls(Settings(outbound_private_networks="10.1.2.0/99"))
