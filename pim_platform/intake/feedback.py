"""What became of proposals: every column of every confirmation is kept, measured, and taught to the next proposal."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from pim_platform.intake.mapping import ColumnMapping, Mapping
from pim_platform.intake.mapping.learned import Decision, Learned, learn
from pim_platform.intake.mapping.models import header_key
from pim_platform.intake.models import ImportJob, MappingFeedback
from pim_platform.intake.profile import ColumnProfile

#: Who stands behind a confirmation: a person who looked, a policy, or somebody who did not look (`--yes`).
Evidence = Literal["person", "policy", "unseen"]

#: Lower ends of the bands that confidence is measured in; a band ends where the next begins.
BANDS = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95)

#: Precision that a tier has to be shown to have, before what it says counts as sure without the rules' own word.
_SURE_PRECISION = 0.95
#: The same as a share that disproves it, and the least evidence to judge by.
_DISPROVED, _LEAST = 0.9, 20
#: Two-sided 95 % quantile of the normal distribution, for Wilson's interval.
_Z = 1.96

#: Decisions that are read per header: more of them change nothing.
_REMEMBERED = 200


@dataclass(frozen=True)
class Accuracy:
    """How often people agreed with the proposals of one tier and band."""

    tier: str
    band: float
    columns: int
    correct: int
    auto: int
    auto_correct: int

    @property
    def precision(self) -> float | None:
        """Share that people agreed with; None without evidence."""
        return self.correct / self.columns if self.columns else None

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the precision."""
        return wilson(self.correct, self.columns)

    def as_json(self) -> dict[str, Any]:
        """The names that API and CLI show."""
        low, high = self.interval
        auto = self.auto_correct / self.auto if self.auto else None
        return {
            "tier": self.tier,
            "from_confidence": self.band,
            "to_confidence": band_end(self.band),
            "columns": self.columns,
            "correct": self.correct,
            "precision": self.precision,
            "precision_low": low,
            "precision_high": high,
            "auto": self.auto,
            "auto_correct": self.auto_correct,
            "auto_precision": auto,
        }


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Wilson's 95 % score interval of a share (Wilson 1927); (0, 1) without trials."""
    if trials == 0:
        return 0.0, 1.0
    share = successes / trials
    middle = share + _Z**2 / (2 * trials)
    spread = _Z * math.sqrt(share * (1 - share) / trials + _Z**2 / (4 * trials**2))
    whole = 1 + _Z**2 / trials
    return max(0.0, (middle - spread) / whole), min(1.0, (middle + spread) / whole)


def band_of(confidence: float) -> float:
    """The lower end of the band a confidence falls in."""
    return max(band for band in BANDS if confidence >= band)


def band_end(band: float) -> float:
    """The upper end of a band."""
    return next((other for other in BANDS if other > band), 1.0)


def profile_digest(profile: ColumnProfile) -> str:
    """What a column's cells look like, roughly: equal for two deliveries of one kind of column."""
    rough = (
        profile.type,
        round(profile.null_share, 1),
        round(profile.distinct_share, 1),
        profile.max_length.bit_length(),
        round(profile.number_share, 1),
        round(profile.url_share, 1),
        round(profile.gtin_share, 1),
        profile.currency,
        profile.unit,
        profile.separator,
    )
    return hashlib.sha256(repr(rough).encode()).hexdigest()[:16]


def remember_feedback(
    session: Session, job: ImportJob, proposed: Mapping, chosen: Mapping, *, actor: str, evidence: Evidence
) -> None:
    """Keep what was proposed and what was confirmed, column by column."""
    confirmed = {column.index: column for column in chosen.columns}
    digests = job.profile_digests or []
    for column in proposed.columns:
        found = confirmed.get(column.index) or column.model_copy(update={"target": "ignore", "field": None})
        before, after = _field(column), _field(found)
        session.add(
            MappingFeedback(
                tenant_id=job.tenant_id,
                source_id=job.source_id,
                job_id=job.id,
                column_name=column.source,
                column_index=column.index,
                header_key=header_key(column.source),
                profile_digest=digests[column.index] if column.index < len(digests) else None,
                tier=column.tier,
                proposed_target=column.target,
                proposed_field=before,
                confirmed_target=found.target,
                confirmed_field=after,
                confirmed=found.model_dump(exclude_defaults=True) | {"source": column.source, "index": column.index},
                confidence=column.confidence,
                auto=column.auto,
                correct=before == after,
                actor=actor,
                evidence=evidence,
            )
        )


def learned_columns(session: Session, job: ImportJob, headers: Iterable[str]) -> dict[str, Learned]:
    """What people of the session's tenant decided for these headers, for a file of the job's source."""
    keys = sorted({key for header in headers if (key := header_key(header))})
    rank = func.row_number().over(
        partition_by=MappingFeedback.header_key, order_by=(MappingFeedback.created_at.desc(), MappingFeedback.id.desc())
    )
    latest = (
        select(MappingFeedback.id, rank.label("rank"))
        .where(
            MappingFeedback.tenant_id == session.info["tenant_id"],
            MappingFeedback.header_key.in_(keys),
            MappingFeedback.evidence == "person",
            MappingFeedback.confirmed.is_not(None),
        )
        .subquery()
    )
    rows = session.scalars(
        select(MappingFeedback)
        .join(latest, latest.c.id == MappingFeedback.id)
        .where(MappingFeedback.tenant_id == session.info["tenant_id"], latest.c.rank <= _REMEMBERED)
        .order_by(MappingFeedback.created_at, MappingFeedback.id)
    )
    decisions = [Decision(row.header_key, row.source_id, ColumnMapping.model_validate(row.confirmed)) for row in rows]
    return learn(decisions, job.source_id)


def mapping_accuracy(session: Session, source_id: object | None = None) -> list[Accuracy]:
    """Precision per tier and band of the session's tenant, by what people decided; of one source, if given."""
    rows = session.execute(
        text(
            "SELECT tier, width_bucket(confidence, cast(:bands AS double precision[])) AS bucket, count(*) AS columns, "
            "count(*) FILTER (WHERE correct) AS correct, count(*) FILTER (WHERE auto) AS auto, "
            "count(*) FILTER (WHERE auto AND correct) AS auto_correct FROM pim.mapping_feedback "
            "WHERE tenant_id = :tenant AND evidence = 'person' "
            "AND (cast(:source AS uuid) IS NULL OR source_id = :source) GROUP BY 1, 2 ORDER BY 1, 2"
        ),
        {"bands": list(BANDS), "tenant": session.info["tenant_id"], "source": source_id},
    )
    return [
        Accuracy(row.tier, BANDS[row.bucket - 1], row.columns, row.correct, row.auto, row.auto_correct) for row in rows
    ]


def with_measured_trust(columns: Sequence[ColumnMapping], measured: Iterable[Accuracy]) -> list[ColumnMapping]:
    """``auto`` as far as this tenant's own figures go; a pure decision.

    What Claude says becomes sure only where people agreed often enough that its precision lies above 95 % with 95 %
    confidence (73 columns without an error, more with one). What a tier calls sure is no longer so where that is
    disproved: on at least 20 columns of its band the precision lies below 90 % with 95 % confidence.
    """
    figures = {(one.tier, one.band): one for one in measured}
    result = []
    for column in columns:
        found = figures.get((column.tier, band_of(column.confidence)))
        low, high = found.interval if found else (0.0, 1.0)
        enough = found is not None and found.columns >= _LEAST
        if column.tier == "claude" and enough and low >= _SURE_PRECISION:
            column = column.model_copy(update={"auto": True})
        elif column.auto and enough and high < _DISPROVED and column.tier not in ("template", "learned"):
            column = column.model_copy(update={"auto": False})
        result.append(column)
    return result


def _field(column: ColumnMapping) -> str | None:
    return None if column.ignored else column.field
