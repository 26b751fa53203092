"""What of a cell may leave the machine: shapes stay, people and secrets go.

Pure text work on single samples; who sends them where is decided elsewhere.
"""

from __future__ import annotations

import re

#: Longest sample that is sent, in characters and in words: free text is cut, so that names further in do not leave.
LENGTH, WORDS = 48, 6
#: Runs of at least this many digits are written as their length.
DIGITS = 7

_EMAIL = re.compile(r"[^\s@<>,;:()\"']+@[^\s@<>,;:()\"']+\.[^\s@<>,;:()\"']+")
_URL = re.compile(r"\b([a-z][a-z0-9+.-]*)://(?:[^\s/?#@]*@)?([^\s/?#]*)([^\s?#]*)(\?[^\s#]*)?(#\S*)?", re.IGNORECASE)
#: Opaque parts of a path: long, with digits and letters mixed, as tokens and signatures are.
_OPAQUE = re.compile(r"(?=[\w-]*\d)(?=[\w-]*[A-Za-z])[\w-]{20,}")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2})?)?|\d{1,2}[./]\d{1,2}[./]\d{4}")
#: International (+49 ..., 00 49 ...), in parentheses, or groups of digits with blanks, hyphens, slashes or points.
_PHONE = re.compile(
    r"(?<![\w.])(?:(?:\+|00)\s?\d[\d\s()/.\-]{6,}\d|\(\d{2,5}\)[\d\s/.\-]{4,}\d"
    r"|\d{2,5}(?:[ \-]\d{2,5}){2,}|\d{3,5}-\d{4,}|0\d{1,4}[ /]\d{4,}|\d{3}\.\d{3}\.\d{4})(?![\w])"
)
_TITLED = re.compile(
    r"\b(Mr|Mrs|Ms|Miss|Dr|Prof|Herrn?|Frau|Hr|Fr|M|Mme|Mlle|Monsieur|Madame|Sr|Sra|Señora?|Sig|Signora?|Dhr|Mevr|Pan[ií]?)"
    r"\.? +[^\W\d_][\w'’-]+(?: +[^\W\d_a-z][\w'’-]+)*"
)
#: Two capitalised words after "by": who made, wrote or designed it.
_BY = re.compile(r"\b(by|von|par|por|di|door|przez|od|av) +[^\W\d_a-z][\w'’.-]*(?: +[^\W\d_a-z][\w'’.-]*)+")
#: Headers whose cells are about people or are secrets: none of their cells leave at all.
_WITHHELD = re.compile(
    r"e-?mail|phone|telefon|telephone|téléphone|teléfono|telefono|mobile|handy|fax|contact|kontakt|contatto|contacto"
    r"|ansprechpartner|customer|kunde|client|employee|mitarbeiter|user.?name|vorname|nachname|first.?name|last.?name|surname"
    r"|full.?name|created.?by|updated.?by|modified.?by|address|adresse|dirección|indirizzo|street|strasse|straße"
    r"|password|passwor[dt]|secret|token|api.?key|iban|bic\b|account|birth|geburt|ssn|passport",
    re.IGNORECASE,
)


def withheld(header: str) -> bool:
    """Whether the header says that its cells are about people or are secrets, so that no sample is sent."""
    return bool(_WITHHELD.search(header.replace("_", " ")))


def mask(text: str) -> str:
    """The sample without e-mail addresses, phone numbers, long digit runs, query strings and titled names, and cut.

    >>> mask("Call Mr. John Smith, +1 (555) 010-9999 or john@example.com")
    'Call <name>, <phone> or <e-mail>'
    """
    shown = " ".join(text.split())
    shown = _URL.sub(_masked_url, shown)
    shown = _EMAIL.sub("<e-mail>", shown)
    shown = _BY.sub(r"\1 <name>", _TITLED.sub("<name>", shown))
    shown = _outside_dates(shown)
    shown = re.sub(rf"\d{{{DIGITS},}}", lambda run: f"<{len(run[0])} digits>", shown)
    return _cut(shown)


def _masked_url(match: re.Match[str]) -> str:
    scheme, host, path, query, _ = match.groups()
    return f"{scheme}://{host}{_OPAQUE.sub('<token>', path)}{'?<query>' if query else ''}"


def _outside_dates(text: str) -> str:
    """Phone numbers masked; a date has digits and hyphens too and is told by its shape."""
    parts, end = [], 0
    for date in _DATE.finditer(text):
        parts += [_PHONE.sub(_phone, text[end : date.start()]), date[0]]
        end = date.end()
    return "".join([*parts, _PHONE.sub(_phone, text[end:])])


def _phone(match: re.Match[str]) -> str:
    return "<phone>" if sum(c.isdigit() for c in match[0]) >= DIGITS else match[0]


def _cut(text: str) -> str:
    words = text.split(" ")
    kept = " ".join(words[:WORDS])
    cut = kept if len(kept) <= LENGTH else kept[:LENGTH].rstrip()
    return cut if cut == text else f"{cut}…"
