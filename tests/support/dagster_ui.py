"""Asking Dagster's web server what its pages show, over its own GraphQL."""

from __future__ import annotations

from typing import Any

import httpx

_ASSET = """
query($path: [String!]!) {
  assetNodeOrError(assetKey: {path: $path}) {
    ... on AssetNode {
      assetMaterializations(limit: 20) {
        partition
        metadataEntries { label ... on IntMetadataEntry { intValue } ... on JsonMetadataEntry { jsonString } }
      }
      assetChecksOrError {
        ... on AssetChecks { checks { name executionForLatestMaterialization { status } } }
      }
    }
  }
}
"""
_CHECK = """
query($path: [String!]!, $name: String!) {
  assetCheckExecutions(assetKey: {path: $path}, checkName: $name, limit: 20) {
    status
    evaluation { success partition }
  }
}
"""
_RUNS = """
query($tag: String!, $value: String!) {
  runsOrError(filter: {tags: [{key: $tag, value: $value}]}) { ... on Runs { results { runId status } } }
}
"""
_TERMINATE = """
mutation($run: String!) {
  terminateRun(runId: $run) { __typename ... on PythonError { message } ... on TerminateRunFailure { message } }
}
"""


def _ask(url: str, query: str, variables: dict[str, Any]) -> dict[str, Any]:
    answer = httpx.post(f"{url}/graphql", json={"query": query, "variables": variables}, timeout=60).json()
    assert "errors" not in answer, answer["errors"]
    data: dict[str, Any] = answer["data"]
    return data


def materialisations(url: str, path: list[str], partition: str) -> list[dict[str, Any]]:
    """The metadata of an asset's newest materialisations for a partition, newest first."""
    node = _ask(url, _ASSET, {"path": path})["assetNodeOrError"]
    return [
        {entry["label"]: entry.get("intValue", entry.get("jsonString")) for entry in one["metadataEntries"]}
        for one in node["assetMaterializations"]
        if one["partition"] == partition
    ]


def check_results(url: str, path: list[str], name: str, partition: str) -> list[bool]:
    """The outcomes of a check for a partition, newest first."""
    found = _ask(url, _CHECK, {"path": path, "name": name})["assetCheckExecutions"]
    return [
        one["evaluation"]["success"]
        for one in found
        if one["evaluation"] is not None and one["evaluation"].get("partition") == partition
    ]


def runs_with(url: str, tag: str, value: str) -> dict[str, str]:
    """The status of every run that carries the tag, by run id."""
    found = _ask(url, _RUNS, {"tag": tag, "value": value})["runsOrError"]["results"]
    return {run["runId"]: run["status"] for run in found}


def terminate(url: str, run_id: str) -> None:
    """Press a run's "Terminate", without force."""
    answer = _ask(url, _TERMINATE, {"run": run_id})["terminateRun"]
    assert answer["__typename"] == "TerminateRunSuccess", answer
