"""The currencies of ISO 4217, under one name that a kit may write where it lists values."""

from __future__ import annotations

from trunkline.playbook.nodes import Node, kind_of

ISO_4217 = "ISO 4217"
# As of 2026: what people pay with, and the units of account beside it. No metals, no test codes,
# and no IRT or TMN: Toman has no code, and a vendor that does not know one refuses the event.
_CODES = (
    "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BHD BIF BMD BND BOB BOV BRL BSD BTN BWP "
    "BYN BZD CAD CDF CHE CHF CHW CLF CLP CNY COP COU CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN "
    "ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK "
    "JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD "
    "MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP "
    "PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP "
    "SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD USN UYI UYU UYW UZS VED VES VND VUV "
    "WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG"
)
CURRENCIES = tuple(_CODES.split())


def is_currencies(node: Node) -> bool:
    """Say whether a node names all currencies instead of a list, telling of another name."""
    if isinstance(node.value, list):
        return False
    if node.value != ISO_4217:
        node.complain(f"is {kind_of(node.value)}; expected a list of values, or `{ISO_4217}`")
    return node.value == ISO_4217
