"""Getting Claude's help with a proposal: cache, budget, log, and the words for people where there is no help.

A proposal never fails for it: without a key, a budget or an answer the rules stand, and the notices say so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from pim_platform.catalog.schema import ProductSchema
from pim_platform.intake.mapping import claude
from pim_platform.intake.mapping.learned import Learned
from pim_platform.intake.mapping.prices import model_named, price_date
from pim_platform.intake.mapping.question import Choice, Question, choices_of, hints_of, open_columns, question_about
from pim_platform.intake.models import MappingAnswer
from pim_platform.intake.proposal import Proposal, refined
from pim_platform.intake.workspace import Workspace
from pim_platform.settings import Settings
from pim_platform.storage.postgres import tenant_session
from pim_platform.tenancy.usage import reserve, settle

_NO_KEY = "no key is set (PIM_ANTHROPIC_API_KEY)"


def assist(
    workspace: Workspace,
    tenant_id: UUID,
    job_id: UUID,
    proposal: Proposal,
    schema: ProductSchema,
    learned: Mapping[str, Learned],
) -> Proposal:
    """The proposal with Claude's answers about its open columns, or with a notice that says why there are none.

    ``learned`` is what the proposal was refined with: it holds whatever Claude says.
    """
    if claude.api_key(workspace.settings) is None:
        return _noticed(proposal, _NO_KEY)
    question = question_about(proposal.columns, proposal.profiles, schema)
    if question is None:
        return proposal
    choices = _cached(workspace, tenant_id, question)
    if choices is None:
        choices, problem = _bought(workspace, tenant_id, job_id, question)
        if choices is None:
            return _noticed(proposal, problem)
    return _answered(proposal, question, choices, schema, learned)


def assist_without_server(proposal: Proposal, settings: Settings) -> Proposal:
    """The same where no server is: no cache, no budget, no log. For a person who asks for it."""
    if claude.api_key(settings) is None:
        return _noticed(proposal, _NO_KEY)
    question = question_about(proposal.columns, proposal.profiles, None)
    if question is None:
        return proposal
    reply = claude.ask(settings, question)
    if reply.choices is None:
        return _noticed(proposal, reply.message)
    answered = _answered(proposal, question, reply.choices, None, {})
    cost = claude.cost_of(settings, reply)
    note = f"Claude was asked without a server: its cost (about {cost:.5f} USD) is in no log and no budget."
    return answered.model_copy(update={"notices": [*answered.notices, note]})


def _answered(
    proposal: Proposal,
    question: Question,
    choices: Sequence[Choice],
    schema: ProductSchema | None,
    learned: Mapping[str, Learned],
) -> Proposal:
    better = refined(proposal, schema, learned=learned, hints=hints_of(question, choices, schema))
    if question.left_out:
        note = (
            f"Claude was asked about {len(question.options)} columns; {question.left_out} more were left as they are."
        )
        better = better.model_copy(update={"notices": [*better.notices, note]})
    return better


def _noticed(proposal: Proposal, why: str) -> Proposal:
    """The proposal with the reason why its open columns, if it has any, are as the rules left them."""
    count = len(open_columns(proposal.columns, proposal.profiles))
    if count == 0:
        return proposal
    which = "1 column was" if count == 1 else f"{count} columns were"
    return proposal.model_copy(update={"notices": [*proposal.notices, f"{which} decided without Claude: {why}."]})


def _cached(workspace: Workspace, tenant_id: UUID, question: Question) -> list[Choice] | None:
    with tenant_session(workspace.app, tenant_id) as session:
        answer = session.scalar(
            select(MappingAnswer.answer).where(
                MappingAnswer.tenant_id == tenant_id,
                MappingAnswer.question_digest == question.digest,
                MappingAnswer.model == workspace.settings.anthropic_model,
            )
        )
    return choices_of(answer)


def _bought(workspace: Workspace, tenant_id: UUID, job_id: UUID, question: Question) -> tuple[list[Choice] | None, str]:
    """Claude's choices within the budget, logged and kept; or None and why not."""
    settings = workspace.settings
    model, known = model_named(settings.anthropic_model)
    reservation = reserve(
        workspace.app,
        tenant_id,
        claude.worst_cost(settings, question),
        default_budget=settings.anthropic_daily_budget_usd,
        endpoint=claude.ENDPOINT,
        job_id=str(job_id),
        details={
            "purpose": "mapping",
            "model": settings.anthropic_model,
            "prompt": question.prompt,
            "columns": len(question.options),
            "prices": {
                "date": str(price_date()),
                "known": known,
                "input": str(model.input),
                "output": str(model.output),
            },
        },
    )
    if reservation is None:
        return None, "today's budget for Claude does not cover it"
    reply = claude.ask(settings, question)
    cost = None if reply.billed is None else claude.cost_of(settings, reply) if reply.billed else Decimal(0)
    settle(
        workspace.app,
        tenant_id,
        reservation,
        cost=cost,
        outcome=reply.problem or "answered",
        tokens_input=reply.tokens_input,
        tokens_output=reply.tokens_output,
        http_status=reply.http_status,
        response_time_ms=reply.milliseconds,
        error=reply.message or None,
    )
    if reply.choices is None:
        return None, reply.message
    with tenant_session(workspace.app, tenant_id) as session:
        kept = {"model": settings.anthropic_model, "prompt": question.prompt, "answer": reply.answer}
        session.execute(
            insert(MappingAnswer)
            .values(tenant_id=tenant_id, question_digest=question.digest, **kept)
            .on_conflict_do_update(index_elements=["tenant_id", "question_digest"], set_=kept)
        )
    return reply.choices, ""
