import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from monitor.redaction import redact

#: kind, then texts in which the whole value between the braces must go and the rest must stay
FOUND = {
    "EMAIL": [
        "write to {jo@example.org}",
        "{Jörg.Müller@firma-süd.de}.",
        "<{first.last+tag@sub.mail.example.co.uk}>",
        "mailto:{jo_b@example.museum}?subject=hi",
        "({O'Brien@mail.example.ie})",
        "{JO@EXAMPLE.ORG}, please",
    ],
    "PHONE": [
        "{+49 (0) 30 1234567}",
        "{+49 30 123456-78} till 5",
        "tel:{+4915112345678}",
        "{0049 171 1234567}",
        "{+49\u00a0171\u202f1234567}",  # blanks that do not break
        "{+1 (415) 555\u20112671}",  # a hyphen that does not break
        "{030 1234567}",
        "{(030) 123456}",
        "{0171/1234567}",
        "my number is {0171-123 45 67}!",
        "{01711234567}",
        "{06 12 34 56 78}",
        "{06.12.34.56.78}",
        "{+33 6 12 34 56 78}",
        "{(415) 555-2671}",
        "{415-555-2671}, after 10",
        "{1-415-555-2671}",
        "{020 7946 0958}",
        "{07946 095 812}",
        "{044 668 18 00}",
        "call me at {5552671}",
        "phone number: {612 345 678}",
        "Tel. {12345678}",
        "fax: {555 123 45 67}",
        "12 {0171 1234567}",
    ],
    "CARD": [
        "{4111 1111 1111 1111}",
        "{4111-1111-1111-1111}",
        "card {4111111111111111}.",
        "{4111 1111 1111 1111} 12/26 123",
        "{4111 1111 1111 1111} 123",
        "{5500 0000 0000 0004}",
        "{2223 0031 2200 3222}",
        "{3782 822463 10005}",
        "{378282246310005}",
        "{6011111111111117}",
        "{3530111333300000}",
        "{30569309025904}",
        "my 1234 {4111 1111 1111 1111}",
    ],
    "IBAN": [
        "{DE89 3704 0044 0532 0130 00}",
        "{de89370400440532013000} bitte",
        "{GB82 WEST 1234 5698 7654 32}, thanks",
        "{ES91 2100 0418 4502 0005 1332} hola amigos",
        "{NL91ABNA0417164300}",
        "IBAN:{FR1420041010050500013M02606}.",
        "{AT61-1904-3002-3457-3201}",
    ],
    "IP": [
        "{192.168.0.12}",
        "my ip is {203.0.113.7}.",
        "{203.0.113.7}:8080",
        "{2001:db8::1}",
        "({2001:db8::1})",
        "{fe80::1ff:fe23:4567:890a}.",
        "{2001:0db8:85a3:0000:0000:8a2e:0370:7334}",
        "{::ffff:192.0.2.128}",
    ],
    "CREDENTIALS": [
        "https://{user:secret}@shop.example/x",
        "https://{ghp_abc}@github.com/x",
        "ftp://{a:b@c}@host.example",
    ],
    "TOKEN": [
        "https://shop.example/?token={abc123}&x=1",
        "https://shop.example/reset?user=5&access_token={a.b-c}",
        "https://x.example/?X-Amz-Signature={deadbeef}&y=2",
        "https://x.example/#api_key={K1}",
        "?PASSWORD={hunter2}",
    ],
}

KEPT = """
order 4711-0815
order number 0301234567
Order no. 0171 1234567
#0171234567
ORD-2024-001234
order 1234567890123456
4111 1111 1111 1112
1234 5678 1234 5670
GB82 WEST 1234 5698 7654 33
telephone case 12345678
my cell died 2026-05-06
Bestellnummer: 01711234567
invoice 2024/001234
1,299.00 EUR
1.299,00 €
€ 129.90
2024-05-06
06.05.2024
06-05-2024
06/05/2024 10:30
2024-05-06T12:30:45Z
12:30:45
v1.2.3.4
version 10.2.3.1
Firmware: 10.2.3.1
iOS 17.4.1
1.2.3.4.5
999.999.999.999
size 42.5
EU 42 / UK 8 / US 9
sizes 36 37 38 39 40
00340434161094042557
1Z999AA10123456784
EAN 4006381333931
4006381333931
300 x 400 x 500 mm
std::vector
12::30
00:1A:2B:3C:4D:5E
at 10 am @home
@shoeshop
a@b
user@localhost
https://shop.example/sale?code=SUMMER10&size=42
https://shop.example/?monkey=banana
size=42 width=E
DE12 3456
AB12 this is no iban at all
3.14159265358979
1234567
12345678
tracking 0123456789
model 2040-1234
10-20 Uhr
24/7
postcode 01067 Dresden
0,5 l
<EMAIL_1> and <PHONE_2>
""".strip().splitlines()


@pytest.mark.parametrize(
    ("kind", "text"), [(kind, text) for kind, texts in FOUND.items() for text in texts]
)
def test_the_value_goes_and_the_rest_stays(kind: str, text: str) -> None:
    before, rest = text.split("{")
    value, after = rest.split("}")
    assert redact(before + value + after) == f"{before}<{kind}_1>{after}"


@pytest.mark.parametrize("text", KEPT)
def test_what_is_not_personal_stays(text: str) -> None:
    assert redact(text) == text


def test_the_same_value_has_the_same_number_however_it_is_written() -> None:
    text = "jo@a.org al@a.org Jo@A.org; +49 30 123456, +4930123456; 10.0.0.1 2001:db8::1 10.0.0.1"
    assert redact(text) == (
        "<EMAIL_1> <EMAIL_2> <EMAIL_1>; <PHONE_1>, <PHONE_1>; <IP_2> <IP_1> <IP_2>"
    )


@pytest.mark.parametrize(
    "hidden",
    ["\u200b", "\u200c", "\u200d", "\u2060", "\ufe00", "\ufe0f", "\U000e0000", "\U000e007f"],
)
def test_invisible_characters_go_and_hide_nothing(hidden: str) -> None:
    assert redact(f"yes{hidden}, jo@exam{hidden}ple.org") == "yes, <EMAIL_1>"


def test_what_is_visible_stays_as_it_is() -> None:
    text = "Größe 42 \u2013 naïve 👟 \u202eright to left\u00a0日本語 שלום"
    assert redact(text) == text


values = st.sampled_from(
    [text.split("{")[1].split("}")[0] for texts in FOUND.values() for text in texts]
)
scraps = st.text("0123456789 +-./:@(){}<>&?=#,abDE_'\u00a0", max_size=6)
words = st.sampled_from([*KEPT, "phone ", "order ", "version ", "https://", "?token=", "\u200b"])
texts = st.lists(values | scraps | words, max_size=8).map("".join)


@given(texts | st.text(max_size=50))
@example("<EMAIL_1> jo@example.org")
def test_redacting_twice_changes_nothing(text: str) -> None:
    assert redact(redact(text)) == redact(text)


LINE = 100_000

#: what makes patterns that backtrack take quadratic or exponential time
HOSTILE = [
    "a",
    "1",
    "@",
    "a.",
    ":",
    "://",
    "1.",
    "(",
    "- ",
    "&token-",
    "?a_",
    "\u200b",
    "phone ",
    "01-",
]


@pytest.mark.timeout(60)  # a pattern that backtracks takes hours
@pytest.mark.parametrize("unit", HOSTILE)
def test_a_hostile_line_ends(unit: str) -> None:
    line = unit * (LINE // len(unit))
    assert redact(f"{line} jo@example.org").endswith("<EMAIL_1>")


@pytest.mark.timeout(60)
def test_a_long_line_ends() -> None:
    sentence = "My shoes, size 42, order 4711-0815, came late. "
    line = sentence * (LINE // len(sentence))
    assert redact(f"{line} jo@example.org") == f"{line} <EMAIL_1>"
