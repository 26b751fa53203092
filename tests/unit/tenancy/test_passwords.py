"""Passwords: which are taken, and what is kept of them."""

from __future__ import annotations

import pytest
from argon2 import PasswordHasher, extract_parameters
from argon2.profiles import RFC_9106_LOW_MEMORY

from pim_platform.errors import InvalidRequest
from pim_platform.tenancy.passwords import check_password, hash_password, is_outdated, is_password


def test_a_password_is_kept_as_argon2id_with_the_parameters_of_the_rfc() -> None:
    known = hash_password("correct horse battery")
    assert known.startswith("$argon2id$")
    assert extract_parameters(known) == RFC_9106_LOW_MEMORY
    assert is_password("correct horse battery", known)
    assert not is_password("correct horse batterz", known)
    assert not is_outdated(known)


def test_a_hash_of_other_parameters_is_right_but_outdated() -> None:
    old = PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash("correct horse battery")
    assert is_password("correct horse battery", old)
    assert is_outdated(old)


def test_nobodys_password_is_never_right() -> None:
    assert not is_password("correct horse battery", None)
    assert not is_password("correct horse battery", "no hash at all")


def test_what_looks_alike_is_one_password() -> None:
    assert is_password("Cafe\u0301 am Markt", hash_password("Caf\u00e9 am Markt"))


@pytest.mark.parametrize(
    "password",
    ["", "Xy7!q", "x" * 257, "aaaaaaaaaaaa", "ababababababab", "ana@example.com", "Ana Lindqvist", "ANA@EXAMPLE.COM"],
)
def test_what_is_easy_to_guess_is_refused(password: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        check_password(password, email="ana@example.com", name="ana lindqvist")
    assert caught.value.code == "weak_password"
    assert caught.value.fix
    assert not password or password not in str(caught.value), "the message does not repeat it"


def test_a_long_phrase_is_fine() -> None:
    check_password("a sentence that only I would think of, \u00e4\u00f6\u00fc", email="ana@example.com", name="Ana")
