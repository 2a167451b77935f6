"""Taking personal data and secrets out of a text before it is stored or shown to a teacher.

Patterns find candidates, checks confirm them: Luhn for cards (ISO/IEC 7812-1), mod 97 for IBANs
(ISO 13616), octets for IPv4, length and context for telephone numbers. So order numbers, prices,
dates, versions and shoe sizes stay readable. Names and postal addresses need a model and are
not found here.

Every pattern is bounded or possessive, and begins only where its run of characters begins: time
grows with the length of the text, whatever the text is.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import AddressValueError, IPv6Address
from typing import NamedTuple

#: Characters that nobody sees and that carry hidden instructions: tags, zero-width characters,
#: word joiner, variation selectors.
_INVISIBLE = re.compile("[\u200b-\u200d\u2060\ufe00-\ufe0f\U000e0000-\U000e007f]+")

#: Length of an IBAN by country (SWIFT's IBAN registry).
_IBAN_LENGTHS = {
    country: int(length)
    for length, countries in {
        "15": "NO",
        "16": "BE",
        "18": "DK FI FK FO GL NL SD",
        "19": "MK SI",
        "20": "AT BA EE KZ LT LU MN XK",
        "21": "CH HR LI LV",
        "22": "BG BH CR DE GB GE IE ME RS VA",
        "23": "AE GI IL IQ OM SO TL",
        "24": "AD CZ DZ ES MD PK RO SA SE SK TN VG",
        "25": "LY PT ST",
        "26": "IS TR",
        "27": "BI DJ FR GR IT MC MR SM",
        "28": "AL AZ BY CY DO GT HN HU LB NI PL SV",
        "29": "BR EG PS QA UA",
        "30": "JO KW MU YE",
        "31": "MT SC",
        "32": "LC",
        "33": "RU",
    }.items()
    for country in countries.split()
}

#: What precedes a number that is one of ours, not of a telephone.
_REFERENCE = re.compile(
    r"(?:order|bestell\w*|auftrag\w*|invoice|rechnung\w*|tracking|sendung\w*|parcel|paket\w*"
    r"|article|artikel\w*|item|sku|ticket|case|customer|kunden\w*|ref\w*|serial|ean|isbn)"
    r"[ -]?(?:no|nr|id|number|num|nummer|code)?[ .:#=-]*(?:is|was|ist|lautet)?[ :#-]*$"
)
_VERSION = re.compile(r"(?:version|firmware|release|build|fw|ver|app|ios|android)\W{0,2}$")
_JOINTS = " .:#=-("  # what may stand between such a word and its number
#: Taking a value out can uncover the one that was glued to it. So many glued together are taken
#: apart; without a bound, a hostile text would take quadratic time.
_ROUNDS = 8
_BEFORE = 40  # characters looked at for the three above

#: blanks and hyphens that people, and the programs they paste from, put between digits
_BLANK = r"\ \u00a0\u2009\u202f"
_DASH = r"\u2010\u2011\u2013\-"

#: twice a digit, the digits of the result added up
_DOUBLED = str.maketrans("0123456789", "0246813579")

_NOT_DIGITS = re.compile(r"\D+")


class _Rule(NamedTuple):
    """One kind of personal data: where it may be, and what of a candidate really is it."""

    kind: str
    #: a text without this holds none; it is much faster to look for
    needs: re.Pattern[str]
    pattern: re.Pattern[str]
    #: the part of the candidate to replace, as (start, end) in the text; None: it is none
    check: Callable[[re.Match[str]], tuple[int, int] | None]
    #: what makes two spellings the same value
    canonical: Callable[[str], str]


def redact(text: str) -> str:
    """Return the text with typed placeholders for what must not be stored.

    The same value has the same number within one text. Redacting twice changes nothing.
    Invisible characters are removed, because they can hide instructions to a model. Found are
    values in Latin letters and Western digits, as people write them; somebody who spells an
    address out to hide it succeeds.

    >>> redact("I am jo@example.org, not al@example.org; again: JO@example.org")
    'I am <EMAIL_1>, not <EMAIL_2>; again: <EMAIL_1>'
    >>> redact("order 4711-0815 of 2026-05-06: size 42.5, 129.90 EUR")
    'order 4711-0815 of 2026-05-06: size 42.5, 129.90 EUR'
    """
    if not text.isascii():
        text = _INVISIBLE.sub("", text)
    numbers: dict[str, dict[str, int]] = {}
    for _ in range(_ROUNDS):
        before = text
        for rule in _RULES:
            if rule.needs.search(text):
                text = _apply(rule, text, numbers.setdefault(rule.kind, {}))
        if text == before:
            break
    return text


def _apply(rule: _Rule, text: str, numbers: dict[str, int]) -> str:
    parts: list[str] = []
    done = position = 0
    while match := rule.pattern.search(text, position):
        found = rule.check(match)
        if found is None:  # what is looked for may begin inside the candidate
            position = match.start() + 1
            continue
        start, end = found
        number = numbers.setdefault(rule.canonical(text[start:end]), len(numbers) + 1)
        parts += text[done:start], f"<{rule.kind}_{number}>"
        done = position = end
    return "".join([*parts, text[done:]]) if parts else text


# --- checks --------------------------------------------------------------------------------


def _group(match: re.Match[str]) -> tuple[int, int]:
    """Accept the first group as it stands."""
    return match.span(1)


def _is_email(match: re.Match[str]) -> tuple[int, int] | None:
    ending = match[0].rpartition(".")[2]
    return match.span() if len(ending) >= 2 and ending.isalpha() else None


def _is_iban(match: re.Match[str]) -> tuple[int, int] | None:
    """Accept as many characters as the country's IBANs have, if their checksum is right."""
    length = _IBAN_LENGTHS.get(match[0][:2].upper())
    if length is None:
        return None
    taken = [place for place, character in enumerate(match[0]) if character.isalnum()][:length]
    iban = "".join(match[0][place] for place in taken).upper()
    if len(iban) < length or int("".join(str(int(c, 36)) for c in iban[4:] + iban[:4])) % 97 != 1:
        return None
    end = match.start() + taken[-1] + 1
    return None if match.string[end : end + 1].isalnum() else (match.start(), end)


def _is_card(match: re.Match[str]) -> tuple[int, int] | None:
    """Accept the candidate, or what is left of it without a last group (a date, a code)."""
    for group in (0, 1):
        digits = _NOT_DIGITS.sub("", match[group])
        if _has_issuer(digits) and _luhn(digits):
            return match.span(group)
    return None


def _has_issuer(digits: str) -> bool:
    """Whether a card network issues numbers that begin so, of this length."""
    size, two = len(digits), int(digits[:2])
    return (
        (digits[0] == "4" and size in {13, 16, 19})
        or (size == 16 and (51 <= two <= 55 or 22 <= two <= 27 or two == 35))
        or (size == 15 and two in {34, 37})
        or (size == 14 and two in {30, 36, 38, 39})
        or (16 <= size <= 19 and (digits[0] == "6" or two in {50, 56, 57, 58}))
    )


def _luhn(digits: str) -> bool:
    doubled = digits[-2::-2].translate(_DOUBLED)
    return sum(map(int, doubled + digits[::-2])) % 10 == 0


def _is_ipv4(match: re.Match[str]) -> tuple[int, int] | None:
    octets = match[0].split(".")
    if any(int(octet) > 255 or (octet[0] == "0" and len(octet) > 1) for octet in octets):
        return None
    return None if _VERSION.search(_before(match)) else match.span()


def _is_ipv6(match: re.Match[str]) -> tuple[int, int] | None:
    candidate = match[0].rstrip(".") if match[0].endswith(".") else match[0]
    if ":::" in candidate or candidate.count(":") < 2 or not any(map(str.isdigit, candidate)):
        return None
    if len(candidate.replace(":", "")) < 5:  # 12::30 is no address that names anybody
        return None
    try:
        IPv6Address(candidate)
    except AddressValueError:
        return None
    return match.start(), match.start() + len(candidate)


def _is_phone(match: re.Match[str]) -> tuple[int, int] | None:
    number = match[0]
    if not 7 <= sum(map(str.isdigit, number)) <= 17:
        return None
    if number[0] == "+":
        return match.span()
    before = _before(match)
    if before.rstrip(_JOINTS)[-1:].isalpha():  # the two searches are slow
        if match["bare"] and not _CALLED.search(before):
            return None
        return None if _REFERENCE.search(before) else match.span()
    return None if match["bare"] or before.endswith("#") else match.span()


def _before(match: re.Match[str]) -> str:
    return match.string[max(0, match.start() - _BEFORE) : match.start()].lower()


def _digits(value: str) -> str:
    return _NOT_DIGITS.sub("", value)


def _compact(value: str) -> str:
    return "".join(filter(str.isalnum, value)).upper()


# --- rules, in the order in which they are applied: the longest and surest first ---------------

_PARAMETER = (
    r"(?:access|refresh|id|auth|csrf)?_?-?token|(?:api|access|secret|private)?_?-?key|(?:client)?_?-?secret"
    r"|passw(?:or)?d|pwd|pass|auth|authorization|credential|sig|signature|session(?:_?id)?|sid|jwt|otp"
)
#: What a telephone number follows that looks like none.
_CALLED = re.compile(
    r"\b(?:tel|telefon|telephone|phone|mobile|mobil|handy|cell|fax|whatsapp|sms|rufnummer"
    r"|reach me|call me)(?:nummer|[ -]?number|[ -]?no|[ -]?nr)?[ .:]{0,3}"
    r"(?:(?:is|ist|at|on|unter)[ :]{1,2})?\(?$"
)
# A set of characters stands first, and what must precede it is looked at afterwards: so the
# search skips to the next of them at the speed of C.
_PHONE = re.compile(
    rf"""
    [+(0-9](?:
    # +49 (0) 30 123456, 0049 30 123456
    (?:(?<=\+)(?<![\w+]\+)|(?<=0)(?<![\w+]0)0)[1-9](?:[{_BLANK}{_DASH}()./]{{0,3}}[0-9]){{6,14}}(?![0-9])
    |(?<![\w.,/\#+-][(0-9])(?:
    # 030 1234567, (0171) 123 45 67, 0171/1234567
    (?:(?<=\()0[1-9][0-9]{{1,4}}\)|(?<=0)[1-9][0-9]{{1,4}})
      (?:[{_BLANK}{_DASH}/]{{1,3}}[0-9]{{2,8}}){{1,4}}(?![\w-])
    # 06 12 34 56 78, 0612345678, 01711234567
    |(?<=0)[1-9](?:(?:[{_BLANK}{_DASH}.][0-9]{{2}}){{4}}|[0-9]{{8,9}})(?![\w-])
    # (415) 555-2671, 415-555-2671, 1-415-555-2671
    |(?:(?<=\()[2-9][0-9]{{2}}\)[{_BLANK}]?|(?<=[2-9])[0-9]{{2}}[{_BLANK}{_DASH}.]
      |(?<=1)[{_BLANK}{_DASH}.](?:\([2-9][0-9]{{2}}\)[{_BLANK}]?|[2-9][0-9]{{2}}[{_BLANK}{_DASH}.]))
      [0-9]{{3}}[{_BLANK}{_DASH}.][0-9]{{4}}(?![\w-])
    # 12345678, if it is called so
    |(?P<bare>(?<=[0-9])(?:[{_BLANK}{_DASH}()./]{{0,2}}[0-9]){{6,14}}(?!\w))
    ))
    """,
    re.VERBOSE,
)

_RULES = (
    # scheme://user:password@host
    _Rule(
        "CREDENTIALS",
        re.compile("://"),
        re.compile(r"://([^\s/?#<>]{1,512})@"),
        _group,
        str,
    ),
    # ?token=...
    _Rule(
        "TOKEN",
        re.compile("="),
        re.compile(rf"(?i)[?&#;](?:[\w.-]{{0,40}}[_.-])?(?:{_PARAMETER})=([^\s&#<>\"']++)"),
        _group,
        str,
    ),
    _Rule(
        "EMAIL",
        re.compile("@"),
        re.compile(r"(?<![\w.%+'&-])[\w.%+'&-]++@[\w-]++(?:\.[\w-]++)++"),
        _is_email,
        str.casefold,
    ),
    _Rule(
        "IBAN",
        re.compile(r"[0-9]{2}(?<=[A-Za-z]{2}[0-9]{2})"),
        re.compile(rf"\b[A-Za-z]{{2}}[0-9]{{2}}(?:[{_BLANK}{_DASH}]?[A-Za-z0-9]){{11,30}}"),
        _is_iban,
        _compact,
    ),
    # groups with one separator throughout, or none
    _Rule(
        "CARD",
        re.compile(rf"[0-9]{{4}}[{_BLANK}{_DASH}]?[0-9]{{4,6}}[{_BLANK}{_DASH}]?[0-9]{{4}}"),
        re.compile(
            rf"""(?<![\w+])(?=[0-9]{{4}})
            ([0-9]{{4}}([{_BLANK}{_DASH}]?)[0-9]{{4}}\2[0-9]{{4}}\2[0-9]{{1,4}}
            |3[0-9]{{3}}([{_BLANK}{_DASH}]?)[0-9]{{6}}\3[0-9]{{4,5}})
            (?:[{_BLANK}{_DASH}]?[0-9]{{1,3}})?(?![0-9])""",
            re.VERBOSE,
        ),
        _is_card,
        _digits,
    ),
    _Rule(
        "IP",
        re.compile(":[0-9A-Fa-f]{0,4}:"),
        re.compile(r"(?<![\w:.])[0-9A-Fa-f:](?=[0-9A-Fa-f]{0,4}:)[0-9A-Fa-f:.]{5,44}(?![\w:])"),
        _is_ipv6,
        str.casefold,
    ),
    _Rule(
        "IP",
        re.compile(r"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]"),
        re.compile(r"(?<![\w.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?!\w|\.[0-9])"),
        _is_ipv4,
        str,
    ),
    _Rule("PHONE", re.compile("[0-9]"), _PHONE, _is_phone, _digits),
)
