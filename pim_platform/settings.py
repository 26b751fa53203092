"""Every knob of the platform, read from ``PIM_*`` environment variables (twelve-factor).

Nothing else reads the environment. Where no URL is given, the part is the embedded one of
``PIM_HOME`` (see :mod:`pim_platform.storage.endpoints`).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Settings of one installation. An unknown ``PIM_*`` value of the wrong type is refused at start."""

    model_config = SettingsConfigDict(env_prefix="PIM_", extra="ignore", frozen=True)

    home: Path = Field(Path(".pim"), description="Folder that holds the state of the one-machine stack.")
    host: str = Field("127.0.0.1", description="Address that the API, the UI and Dagster's web server bind to.")
    port: int = Field(8420, ge=1, le=65529, description="Port of the API; UI, Dagster and the engines follow.")

    postgres_url: SecretStr | None = Field(
        None, description="PostgreSQL 18+ administrator, `postgresql://user:password@host/database`; unset: embedded."
    )
    postgres_app_url: SecretStr | None = Field(
        None, description="Application role, where `pim migrate` may not make it."
    )
    postgres_ddl_url: SecretStr | None = Field(None, description="Role that owns the typed views, likewise.")
    dagster_postgres_url: SecretStr | None = Field(None, description="Database of Dagster's storage, likewise.")
    clickhouse_url: SecretStr | None = Field(None, description="`http(s)://user:password@host:port`; unset: embedded.")
    object_store_url: str | None = Field(
        None, description="`file:///folder` or `s3://bucket/prefix`; unset: the folder `objects` of the home."
    )
    object_store_endpoint: str | None = Field(None, description="Endpoint of an S3-compatible store.")
    object_store_region: str = Field("us-east-1", description="Region of the S3 bucket.")
    object_store_access_key_id: SecretStr | None = Field(None, description="S3 key id; unset: the usual AWS chain.")
    object_store_secret_access_key: SecretStr | None = Field(None, description="S3 secret key.")

    first_tenant: str = Field("main", description="Slug of the tenant that the first start of a stack makes.")
    first_currency: str = Field("EUR", description="Its default currency, ISO 4217.")
    first_locale: str = Field("en-US", description="Its default locale, BCP 47.")
    first_timezone: str = Field("UTC", description="Its time zone, IANA name.")

    anthropic_api_key: SecretStr | None = Field(
        None,
        validation_alias=AliasChoices("pim_anthropic_api_key", "anthropic_api_key"),
        description="Key of the Claude API, also read from ANTHROPIC_API_KEY; unset: Claude is never asked.",
    )
    anthropic_model: str = Field("claude-haiku-5-5", description="Claude model that is asked about unclear columns.")
    anthropic_base_url: str = Field(
        "https://api.anthropic.com", description="Where the Messages API is: a proxy's address, or Anthropic's own."
    )
    anthropic_timeout_seconds: float = Field(
        30.0, gt=0, description="Longest a file waits for Claude, all tries and the pauses between them together."
    )
    anthropic_max_retries: int = Field(
        2, ge=0, le=10, description="Tries after the first, where trying again may help."
    )
    anthropic_daily_budget_usd: float = Field(
        1.0, ge=0, description="What a tenant may spend on Claude per day (UTC), unless it has a budget of its own."
    )

    reader_seconds: float = Field(600.0, gt=0, description="How long reading one file of any format but CSV may take.")
    reader_memory_bytes: int = Field(2 * 1024**3, ge=64 * 1024**2, description="Memory that reading it may take.")
    reader_max_records: int = Field(20_000_000, ge=1, description="Records of such a file.")
    reader_max_columns: int = Field(5_000, ge=1, description="Columns of such a file.")
    reader_max_unpacked_bytes: int = Field(16 * 1024**3, ge=1, description="Bytes that an archive may unpack to.")
    reader_max_ratio: int = Field(
        200, ge=1, description="How many times its size an archive above 64 MB may unpack to."
    )
    stage_batch_rows: int = Field(65_536, ge=100, description="Rows read, mapped and validated at a time.")
    hold_removed_share: float = Field(0.2, ge=0, le=1, description="Absent-row guard: above this share a job is held.")
    change_retention_days: int = Field(
        365, ge=1, description="Days the change log is kept: as long an import can be undone."
    )
    staged_retention_days: int = Field(
        90, ge=1, description="Days the staged rows and previews of a finished import are kept beside its products'."
    )
    upload_retention_days: int = Field(365, ge=1, description="Days the file of a finished import is kept.")
    lock_timeout_seconds: float = Field(5.0, gt=0, description="How long an API writer waits for a tenant's lock (D7).")
    lease_heartbeat_seconds: float = Field(5.0, gt=0, description="How often a running attempt renews its lease (D19).")
    lease_timeout_seconds: float = Field(
        60.0, gt=0, description="Age of a lease after which its run counts as dead (D19)."
    )
    max_attempts: int = Field(5, ge=1, description="Attempts of one job before it is failed for good.")
    max_upload_bytes: int = Field(4 * 1024**3, ge=1, description="Largest file the API accepts, in bytes.")
    clickhouse_query_seconds: float = Field(
        60.0, gt=0, description="Time limit of one query in the embedded ClickHouse."
    )
    clickhouse_query_memory: int = Field(2 * 1024**3, ge=1, description="Memory limit of one such query, in bytes.")
    clickhouse_connections: int = Field(4, ge=1, description="Connections of the embedded ClickHouse's pool.")
    outbound_allow_http: bool = Field(False, description="Whether users' URLs may be http:// and not only https://.")
    outbound_allow_private: bool = Field(
        False, description="For development: users' URLs may name loopback and private addresses, and be http://."
    )
    outbound_private_networks: str = Field(
        "", description="Networks that users' URLs may reach though they are not public, `10.1.2.0/24, fd12::/64`."
    )
    outbound_fetch_hosts: str = Field(
        "", description="The only hosts files are fetched from, `feeds.example.com, *.supplier.example`; unset: any."
    )
    outbound_fetch_seconds: float = Field(3_600.0, gt=0, description="How long fetching one file may take.")
    outbound_ca_file: Path | None = Field(
        None, description="Certificates (PEM) that are trusted for users' URLs besides the public authorities."
    )
    secret_keys: SecretStr | None = Field(
        None,
        description="What users' secrets are stored encrypted with: long random texts, comma-separated; the first "
        "encrypts, each decrypts. Unset: a password of the home.",
    )
    token_secret: SecretStr | None = Field(
        None,
        min_length=32,
        description="Secret that signs access tokens, the same for every API host; unset: the home's.",
    )
    access_token_seconds: int = Field(900, ge=30, le=86_400, description="How long an access token is valid.")
    login_days: int = Field(30, ge=1, le=365, description="Days after which a person must log in again.")
    password_link_hours: int = Field(24, ge=1, le=720, description="How long a link to set a password is valid.")
    invitation_days: int = Field(7, ge=1, le=90, description="How long an invitation is valid.")
    webhook_timeout_seconds: float = Field(
        15.0, gt=0, le=60, description="How long a webhook's receiver may take to answer one call."
    )
    webhook_concurrency: int = Field(5, ge=1, le=50, description="Calls to one receiver at the same time.")
    webhook_retention_days: int = Field(30, ge=1, description="Days deliveries are kept, those that wait as well.")
    api_url: str | None = Field(
        None, description="Address of another installation's API that import, promote, rework and export work with."
    )
    api_key: SecretStr | None = Field(None, description="Key of a tenant there.")

    sensor_interval_seconds: int = Field(5, ge=1, description="How often inbox and jobs are looked at.")
    api_workers: int = Field(1, ge=1, description="Processes of the API.")

    rate_limit_requests: int = Field(
        1_200, ge=0, description="Requests per window that a key or user may send; a key may have its own, 0: no limit."
    )
    rate_limit_address_requests: int = Field(
        60, ge=0, description="Requests per window from one address without a valid credential; 0: no limit."
    )
    rate_limit_seconds: int = Field(60, ge=1, le=86_400, description="Length of the window.")
    idempotency_retention_hours: int = Field(
        24, ge=1, description="Hours that the answer to a request under an Idempotency-Key is kept."
    )
    trusted_proxies: str = Field(
        "127.0.0.1", description="Proxies whose X-Forwarded-For and -Proto are believed: addresses, networks, or `*`."
    )
    cors_origins: str = Field(
        "", description="Origins whose pages may call the API, `https://shop.example, https://...`; unset: none."
    )
    metrics_token: SecretStr | None = Field(
        None, description="Bearer token of /metrics; unset: it answers callers on this machine only."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Least severe lines of the API's log; each request is one of INFO, probes of DEBUG."
    )

    @property
    def home_path(self) -> Path:
        """The home as an absolute path."""
        return self.home.expanduser().absolute()


@cache
def get_settings() -> Settings:
    """The settings of this process, read once."""
    return Settings()
