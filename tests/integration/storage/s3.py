"""Settings for an S3-compatible store, each with a bucket of its own."""

from __future__ import annotations

import uuid
from typing import Any

import boto3

KEY_ID, SECRET = "test-key-id", "test-secret-key"


def s3_settings(endpoint: str, region: str = "eu-central-1") -> dict[str, Any]:
    """Make a bucket and say in settings where it is."""
    bucket = f"pim-{uuid.uuid4().hex}"
    client = boto3.client(
        "s3", endpoint_url=endpoint, region_name=region, aws_access_key_id=KEY_ID, aws_secret_access_key=SECRET
    )
    client.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": region})
    client.close()
    return {
        "object_store_url": f"s3://{bucket}",
        "object_store_endpoint": endpoint,
        "object_store_region": region,
        "object_store_access_key_id": KEY_ID,
        "object_store_secret_access_key": SECRET,
    }
