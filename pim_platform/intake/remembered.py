"""What a person said of a source's files is remembered once it is confirmed, and holds for the next of them.

It is kept with the format it was said of: a delimiter means nothing for a workbook. Where a file cannot be read by it,
the file is read as if nothing were remembered, and the proposal says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pim_platform.errors import BadInput
from pim_platform.intake.models import ImportJob, Source
from pim_platform.intake.proposal import Proposal, propose
from pim_platform.intake.readers.opening import OpenFile


def remember_dialect(source: Source, job: ImportJob) -> None:
    """Keep what was said of the dialect of a job that is being confirmed; nothing said changes nothing."""
    if job.given_dialect and job.dialect:
        source.dialect = {"format": job.dialect["format"], "changes": job.given_dialect}


def propose_as_remembered(
    path: Path,
    remembered: Mapping[str, Any] | None,
    changes: Mapping[str, Any] | None,
    *,
    filename: str,
    **options: Any,
) -> tuple[Proposal, dict[str, Any]]:
    """The proposal for a file, and what it was told of the dialect: ``changes`` go before what is ``remembered``.

    ``options`` and what is raised are those of :func:`pim_platform.intake.proposal.propose`.
    """
    own = dict(changes or {})
    kept = _fitting(path, filename, remembered, own)
    if not kept:
        return propose(path, filename=filename, changes=own or None, **options), own
    told = ", ".join(f"{name} {value!r}" for name, value in kept.items())
    try:
        proposal = propose(path, filename=filename, changes={**kept, **own}, **options)
    except BadInput as error:
        proposal = propose(path, filename=filename, changes=own or None, **options)
        notice = f"What is remembered of this source's files ({told}) does not fit this one: {error.message}"
        return _with_notice(proposal, notice), own
    notice = f"Read as confirmed before for this source: {told}. PATCH the source with dialect null to forget it."
    return _with_notice(proposal, notice), {**kept, **own}


def _fitting(path: Path, filename: str, remembered: Mapping[str, Any] | None, own: Mapping[str, Any]) -> dict[str, Any]:
    """What is remembered of files of this format, except where the person says otherwise."""
    if not remembered:
        return {}
    member = {**remembered["changes"], **own}.get("member")
    try:
        with OpenFile(path, filename) as file:
            kind = file.kind(member)
            if kind.format == "csv" and file.is_own():
                return {}  # an export says itself how it is written
    except BadInput:  # such as an archive that lacks the member: reading it plainly tells what is wrong
        return {}
    if kind.format != remembered["format"]:
        return {}
    return {name: value for name, value in remembered["changes"].items() if name not in own}


def _with_notice(proposal: Proposal, notice: str) -> Proposal:
    return proposal.model_copy(update={"notices": [*proposal.notices, notice]})
