"""What a column means whose name is a path (``offers.price``, ``PRODUCT_DETAILS/EAN``, ``variants[].sku``).

The last part says what it is, the parts above say of what: ``brand.name`` is a brand, ``seller.name`` is somebody
else's, ``attributes.name`` is the product's own. Parts that only hold the product (``data``, ``ARTICLE_DETAILS``)
are passed over. A part nobody knows makes the meaning doubtful.
"""

from __future__ import annotations

from dataclasses import replace

from pim_platform.catalog.schema import FieldType
from pim_platform.intake.mapping.by_name import by_name
from pim_platform.intake.mapping.candidate import EXACT, STRIPPED, WEAK, Candidate
from pim_platform.intake.mapping.dictionary import Dictionary, dictionary
from pim_platform.intake.mapping.lookup import known
from pim_platform.intake.mapping.names import HeaderFacts, fold

#: Meaning below a parent that nobody knows: proposed, and looked at by a person.
_UNKNOWN_PARENT = 0.8
#: Meanings that a part of a path can have in any language, so that what is below it belongs to it.
_THINGS = frozenset(
    [
        "brand", "manufacturer", "category", "tags", "image_url", "color", "size", "material", "weight", "gtin",
        "price", "compare_at_price", "cost", "stock_quantity", "description", "name", "url", "seo_title",
        "seo_description",
    ]
)  # fmt: skip
#: Parts of GraphQL's lists: ``node.id`` is no "node id", the name of a category at Amazon.
_WRAPPERS = frozenset({"edges", "edge", "nodes", "node"})
#: Meanings that are the product's whatever holds them.
_SPECIFIC = frozenset({"sku", "gtin", "mpn", "price", "compare_at_price", "cost", "stock_quantity", "weight"})


def by_path(facts: HeaderFacts) -> list[Candidate]:
    """The meanings of a path; empty where its parts say nothing."""
    names = dictionary()
    parts = [known(part) for part in facts.alternatives]
    if len(parts) > 1 and all(part is not None and part.component for part in parts):
        return [Candidate("dimensions", STRIPPED, "its parts are dimensions")]
    parents = [_referred(_plain(part, names)) for part in facts.parents]
    leaf = _plain(facts.leaf, names)
    if facts.attribute and leaf in ("type", "context", "graph", "xmlns", "lang"):
        return [Candidate("ignore", EXACT, f"'@{leaf}' belongs to the format, not to the product")]
    if is_pair(facts):
        return [Candidate("attribute", EXACT, "part of a list of names and values")]
    foreign = [part for part in parents if part in names.words["foreign"]]
    found = _joined(parents, leaf, names)
    if facts.xml and leaf == "description short":
        return [Candidate("name", EXACT, "BMEcat's short description is the product's name")]
    if found is not None and (not foreign or found.target in ("attribute", "ignore")):
        return [found]
    if foreign:
        about = foreign[-1]
        base = known(leaf)
        if base is not None and base.target == "ignore":
            return [base]
        several = any(facts.lists) and not any(part in names.words["containers"] for part in parents[:1])
        kind: FieldType | None = "array" if several else _hint(base)
        return [Candidate("attribute", EXACT, f"'{leaf}' of '{about}', not of the product", type=kind)]
    said = [part for part in parents if _says(part, names)]
    # "Category/Name/@Value": a name within something is that thing's name.
    while len(said) > 1 and said[-1] in names.words["leaves"]:
        said.pop()
    if said:
        return _below(said[-1], leaf, names)
    plain = HeaderFacts(leaf, leaf, facts.locale, facts.currency, facts.unit, facts.question)
    found_here = by_name(plain)
    unknown = [part for part in parents if not _holds_only(part, names)]
    if unknown and found_here:
        best = found_here[0]
        if best.target in _SPECIFIC:
            return [replace(best, score=min(best.score, _UNKNOWN_PARENT))]
        return [Candidate("attribute", STRIPPED, f"'{leaf}' of '{unknown[-1]}'", type=_hint(best))]
    return found_here


def is_pair(facts: HeaderFacts) -> bool:
    """Whether the column is the name, value or unit of a list of names and values."""
    names = dictionary()
    leaf, pairs = facts.leaf, names.words["pairs"]
    # In JSON the list is marked; in XML an element of such a name is one.
    marked = facts.xml or any(facts.lists[:-1])
    return bool(facts.parents) and facts.parents[-1] in pairs and leaf in names.words["pair leaves"] and marked


def _plain(part: str, names: Dictionary) -> str:
    return names.short_tags.get(part, part)


def _referred(part: str) -> str:
    """``categ_id/name`` (Odoo): what a reference refers to."""
    for end in (" id", " ids"):
        if part.endswith(end):
            return part.removesuffix(end)
    return part


def _holds_only(part: str, names: Dictionary) -> bool:
    """Whether a part says nothing but that it holds the product: "data", "ARTICLE_DETAILS", "Товар"."""
    fillers = names.words["fillers"]
    return part in names.words["containers"] or all(word in fillers or fold(word) in fillers for word in part.split())


def _thing(part: str, names: Dictionary) -> str | None:
    """The target that a part of a path is about."""
    for form in (part, fold(part)):
        if form in names.entities:
            return names.entities[form]
        if form in names.words["money"]:
            return "price"
    if _holds_only(part, names):
        return None
    found = known(part)
    return found.target if found is not None and found.target in _THINGS else None


def _says(part: str, names: Dictionary) -> bool:
    return part in names.components or _thing(part, names) is not None


def _joined(parents: list[str], leaf: str, names: Dictionary) -> Candidate | None:
    """What the last parts mean read as one name; of the last alone only where it is more than one word."""
    telling = [part for part in parents if not _holds_only(part, names)]
    parents = telling or [part for part in parents if part not in _WRAPPERS]
    for count in (2, 1):
        if len(parents) >= count:
            found = known(" ".join([*parents[-count:], leaf]), EXACT)
            if found is not None:
                return found
    if " " in leaf:
        found = known(leaf, EXACT)
        if found is not None:
            return found
    return None


def _hint(found: Candidate | None) -> FieldType | None:
    return found.type if found is not None and found.target == "attribute" else None


def _below(parent: str, leaf: str, names: Dictionary) -> list[Candidate]:
    """The meaning of a part of something known: its name or value is the thing, its id is not."""
    own = known(leaf, EXACT)
    if parent in names.components and parent not in names.entities:
        part = names.components[parent]
        if leaf in names.words["leaves"]:
            return [Candidate("dimensions", EXACT, f"'{leaf}' of '{parent}'", part, component=part)]
        return [Candidate("attribute", STRIPPED, f"'{leaf}' of '{parent}'", type=_hint(own))]
    target = _thing(parent, names) or "price"
    if own is not None and own.target in (target, "currency", "ignore"):
        return [own]
    if target == "price" and (kind := known(f"{leaf} price")) is not None:
        return [kind]
    if target == "price" and own is not None and (own.target in ("compare_at_price", "cost") or own.type == "price"):
        return [own]
    if leaf in names.words["leaves"] or leaf == parent:
        if target == "price" and leaf in ("name", "title", "label", "text", "code value", "data", "description"):
            return [Candidate("attribute", STRIPPED, f"'{leaf}' of '{parent}'")]
        if target in ("brand", "manufacturer", "category", "tags") and leaf in (
            "url",
            "link",
            "href",
            "src",
            "description",
        ):
            return [Candidate("attribute", STRIPPED, f"'{leaf}' of '{parent}', not of the product")]
        if target == "image_url" and leaf in ("name", "title", "label", "text", "description", "body", "code value"):
            return [Candidate("attribute", STRIPPED, f"'{leaf}' of an image")]
        if target == "option_name" and leaf in ("value", "values", "data", "content"):
            target = "option_value"
        return [Candidate(target, EXACT - 0.01, f"'{leaf}' of '{parent}' is the {target}")]
    if leaf == "language" and target in ("name", "description", "seo_title", "seo_description"):
        return [Candidate(target, WEAK, f"'{parent}' once per language")]  # PrestaShop's web service
    if target == "option_name" and own is not None and own.target == "option_value":
        return [own]
    if (
        target in ("stock_quantity", "weight")
        and own is not None
        and own.target in ("stock_quantity", "weight", "weight_unit")
    ):
        return [own]
    if target == "price" and own is not None and own.target in ("price", "attribute"):
        return [own]
    return [Candidate("attribute", STRIPPED, f"'{leaf}' of '{parent}'", type=_hint(own))]
