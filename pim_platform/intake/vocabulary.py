"""Words that cells use for yes, no, money, units and totals. Pure data; ISO 4217 codes are those in circulation."""

from __future__ import annotations

import re


def _split(text: str) -> tuple[str, ...]:
    return tuple(text.split())


#: yes / no in English, German, French, Spanish, Italian, Portuguese, Dutch, Polish, Czech, Danish,
#: Swedish, Norwegian, Finnish, Hungarian, Romanian, Turkish, Russian and Japanese, plus signs.
TRUE_WORDS = _split(
    "true t yes y 1 on x ja j wahr oui o vrai si sí s verdadero sì vero sim verdadeiro waar tak prawda ano pravda "
    "sand kyllä igen igaz da adevărat evet да истина はい 有 ✓ ✔ ○ active aktiv enabled published"
)
FALSE_WORDS = _split(
    "false f no n 0 off - nein falsch non faux não nao falso nee onwaar nie fałsz ne nepravda nej nei falsk ei nem "
    "hamis nu hayır нет ложь いいえ 無 ✗ ✘ × inactive inaktiv disabled unpublished"
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
    "€": "EUR", "£": "GBP", "₹": "INR", "₽": "RUB", "₩": "KRW", "₺": "TRY", "₴": "UAH", "₪": "ILS", "₫": "VND",
    "₱": "PHP", "฿": "THB", "ZŁ": "PLN", "KČ": "CZK", "FT": "HUF", "LEI": "RON", "ЛВ": "BGN", "FR.": "CHF",
    "SFR.": "CHF",
    "SR": "SAR", "RS.": "INR", "R$": "BRL", "US$": "USD", "A$": "AUD", "AU$": "AUD", "C$": "CAD", "CA$": "CAD",
    "NZ$": "NZD", "HK$": "HKD", "S$": "SGD", "MX$": "MXN", "NT$": "TWD", "円": "JPY", "元": "CNY", "РУБ": "RUB",
    "РУБ.": "RUB", "EURO": "EUR",
}  # fmt: skip
#: Signs that several countries share: the currency of the column decides; else the usual one, if there is one.
SHARED_SIGNS: dict[str, tuple[str | None, frozenset[str]]] = {
    "$": ("USD", frozenset(_split("USD CAD AUD NZD HKD SGD MXN TWD ARS CLP COP UYU DOP BSD BBD JMD TTD"))),
    "¥": ("JPY", frozenset({"JPY", "CNY"})),
    "￥": ("JPY", frozenset({"JPY", "CNY"})),
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
JSON_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?")


def currency_codes(column_currency: str | None) -> dict[str, str | None]:
    """Upper-case sign -> ISO 4217, in a column whose own currency is known or None."""
    shared = {sign: column_currency if column_currency in few else usual for sign, (usual, few) in SHARED_SIGNS.items()}
    return {**SIGNS, **shared}


def currency_names(column_currency: str | None) -> dict[str, str | None]:
    """Upper-case sign without points, or ISO 4217 code, -> code: what is left of a price without its number."""
    signs = {sign.replace(".", ""): code for sign, code in currency_codes(column_currency).items()}
    return {**{code: code for code in CURRENCY_CODES}, **signs}
