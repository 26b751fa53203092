"""Words that cells use for yes, no, money, units and totals. Pure data; ISO 4217 codes are those in circulation."""

from __future__ import annotations

import re


def _split(text: str) -> tuple[str, ...]:
    return tuple(text.split())


#: yes / no and true / false as people and spreadsheets write them, in the languages of Europe and in Turkish, Russian,
#: Ukrainian, Arabic, Hebrew, Hindi, Indonesian, Vietnamese, Thai, Chinese, Japanese and Korean, plus signs.
TRUE_WORDS = _split(
    "true t yes y 1 on x ja j wahr oui o vrai si sí s verdadero sì vero sim verdadeiro waar tak prawda ano áno pravda "
    "sand sann sant kyllä tosi igen igaz da adevărat evet doğru да истина так ναι αληθές jah tõene jā taip tiesa "
    "نعم כן हाँ ya có ใช่ 是 真 예 네 はい 有 あり "
    "✓ ✔ ☑ ○ ◯ active aktiv actif activo attivo ativo actief enabled enable published"
)
FALSE_WORDS = _split(
    "false f no n 0 off - nein falsch non faux não nao falso nee onwaar nie fałsz ne nepravda nej nei falsk falskt "
    "usann ei epätosi nem hamis nu fals hayır yanlış нет ложь ні не όχι ψευδές väär nē "
    "لا לא नहीं tidak không ไม่ใช่ 否 假 偽 아니오 아니요 いいえ 無 なし "
    "✗ ✘ ☐ × inactive inaktiv inactif inactivo inattivo inativo inactief disabled disable unpublished"
)

#: Words that mean yes or no only where nothing else is in the column: most mean something else as well.
SHY_WORDS = frozenset(
    _split(
        "1 0 x t f o n y j - on off no ja si da ne ei ano d sand sann sant ya nu fals jah jā nē la có 有 無 是 否 真 "
        "假 예 네 так ні не да"
    )
)

CURRENCY_CODES = _split(
    "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF "
    "CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HRK "
    "HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL "
    "MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON "
    "RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX "
    "USD UYU UZS VES VND VUV WST XAF XCD XOF XPF YER ZAR ZMW"
)

#: Signs that mean one currency everywhere.
SIGNS = {
    "د.إ": "AED", "ر.س": "SAR", "ر.ق": "QAR", "د.ك": "KWD", "﷼": "SAR",
    "₸": "KZT", "₦": "NGN", "₵": "GHS", "₲": "PYG", "₡": "CRC", "₮": "MNT", "₾": "GEL", "₼": "AZN", "៛": "KHR",
    "₭": "LAK", "৳": "BDT", "RM": "MYR", "RP": "IDR", "RP.": "IDR", "S/": "PEN", "S/.": "PEN", "B/.": "PAB",
    "DHS": "AED", "DHS.": "AED", "KSH": "KES", "ДИН": "RSD", "ДИН.": "RSD", "RSD.": "RSD", "ГРН": "UAH",
    "ГРН.": "UAH", "Р.": "RUB", "TL": "TRY", "KČ.": "CZK", "KN": "HRK", "EUROS": "EUR", "USD$": "USD",
    "€": "EUR", "£": "GBP", "₹": "INR", "₽": "RUB", "₩": "KRW", "₺": "TRY", "₴": "UAH", "₪": "ILS", "₫": "VND",
    "₱": "PHP", "฿": "THB", "ZŁ": "PLN", "KČ": "CZK", "FT": "HUF", "LEI": "RON", "ЛВ": "BGN", "FR.": "CHF",
    "SFR.": "CHF",
    "SR": "SAR", "R$": "BRL", "US$": "USD", "A$": "AUD", "AU$": "AUD", "C$": "CAD", "CA$": "CAD",
    "NZ$": "NZD", "HK$": "HKD", "S$": "SGD", "MX$": "MXN", "NT$": "TWD", "円": "JPY", "元": "CNY", "РУБ": "RUB",
    "РУБ.": "RUB", "EURO": "EUR",
}  # fmt: skip
#: Signs that several countries share: the currency of the column decides; else the usual one, if there is one.
SHARED_SIGNS: dict[str, tuple[str | None, frozenset[str]]] = {
    "$": ("USD", frozenset(_split("USD CAD AUD NZD HKD SGD MXN TWD ARS CLP COP UYU DOP BSD BBD JMD TTD"))),
    "¥": ("JPY", frozenset({"JPY", "CNY"})),
    "￥": ("JPY", frozenset({"JPY", "CNY"})),
    "RS": ("INR", frozenset(_split("INR PKR LKR NPR MUR SCR"))),
    "RS.": ("INR", frozenset(_split("INR PKR LKR NPR MUR SCR"))),
    "₨": ("INR", frozenset(_split("INR PKR LKR NPR MUR SCR"))),
    "R": (None, frozenset({"ZAR"})),
    "KM": (None, frozenset({"BAM"})),
    "QR": (None, frozenset({"QAR"})),
    "KR": (None, frozenset({"SEK", "NOK", "DKK", "ISK"})),
    "KR.": (None, frozenset({"SEK", "NOK", "DKK", "ISK"})),
}

#: Units as headers and cells write them, and their symbol (SI brochure; UN/ECE Recommendation 20 for pieces).
UNITS: dict[str, str] = {
    "kg": "kg", "kgs": "kg", "kilo": "kg", "kilos": "kg", "kilogram": "kg", "kilograms": "kg", "kilogramm": "kg",
    "g": "g", "gr": "g", "gram": "g", "grams": "g", "gramm": "g", "grammes": "g", "mg": "mg",
    "lb": "lb", "lbs": "lb", "pound": "lb", "pounds": "lb", "oz": "oz", "ounce": "oz", "ounces": "oz", "t": "t",
    "mm": "mm", "cm": "cm", "dm": "dm", "m": "m", "km": "km", "meter": "m", "metre": "m", "in": "in", "inch": "in",
    "inches": "in", "zoll": "in", "″": "in", "ft": "ft", "feet": "ft", "yd": "yd", "µm": "µm",
    "ml": "ml", "cl": "cl", "dl": "dl", "l": "l", "lt": "l", "ltr": "l", "liter": "l", "litre": "l", "litres": "l",
    "fl oz": "fl oz", "gal": "gal", "m2": "m²", "m²": "m²", "qm": "m²", "cm2": "cm²", "cm²": "cm²", "mm2": "mm²",
    "mm²": "mm²", "m3": "m³", "m³": "m³", "cbm": "m³", "cm3": "cm³", "cm³": "cm³", "ccm": "cm³",
    "w": "W", "watt": "W", "kw": "kW", "v": "V", "volt": "V", "a": "A", "ma": "mA", "mah": "mAh", "ah": "Ah",
    "wh": "Wh", "kwh": "kWh", "hz": "Hz", "khz": "kHz", "mhz": "MHz", "ghz": "GHz", "lm": "lm", "lumen": "lm",
    "k": "K", "°c": "°C", "°f": "°F", "°": "°", "db": "dB", "bar": "bar", "psi": "psi", "pa": "Pa", "n": "N",
    "nm": "Nm", "kb": "kB", "mb": "MB", "gb": "GB", "tb": "TB", "dpi": "dpi", "px": "px", "rpm": "rpm",
    "s": "s", "sec": "s", "min": "min", "h": "h", "hrs": "h", "hours": "h", "day": "d", "days": "d", "tage": "d",
    "kcal": "kcal", "kj": "kJ", "%": "%", "percent": "%", "prozent": "%", "pcs": "pcs", "pc": "pcs", "stk": "pcs",
    "stück": "pcs", "st": "pcs", "ks": "pcs", "szt": "pcs", "pz": "pcs", "pce": "pcs", "ea": "pcs",
}  # fmt: skip

#: What a line of totals begins with.
TOTAL_WORDS = _split(
    "total totals totale totaal totaux sum summe gesamt gesamtsumme zwischensumme endsumme subtotal somme suma razem "
    "celkem součet összesen toplam итого всего 合計 小計 總計 总计"
)
TOTAL_PHRASES = ("grand total", "sub total", "sub-total", "total general", "total général", "suma total", "in totale")

_SIGN_PATTERNS = sorted([*SIGNS, *SHARED_SIGNS], key=len, reverse=True)
#: A sign or any three letters, before or after the amount; what the letters mean is checked afterwards.
CURRENCY_PATTERN = (
    r"(?i)("
    + "|".join(re.escape(sign) for sign in _SIGN_PATTERNS if not sign.isalpha() or len(sign) != 3)
    + r"|\b[A-Z]{3}\b|[A-Z]{3}$|^[A-Z]{3})"
)  # fmt: skip
#: BCP 47 as far as catalogues use it, also with an underscore.
LOCALE = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8})*")
_COUNTED = ("piece", "pieces", "pièce", "unit", "pair", "pack")
_MEASURES = "|".join(re.escape(unit) for unit in sorted([*UNITS, *_COUNTED], key=len, reverse=True))
#: What an amount is for: "12.50 €/kg", "3 EUR per piece", "5 €/100 g".
PER_UNIT = rf"(?i)\s*(?:/|\b(?:per|pro|je|par|al|por|za)\b)\s*[0-9]*\s*(?:{_MEASURES})\.?\s*$"
JSON_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?")


def currency_codes(column_currency: str | None) -> dict[str, str | None]:
    """Upper-case sign -> ISO 4217, in a column whose own currency is known or None."""
    shared = {sign: column_currency if column_currency in few else usual for sign, (usual, few) in SHARED_SIGNS.items()}
    return {**SIGNS, **shared}


def currency_names(column_currency: str | None) -> dict[str, str | None]:
    """Upper-case sign without points, or ISO 4217 code, -> code: what is left of a price without its number."""
    signs = {sign.replace(".", ""): code for sign, code in currency_codes(column_currency).items()}
    # "$ 5 USD" says it twice; a sign that several countries share is told by the code beside it.
    families = {sign: frozenset({code}) for sign, code in SIGNS.items() if not sign.isalpha()}
    families |= {sign: few for sign, (_, few) in SHARED_SIGNS.items()}
    both = {pair: code for sign, few in families.items() for code in few for pair in (f"{sign}{code}", f"{code}{sign}")}
    return {**{code: code for code in CURRENCY_CODES}, **both, **signs}


def bcp47(locale: str) -> str:
    """A locale in the spelling of BCP 47.

    >>> bcp47("de_at"), bcp47("zh-hant-TW")
    ('de-AT', 'zh-Hant-TW')
    """
    language, *parts = locale.replace("_", "-").split("-")
    spelled = [part.title() if len(part) == 4 else part.upper() if len(part) in (2, 3) else part for part in parts]
    return "-".join([language.lower(), *spelled])
