"""Any sequence of writes leaves the catalogue as a plain Python model says, in both engines.

Imports of two sources (partial columns, empty cells, other spellings, bad cells, new fields, full feeds with every
policy), at once or as promoted dry runs, upserts, single writes, renames, bulk edits and deletes over the API's
functions, undos, and undos of undos. The
model knows the rules of designs D2, D3, D4, D6, D9 and D15 and nothing of SQL; ids, ledgers, counts and previews are
compared too. What a promotion committed is put together again from the change log: it is the exported preview, byte
for byte.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy import text

from pim_platform.catalog.checksum import compare_engines
from pim_platform.catalog.deleting import Selection
from pim_platform.catalog.schemas import current_schema
from pim_platform.errors import Conflict
from pim_platform.intake.bulk import bulk_upsert
from pim_platform.intake.bulk_jobs import confirm_bulk, preview_edit
from pim_platform.intake.cancelling import cancel_job
from pim_platform.intake.promoting import CATALOGUE_MOVED, promote_job
from pim_platform.intake.removing import delete_selection, release_job
from pim_platform.intake.running import run_at_once
from pim_platform.intake.undoing import preview_undo_job, undo_job
from pim_platform.intake.workspace import Workspace
from pim_platform.intake.writing import create_product, delete_product, patch_product, replace_product
from pim_platform.storage.clickhouse import quote_identifier
from pim_platform.storage.postgres import tenant_session
from pim_platform.tenancy.tenants import TenantInfo
from tests.support.diffs import committed_diff, previewed_diff
from tests.support.imports import ACTOR, import_bytes, run_job

FIELDS = {"color": "string", "weight": "number", "size": "string"}
HEADERS = {"name": "Name", "active": "Active", "color": "Colour", "weight": "Weight", "size": "Size"}
HOLD_ABOVE = 0.2


# --- the model ---------------------------------------------------------------------------------------------------


@dataclass
class Product:
    """A product: ``values`` are its columns and fields alike."""

    number: int
    sku: str
    values: dict[str, Any]

    @property
    def key(self) -> str:
        return self.sku.strip().lower()


@dataclass
class Change:
    """What one commit did to one product."""

    kind: str  # create, recreate, update, delete
    old: dict[str, Any] = field(default_factory=dict)
    new: dict[str, Any] = field(default_factory=dict)
    image: Product | None = None


@dataclass
class Job:
    """An import, a delete or an undo; ``commit`` is its place in the log."""

    id: UUID
    kind: str
    commit: int | None
    source: str = ""
    full_keys: set[str] | None = None
    state: str = "done"
    undone_by: Job | None = None
    undoes: Job | None = None


@dataclass
class Model:
    """A catalogue and its log."""

    products: dict[int, Product] = field(default_factory=dict)
    log: list[dict[int, Change]] = field(default_factory=list)
    made: int = 0

    def by_key(self, key: str) -> Product | None:
        return next((product for product in self.products.values() if product.key == key), None)

    def commit(self, changes: dict[int, Change]) -> int | None:
        for number, change in changes.items():
            if change.kind == "delete":
                change.image = copy.deepcopy(self.products.pop(number))
            elif change.kind == "update":
                values = self.products[number].values
                for name in {*change.old, *change.new}:
                    values.pop(name, None)
                values.update(change.new)
                self.products[number].sku = values.pop("sku", self.products[number].sku)
            else:
                assert change.image is not None
                self.products[number] = copy.deepcopy(change.image)
        if not changes:
            return None
        self.log.append(changes)
        return len(self.log) - 1

    def patch(self, rows: list[tuple[str, dict[str, Any]]]) -> tuple[dict[int, Change], dict[str, int]]:
        """What rows (SKU, given values) do: as if imported one after another, a name only to create (D3)."""
        folded: dict[str, tuple[str, dict[str, Any], int]] = {}
        for sku, given in rows:
            first, values, count = folded.get(sku.strip().lower(), (sku.strip(), {}, 0))
            folded[sku.strip().lower()] = (first, values | given, count + 1)
        ledger = {"created": 0, "updated": 0, "unchanged": 0, "rejected": 0, "superseded": 0}
        changes: dict[int, Change] = {}
        for key, (sku, given, count) in folded.items():
            known = self.by_key(key)
            if known is None and "name" not in given:
                ledger["rejected"] += count
                continue
            ledger["superseded"] += count - 1
            if known is None:
                self.made += 1
                changes[self.made] = Change("create", image=Product(self.made, sku, {"active": True} | given))
                ledger["created"] += 1
                continue
            new = {name: value for name, value in given.items() if known.values.get(name) != value}
            old = {name: known.values[name] for name in new if name in known.values}
            ledger["updated" if new else "unchanged"] += 1
            if new:
                changes[known.number] = Change("update", old, new)
        return changes, ledger

    def write(self, product: Product, after: dict[str, Any]) -> dict[int, Change]:
        """What giving one product these values, and no other, does; ``sku`` may be among them."""
        before = product.values | {"sku": product.sku}
        after = {"sku": product.sku} | after
        names = {name for name in {*before, *after} if before.get(name) != after.get(name)}
        old = {name: before[name] for name in names if name in before}
        new = {name: after[name] for name in names if name in after}
        return {product.number: Change("update", old, new)} if names else {}

    def undo(self, commit: int | None) -> tuple[dict[int, Change], dict[str, int]]:
        """What undoing a commit does (D15)."""
        counts = {"restored": 0, "recreated": 0, "removed": 0, "kept": 0, "conflicts": 0}
        changes: dict[int, Change] = {}
        for number, change in (self.log[commit] if commit is not None else {}).items():
            later = [entry[number] for entry in self.log[commit + 1 :] if number in entry]  # type: ignore[operator]
            live = self.products.get(number)
            whole = any(entry.kind != "update" for entry in later)
            kept = partly = False
            if change.kind in ("create", "recreate"):
                if live is None:
                    continue
                kept = bool(later)
                if not kept:
                    changes[number] = Change("delete")
                    counts["removed"] += 1
            elif change.kind == "update":
                names = {*change.old, *change.new}
                touched = {n for n in names if whole or any(n in {*e.old, *e.new} for e in later)}
                free = names - touched
                kept = live is None or not free
                partly = bool(touched)
                if not kept:
                    changes[number] = Change(
                        "update",
                        {n: v for n, v in change.new.items() if n in free},
                        {n: v for n, v in change.old.items() if n in free},
                    )
                    counts["restored"] += 1
            else:
                assert change.image is not None
                kept = live is not None or whole or self.by_key(change.image.key) is not None
                if not kept:
                    changes[number] = Change("recreate", image=change.image)
                    counts["recreated"] += 1
            counts["kept"] += kept
            counts["conflicts"] += kept or partly
        return changes, counts


# --- the machine -------------------------------------------------------------------------------------------------

SKUS = st.sampled_from(["a", "A", "b", "B", " b ", "c", "d", "e"])
CELLS = {
    "name": st.sampled_from(["", "", "one", "two"]),
    "active": st.sampled_from(["", "yes", "no"]),
    "color": st.sampled_from(["", "red", "blue"]),
    "weight": st.sampled_from(["", "1", "2.5", "2.50", "heavy"]),
    "size": st.sampled_from(["", "S", "XL"]),
}
COLUMNS = st.sets(st.sampled_from(sorted(CELLS)), min_size=1).map(sorted)
# Feeds that lack something are rare enough among short files: every second rule is to meet one.
POLICIES = st.sampled_from(["keep", "deactivate", "deactivate", "delete", "delete"])
FULL = st.sampled_from([True, True, False])
RECORD = st.fixed_dictionaries(
    {"sku": SKUS},
    optional={
        "name": st.sampled_from(["one", "three"]),
        "color": st.sampled_from(["red", "green", None]),
        "weight": st.sampled_from([1, 7.25, None]),
    },
)

DOCUMENT = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["one", "four"]),
        "color": st.sampled_from(["red", "green", None]),
        "weight": st.sampled_from([1, 7.25, None]),
    },
)
SET_RED = {"op": "set", "field": "color", "value": "red"}


@st.composite
def files(draw: st.DrawFn) -> tuple[list[str], list[tuple[str, list[str]]]]:
    columns = draw(COLUMNS)
    row = st.tuples(SKUS, st.tuples(*[CELLS[name] for name in columns]).map(list))
    return columns, draw(st.lists(row, min_size=1, max_size=6))


def value_of(name: str, cell: str) -> Any:
    return {"weight": float, "active": lambda text: text == "yes"}.get(name, str)(cell)


@dataclass(frozen=True)
class Sent:
    """A file and how it is sent."""

    columns: list[str]
    cells: list[tuple[str, list[str]]]
    source: str
    full: bool
    policy: str

    @property
    def good(self) -> list[tuple[str, list[str]]]:
        return [(sku, row) for sku, row in self.cells if "heavy" not in row]

    @property
    def content(self) -> bytes:
        lines = [",".join(["SKU", *(HEADERS[name] for name in self.columns)])]
        lines += [",".join([sku, *row]) for sku, row in self.cells]
        return ("\n".join(lines) + "\n").encode()

    @property
    def options(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "full_feed": self.full,
            "absent_rows": self.policy,
            "same_while_unfinished": False,
            "confirm": {
                "mapping": {"SKU": "sku"} | {HEADERS[name]: name for name in self.columns},
                "fields": [{"name": name, "type": FIELDS[name]} for name in self.columns if name in FIELDS],
            },
        }


def machine(workspace: Workspace, make_tenant: Callable[..., TenantInfo]) -> type[RuleBasedStateMachine]:
    class Catalogue(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.tenant = make_tenant()
            self.model = Model()
            self.jobs: list[Job] = []
            self.ids: dict[int, UUID] = {}

        # Whether the file names its own source's full content, and what is then done about the rest.
        @rule(
            file=files(),
            source=st.sampled_from(["one", "two"]),
            full=FULL,
            policy=POLICIES,
            dry=st.booleans(),
            go=st.booleans(),
        )
        def import_file(
            self,
            file: tuple[list[str], list[tuple[str, list[str]]]],
            source: str,
            full: bool,
            policy: str,
            dry: bool,
            go: bool,
        ) -> None:
            sent = Sent(*file, source, full, policy)
            made = self.model.made
            changes, ledger, gone, of = self._expected(sent)
            if dry:
                job = import_bytes(workspace, self.tenant.id, sent.content, dry_run=True, **sent.options)
                assert job.state == "staged"
                self._assert_ledger(job, ledger, sent, gone)
                self.matches()
            job = import_bytes(workspace, self.tenant.id, sent.content, **sent.options)
            assert (job.state == "held") == (len(gone) > HOLD_ABOVE * of), (job.state, job.reason, gone, of)
            if job.state == "held":
                self.matches()
                if not go:
                    assert cancel_job(workspace, self.tenant.id, job.id, ACTOR).state == "cancelled"
                    self.model.made = made
                    return
                release_job(workspace, self.tenant.id, job.id, ACTOR)
                job = run_job(workspace, self.tenant.id, job.id)
            self._committed(job, sent, changes, ledger, gone)

        @rule(
            file=files(),
            source=st.sampled_from(["one", "two"]),
            full=FULL,
            policy=POLICIES,
            meanwhile=st.one_of(st.just([]), st.lists(RECORD, min_size=1, max_size=3)),
        )
        def promote_file(
            self,
            file: tuple[list[str], list[tuple[str, list[str]]]],
            source: str,
            full: bool,
            policy: str,
            meanwhile: list[dict[str, Any]],
        ) -> None:
            """A dry run, perhaps a write of somebody else, and the promotion: a person has seen what goes."""
            sent = Sent(*file, source, full, policy)
            made = self.model.made
            _, ledger, gone, _ = self._expected(sent)
            job = import_bytes(workspace, self.tenant.id, sent.content, dry_run=True, **sent.options)
            assert job.state == "staged"
            self._assert_ledger(job, ledger, sent, gone)
            shown = previewed_diff(workspace, job)
            self.model.made = made
            if meanwhile:
                self.upsert(meanwhile)
            changes, ledger, gone, _ = self._expected(sent)
            promote_job(workspace, self.tenant.id, job.id, ACTOR)
            job = run_job(workspace, self.tenant.id, job.id)
            if job.state == "staged":
                assert meanwhile
                assert job.reason_code == CATALOGUE_MOVED
                self.matches()
                accepted, shown = shown, previewed_diff(workspace, job)
                assert accepted != shown
                promote_job(workspace, self.tenant.id, job.id, ACTOR)
                job = run_job(workspace, self.tenant.id, job.id)
            assert job.state == "done", job.reason
            assert committed_diff(workspace, job) == shown
            self._committed(job, sent, changes, ledger, gone)

        def _expected(self, sent: Sent) -> tuple[dict[int, Change], dict[str, int], list[Product], int]:
            """What importing the file now should do: changes, ledger, absent products, products of the last feed."""
            changes, ledger = self.model.patch(
                [
                    (sku, {name: value_of(name, cell) for name, cell in zip(sent.columns, row, strict=True) if cell})
                    for sku, row in sent.good
                ]
            )
            ledger["rejected"] += len(sent.cells) - len(sent.good)
            present = {sku.strip().lower() for sku, _ in sent.cells}
            gone, of = self._absent(sent.source, present, sent.policy) if sent.full else ([], 0)
            for product in gone:
                changes[product.number] = (
                    Change("delete")
                    if sent.policy == "delete"
                    else Change("update", {"active": True}, {"active": False})
                )
            return changes, ledger, gone, of

        def _committed(
            self, job: Any, sent: Sent, changes: dict[int, Change], ledger: dict[str, int], gone: list[Product]
        ) -> None:
            assert job.state == "done", job.reason
            self._assert_ledger(job, ledger, sent, gone)
            keys = {sku.strip().lower() for sku, _ in sent.good} if sent.full else None
            self.jobs.append(Job(job.id, "file", self.model.commit(changes), sent.source, keys))

        def _absent(self, source: str, present: set[str], policy: str) -> tuple[list[Product], int]:
            feeds = [j for j in self.jobs if j.source == source and j.full_keys is not None and j.state == "done"]
            if not feeds or policy == "keep":
                return [], 0
            last = feeds[-1].full_keys or set()
            found = [
                product
                for product in self.model.products.values()
                if product.key in last - present and (policy == "delete" or product.values["active"])
            ]
            return found, len(last)

        def _assert_ledger(self, job: Any, ledger: dict[str, int], sent: Sent, gone: list[Product]) -> None:
            assert job.ledger() == ledger | {"read": len(sent.cells), "merged": 0}
            assert job.rows_removed == len(gone)

        @rule(
            records=st.lists(RECORD, min_size=1, max_size=4),
        )
        def upsert(self, records: list[dict[str, Any]]) -> None:
            rows = [(r["sku"], {n: v for n, v in r.items() if n != "sku" and v is not None}) for r in records]
            changes, ledger = self.model.patch(rows)
            result = bulk_upsert(workspace, self.tenant.id, records, actor=ACTOR)
            assert result.ledger == ledger | {"read": len(records), "merged": 0}
            self.model.commit(changes)

        def _known(self, given: dict[str, Any]) -> dict[str, Any]:
            """What of a document the schema of now knows: a single write adds no field."""
            with tenant_session(workspace.app, self.tenant.id) as session:
                fields = {field.name for field in current_schema(session).fields}
            return {name: value for name, value in given.items() if name not in FIELDS or name in fields}

        def _picked(self, pick: int) -> Product:
            return sorted(self.model.products.values(), key=lambda product: product.key)[
                pick % len(self.model.products)
            ]

        @rule(sku=SKUS, document=DOCUMENT)
        def create(self, sku: str, document: dict[str, Any]) -> None:
            given = {"name": "made"} | self._known({n: v for n, v in document.items() if v is not None})
            if self.model.by_key(sku.strip().lower()) is not None:
                with pytest.raises(Conflict) as caught:
                    create_product(workspace, self.tenant.id, {"sku": sku} | given, actor=ACTOR)
                assert caught.value.code == "sku_exists"
                return
            create_product(workspace, self.tenant.id, {"sku": sku} | given, actor=ACTOR)
            self.model.made += 1
            image = Product(self.model.made, sku.strip(), {"active": True} | given)
            self.model.commit({self.model.made: Change("create", image=image)})

        @precondition(lambda self: self.model.products)
        @rule(pick=st.integers(0, 9), document=DOCUMENT, whole=st.booleans(), sku=st.one_of(st.none(), SKUS))
        def write_one(self, pick: int, document: dict[str, Any], whole: bool, sku: str | None) -> None:
            """A patch or a replacement, which may rename; the older of two ETags is of no use then."""
            product = self._picked(pick)
            given = self._known(document)
            after = {"active": True, "name": product.values["name"]} if whole else dict(product.values)
            after |= given
            after = {name: value for name, value in after.items() if value is not None}
            write: Any = replace_product if whole else patch_product
            if sku is not None:
                given["sku"], after["sku"] = sku, sku.strip()
                taken = self.model.by_key(sku.strip().lower())
                if taken is not None and taken is not product:
                    with pytest.raises(Conflict) as caught:
                        write(workspace, self.tenant.id, self.ids[product.number], given, actor=ACTOR)
                    assert caught.value.code == "sku_exists"
                    return
            changes = self.model.write(product, after)
            done = write(workspace, self.tenant.id, self.ids[product.number], given, actor=ACTOR)
            assert done.outcome == ("updated" if changes else "unchanged")
            self.model.commit(changes)

        @precondition(lambda self: self.model.products)
        @rule(pick=st.integers(0, 9))
        def delete_one(self, pick: int) -> None:
            product = self._picked(pick)
            delete_product(workspace, self.tenant.id, self.ids[product.number], actor=ACTOR)
            self.model.commit({product.number: Change("delete")})

        @rule(skus=st.lists(SKUS, max_size=3), color=st.sampled_from([None, "red"]), add=st.sampled_from([None, 1, -1]))
        def edit(self, skus: list[str], color: str | None, add: int | None) -> None:
            keys = {sku.strip().lower() for sku in skus}
            wanted = {"skus": skus} if skus else {"filter": {"active": True}}
            chosen = [p for p in self.model.products.values() if (p.key in keys if skus else p.values["active"])]
            known = self._known({"color": 1, "weight": 1})
            operations: list[dict[str, Any]] = [{"op": "set", "field": "active", "value": True}]
            if "color" in known:
                operations.append({"op": "clear", "field": "color"} if color is None else SET_RED)
            if "weight" in known and add is not None:
                operations.append({"op": "add", "field": "weight", "by": add})
            changes: dict[int, Change] = {}
            for product in chosen:
                after = product.values | {"active": True}
                if "color" in known:
                    after["color"] = color
                if "weight" in known and add is not None and "weight" in after:
                    after["weight"] += add
                changes |= self.model.write(product, {n: v for n, v in after.items() if v is not None})
            shown = preview_edit(workspace, self.tenant.id, wanted, operations, actor=ACTOR)
            assert (shown.products, shown.changed) == (len(chosen), len(changes))
            job = confirm_bulk(workspace, self.tenant.id, "edit", shown.confirmation.token, actor=ACTOR)
            job = run_at_once(workspace, job)
            assert (job.state, job.rows_updated) == ("done", len(changes))
            self.jobs.append(Job(job.id, "edit", self.model.commit(changes)))

        @rule(skus=st.lists(SKUS, max_size=3), color=st.sampled_from([None, "red"]), everything=st.integers(0, 9))
        def delete(self, skus: list[str], color: str | None, everything: int) -> None:
            if everything == 0:
                selection, chosen = Selection(everything=True), list(self.model.products.values())
            elif skus:
                keys = {sku.strip().lower() for sku in skus}
                selection = Selection(skus=tuple(skus))
                chosen = [p for p in self.model.products.values() if p.key in keys]
            else:
                selection = Selection(fields={"color": color})
                chosen = [p for p in self.model.products.values() if p.values.get("color") == color]
            done = delete_selection(workspace, self.tenant.id, selection, actor=ACTOR, origin="api")
            assert done.deleted == len(chosen)
            commit = self.model.commit({product.number: Change("delete") for product in chosen})
            self.jobs.append(Job(done.job.id, "delete", commit))

        @precondition(lambda self: self.jobs)
        @rule(back=st.integers(0, 5))
        def undo(self, back: int) -> None:
            job = self.jobs[max(0, len(self.jobs) - 1 - back)]
            if job.state == "undone" or job.undone_by is not None:
                with pytest.raises(Conflict) as caught:
                    undo_job(workspace, self.tenant.id, job.id, actor=ACTOR, origin="api")
                assert caught.value.code == ("already_undone" if job.state == "undone" else "brought_back")
                return
            changes, counts = self.model.undo(job.commit)
            shown = preview_undo_job(workspace, self.tenant.id, job.id)
            assert shown.counts.as_json() == counts
            assert len(shown.items) == counts["restored"] + counts["recreated"] + counts["removed"] + counts["kept"]
            done = undo_job(workspace, self.tenant.id, job.id, actor=ACTOR, origin="api")
            assert done.counts.as_json() == counts
            made = Job(done.job.id, "undo", self.model.commit(changes), undoes=job)
            self.jobs.append(made)
            job.state, job.undone_by = "undone", made
            above, in_force = job, True
            while above.undoes is not None:
                above, in_force = above.undoes, not in_force
                above.state = "undone" if in_force else "done"

        @invariant()
        def matches(self) -> None:
            rows = self._postgres()
            assert {row.sku_key: (row.sku, self._values(row)) for row in rows} == {
                p.key: (p.sku, p.values) for p in self.model.products.values()
            }
            numbers = {product.key: number for number, product in self.model.products.items()}
            for row in rows:
                assert self.ids.setdefault(numbers[row.sku_key], row.id) == row.id, "an id is for ever"
            assert len(set(self.ids.values())) == len(self.ids)
            assert compare_engines(workspace.app, workspace.clickhouse, self.tenant.id).equal
            if self.model.log:
                self._typed_matches()

        def _postgres(self) -> list[Any]:
            query = text("SELECT id, sku, sku_key, name, active, data FROM pim.products WHERE tenant_id = :tenant")
            with tenant_session(workspace.app, self.tenant.id) as session:
                return list(session.execute(query, {"tenant": self.tenant.id}).all())

        @staticmethod
        def _values(row: Any) -> dict[str, Any]:
            return {"name": row.name, "active": row.active, **row.data}

        def _typed_matches(self) -> None:
            found = workspace.clickhouse.query(f"SELECT * FROM {quote_identifier(self.tenant.relation)}.products")
            if not found.result_rows:
                assert not self.model.products
                return
            # A field that only a dry run or a held import brought has no column before the next publishing.
            names = [name for name in FIELDS if name in found.column_names]
            held = {name for product in self.model.products.values() for name in product.values}
            assert held - {"name", "active"} <= set(names)
            at = [found.column_names.index(name) for name in ("sku", "name", "active", *names)]
            expected = [
                (p.sku, p.values["name"], p.values["active"], *(p.values.get(name) for name in names))
                for p in self.model.products.values()
            ]
            assert _sorted(tuple(row[i] for i in at) for row in found.result_rows) == _sorted(expected)

    return Catalogue


def _sorted(rows: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return sorted(rows, key=repr)


def run(made: type[RuleBasedStateMachine], examples: int, steps: int, *, derandomize: bool) -> None:
    run_state_machine_as_test(
        made,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            phases=[Phase.generate],  # every step is an import or two: to shrink by hand is faster
            derandomize=derandomize,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_any_sequence_of_writes_leaves_what_the_model_says(
    workspace: Workspace, make_tenant: Callable[..., TenantInfo]
) -> None:
    run(machine(workspace, make_tenant), examples=8, steps=14, derandomize=True)


@pytest.mark.full
@pytest.mark.timeout(900)
def test_minutes_of_long_sequences_of_writes_leave_what_the_model_says(
    workspace: Workspace, make_tenant: Callable[..., TenantInfo]
) -> None:
    end = time.monotonic() + 180
    while time.monotonic() < end:
        run(machine(workspace, make_tenant), examples=5, steps=40, derandomize=False)
