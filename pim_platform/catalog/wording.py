"""What a search text means: words that a product must have, with prefixes and slips of the hand where needed.

Three steps, each taken where the one before finds nothing: all words as they are (or the beginning of a SKU); all
words, where an unknown one may be the beginning of a word or differ by one or two edits; any of these words. The words
that exist are read from the index itself, so there is no dictionary to keep.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pim_platform.catalog.conditions import Clause
from pim_platform.catalog.identity import sku_key
from pim_platform.catalog.relation import Relation, Stores, ask
from pim_platform.catalog.typed_relations import NAME, NAME_WORDS, WORDS, folded

#: Words of a search text that count; the rest of a longer one is too much for anybody to mean.
MAXIMUM_WORDS = 16
#: The steps, by what they are called in a cursor.
EXACT, SIMILAR, ANY = 0, 1, 2

_COMPLETIONS = 20
_CORRECTIONS = 10
_ASCII_WORD = re.compile(r"[a-z0-9]+")


@dataclass(frozen=True)
class Wording:
    """A search text as one step understands it: ``groups`` of words that stand for each other."""

    step: int
    key: str
    folded: str
    groups: tuple[tuple[str, ...], ...]

    def condition(self, clause: Clause) -> str:
        """SQL that is true for the products found."""
        return f"({self.by_words(clause)}) OR {self.by_key(clause)}"

    def by_words(self, clause: Clause, column: str = WORDS) -> str:
        """The part of it that the index of words answers, or that of names."""
        if not self.groups:
            return "false"
        if self.step == EXACT:
            return f"hasAllTokens({column}, {clause.bind([group[0] for group in self.groups], 'Array(String)')})"
        if self.step == ANY:
            words = sorted({word for group in self.groups for word in group})
            return f"hasAnyTokens({column}, {clause.bind(words, 'Array(String)')})"
        return " AND ".join(f"hasAnyTokens({column}, {self._bound(group, clause)})" for group in self.groups)

    def by_key(self, clause: Clause) -> str:
        """The part of it that the order of the keys answers."""
        return f"startsWith(sku_key, {clause.bind(self.key, 'String')})" if self.step == EXACT else "false"

    def bands(self, clause: Clause) -> list[tuple[str, str]]:
        """What is found, the best first, in parts that have nothing in common: a rank and a condition each.

        The SKU itself, SKUs that begin so, names of just these words, names with all of them, other texts. Each is
        answered by an index or the order of keys, so a page ends with its last product instead of reading all that are
        found. Where any word will do, products with more of them come first.
        """
        words, name, key = self.by_words(clause), self.by_words(clause, NAME), clause.bind(self.key, "String")
        if self.step == ANY:
            found = " + ".join(f"hasAnyTokens({WORDS}, {self._bound(group, clause)})" for group in self.groups)
            return [(f"2 * ({found}) + ({name})", words)]
        begins = f"startsWith(sku_key, {key})" if self.step == EXACT else "false"
        exactly = f"{NAME_WORDS} = {len(self.groups)}"
        bands = [
            (f"if(sku_key = {key}, 4, 3)", begins),
            ("2", f"{name} AND {exactly} AND NOT {begins}"),
            ("1", f"{name} AND NOT ({exactly}) AND NOT {begins}"),
            ("0", f"{words} AND NOT ({name}) AND NOT {begins}"),
        ]
        if self.step != EXACT:
            return bands[1:]
        return bands if self.groups else bands[:1]

    def _bound(self, group: tuple[str, ...], clause: Clause) -> str:
        return clause.bind(list(group), "Array(String)")


def words_of(stores: Stores, relation: Relation, q: str) -> tuple[str, tuple[str, ...]]:
    """A search text folded as the index is, and its words."""
    text = q.lower()
    if text.isascii():
        return text, tuple(dict.fromkeys(_ASCII_WORD.findall(text)))[:MAXIMUM_WORDS]
    clause = Clause()
    text, words = ask(
        stores, relation, f"SELECT {folded('q')} AS f, tokens(f) FROM (SELECT {clause.bind(q, 'String')} AS q)", clause
    )[0]
    return " ".join(text.split()), tuple(dict.fromkeys(words))[:MAXIMUM_WORDS]


def exact(stores: Stores, relation: Relation, q: str) -> Wording:
    """The first step."""
    text, words = words_of(stores, relation, q)
    return Wording(EXACT, sku_key(q), text, tuple((word,) for word in words))


def wider(stores: Stores, relation: Relation, found_nothing: Wording) -> Wording | None:
    """The step after one that found nothing; None after the last."""
    if found_nothing.step == ANY or not found_nothing.groups:
        return None
    if found_nothing.step == SIMILAR:
        return Wording(ANY, found_nothing.key, found_nothing.folded, found_nothing.groups)
    words = [group[0] for group in found_nothing.groups]
    groups = tuple(tuple(alike) for alike in _alike(stores, relation, words) if alike)
    if not groups:
        return None
    # Where a word resembles nothing at all, no product has all of them.
    step = SIMILAR if len(groups) == len(words) else ANY
    return Wording(step, found_nothing.key, found_nothing.folded, groups)


def wording_of(stores: Stores, relation: Relation, q: str, condition: str, filtered: Clause) -> Wording:
    """The step at which ``q`` finds something among the products that meet ``condition``; the last one if none does."""
    wording = exact(stores, relation, q)
    while True:
        clause = Clause(dict(filtered.parameters))
        for part in (wording.by_words(clause), wording.by_key(clause)):
            if part != "false" and ask(
                stores, relation, f"SELECT 1 FROM {{rows}} WHERE ({part}) AND {condition} LIMIT 1", clause
            ):
                return wording
        following = wider(stores, relation, wording)
        if following is None:
            return wording
        wording = following


def _alike(stores: Stores, relation: Relation, words: list[str]) -> list[list[str]]:
    """For each word those of the vocabulary that may be meant: itself, longer ones, and if unknown similar ones."""
    clause = Clause()
    query = f"SELECT DISTINCT token FROM {{vocabulary}} WHERE token IN {clause.bind(words, 'Array(String)')}"
    known = {row[0] for row in ask(stores, relation, query, clause)}
    return [_like(stores, relation, word, word in known) for word in words]


def _like(stores: Stores, relation: Relation, word: str, known: bool) -> list[str]:
    clause = Clause()
    bound = clause.bind(word, "String")
    longer = (
        f"SELECT token FROM {{vocabulary}} WHERE startsWith(token, {bound}) "
        f"GROUP BY token ORDER BY sum(cardinality) DESC, token LIMIT {_COMPLETIONS}"
    )
    found = [row[0] for row in ask(stores, relation, longer, clause)] if len(word) > 1 else []
    if known:
        return list(dict.fromkeys([word, *found]))
    edits = edits_of(word)
    if edits:
        distance = "damerauLevenshteinDistance" if word.isascii() else "editDistanceUTF8"
        similar = (
            # Codes come before the first letter, and need not be read.
            f"SELECT token FROM {{vocabulary}} WHERE token >= 'a' "
            f"AND lengthUTF8(token) BETWEEN {len(word) - edits} AND {len(word) + edits} "
            f"AND NOT match(token, '[0-9]') AND {distance}(token, {bound}) <= {edits} "
            f"GROUP BY token ORDER BY any({distance}(token, {bound})), sum(cardinality) DESC, token "
            f"LIMIT {_CORRECTIONS}"
        )
        found += [row[0] for row in ask(stores, relation, similar, clause)]
    return list(dict.fromkeys(found))


def edits_of(word: str) -> int:
    """How many edits a word may be away from what was meant: none up to 2 letters, 1 up to 5, then 2.

    As Elasticsearch's fuzziness AUTO. Words with digits are codes: a similar one is another thing.
    """
    if any(letter.isdigit() for letter in word):
        return 0
    return 0 if len(word) <= 2 else 1 if len(word) <= 5 else 2
