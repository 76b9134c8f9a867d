"""Amounts in the smallest unit of their currency, by ISO 4217: 12.5 USD is 1250, 12 JPY is 12."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from trunkline.playbook.scalars import WHOLE_MAX, number_of

_AMOUNT_MAX = 1e18
_DECIMALS = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP BYN "
    "BZD CAD CDF CHF CNY COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP "
    "GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL "
    "MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK "
    "PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB "
    "TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
MINOR_DIGITS = {code: digits for digits, codes in _DECIMALS.items() for code in codes.split()}


def currency_code(value: Any) -> str | None:
    """Return an ISO 4217 code in capitals; None for what is none."""
    code = value.strip().upper() if isinstance(value, str) and len(value) < 20 else ""
    return code if code in MINOR_DIGITS else None


def minor_units(amount: Any, currency: Any) -> int | None:
    """Return an amount in the smallest unit of its currency, a half rounded away from zero.

    None for an unknown currency: an amount that is wrong a hundredfold is worse than none.
    """
    number, code = number_of(amount), currency_code(currency)
    if number is None or code is None or abs(number) >= _AMOUNT_MAX:
        return None
    exact = Decimal(repr(number)).scaleb(MINOR_DIGITS[code])
    whole = int(exact.to_integral_value(ROUND_HALF_UP))
    return whole if abs(whole) < WHOLE_MAX else None
