"""Access tokens: what is not exactly ours opens nothing."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import jwt
import pytest

from pim_platform.errors import Unauthorized
from pim_platform.settings import Settings
from pim_platform.tenancy.tokens import access_token, new_secret, session_of

SECRET = "s" * 64
USER, SESSION = uuid4(), uuid4()


def _settings(**values: object) -> Settings:
    return Settings.model_validate({"token_secret": SECRET, **values})


def _claims(**changes: object) -> dict[str, Any]:
    now = datetime.now(UTC)
    claims = {
        "iss": "pim-platform",
        "aud": "pim-api",
        "sub": str(USER),
        "sid": str(SESSION),
        "iat": now,
        "exp": now + timedelta(minutes=1),
    }
    return {key: value for key, value in (claims | changes).items() if value is not None}


def _signed(secret: str = SECRET, algorithm: str = "HS256", kind: str | None = "at+jwt", **changes: object) -> str:
    return jwt.encode(_claims(**changes), secret, algorithm=algorithm, headers={"typ": kind})


def test_a_token_names_its_login() -> None:
    assert session_of(_settings(), access_token(_settings(), USER, SESSION)) == SESSION
    assert session_of(_settings(), _signed()) == SESSION, "the other tests forge what differs from this one"


def test_hosts_need_not_agree_on_the_second() -> None:
    assert session_of(_settings(), _signed(iat=datetime.now(UTC) + timedelta(seconds=5))) == SESSION


def _unsigned() -> str:
    head, body = (
        base64.urlsafe_b64encode(json.dumps(part, default=lambda moment: int(moment.timestamp())).encode())
        .rstrip(b"=")
        .decode()
        for part in ({"alg": "none", "typ": "at+jwt"}, _claims())
    )
    return f"{head}.{body}."


@pytest.mark.parametrize(
    "token",
    [
        "",
        "nonsense",
        "a.b.c",
        "\u00e4\u00f6.\u20ac.x",
        _unsigned(),
        _signed(secret="t" * 64),
        _signed(algorithm="HS512"),
        _signed(kind="JWT"),
        _signed(kind=None),
        _signed(iss="somebody"),
        _signed(aud="another-api"),
        _signed(aud=None),
        _signed(exp=None),
        _signed(exp=datetime.now(UTC) - timedelta(seconds=11)),
        _signed(iat=datetime.now(UTC) + timedelta(hours=1)),
        _signed(sid=None),
        _signed(sid="1 OR 1=1"),
        _signed()[:-4] + "AAAA",
    ],
)
def test_what_is_not_exactly_ours_opens_nothing(token: str) -> None:
    with pytest.raises(Unauthorized):
        session_of(_settings(), token)


def test_the_secret_is_made_once_in_the_home(tmp_path: Path) -> None:
    settings = Settings.model_validate({"home": tmp_path / "home", "token_secret": None})
    token = access_token(settings, USER, SESSION)
    assert session_of(Settings.model_validate({"home": tmp_path / "home"}), token) == SESSION
    assert (tmp_path / "home" / "secrets.json").stat().st_mode & 0o077 == 0
    with pytest.raises(Unauthorized):
        session_of(Settings.model_validate({"home": tmp_path / "other"}), token)


def test_a_short_secret_is_refused_at_start() -> None:
    with pytest.raises(ValueError, match="token_secret"):
        Settings.model_validate({"token_secret": "short"})


def test_a_secret_is_stored_as_something_else() -> None:
    made, stored = new_secret("piml_")
    assert made.startswith("piml_")
    assert len(stored) == 32
    assert made.encode() not in stored
    assert new_secret("piml_")[0] != made
