import math
import re

import pytest

from pipecat_workers_cli.services.numbers import NUMBER, parse_number


@pytest.mark.parametrize(
    ("words", "number"),
    [
        ("30", 30),
        ("18.5", 18.5),
        ("-10", -10),
        ("minus 10", -10),
        ("minus 2.5", -2.5),
        ("zero", 0),
        ("thirty", 30),
        ("Thirty-Two", 32),
        ("twenty two point five", 22.5),
        ("zero point zero five", 0.05),
        ("minus ten", -10),
        ("negative forty", -40),
        ("a hundred", 100),
        ("one hundred and five", 105),
        ("five hundred", 500),
        ("two thousand three hundred twelve", 2312),
        ("nineteen", 19),
        ("point", None),
        ("", None),
        ("minus", None),
        ("warm", None),
        ("twenty thirty", None),
        ("one two", None),
        ("thirty degrees", None),
        ("30 degrees", None),
        ("- 5", -5),
        ("5 hundred", None),
        ("two point eleven", None),
    ],
)
def test_numbers_are_read_in_digits_and_in_words(words, number):
    if number is None:
        with pytest.raises(ValueError):  # noqa: PT011  # whatever float says of it
            parse_number(words)
    else:
        assert parse_number(words) == pytest.approx(number)


def test_what_float_reads_is_read_as_it_does():
    assert math.isnan(parse_number("nan"))
    assert parse_number("1e-3") == 0.001
    assert parse_number(" 7 ") == 7


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Set it to 30 degrees.", "30"),
        ("Set it to thirty degrees.", "thirty"),
        ("Make it thirty two.", "thirty two"),
        ("to minus ten, please", "minus ten"),
        ("to -3.5", "-3.5"),
        ("my order A-1042", "1042"),
        ("by twenty-five point five degrees", "twenty-five point five"),
        ("a hundred and one", "a hundred and one"),
        ("someone has often done stone", None),
        ("and a point", None),
    ],
)
def test_a_number_is_found_in_a_sentence(text, found):
    match = re.search(NUMBER, text, re.IGNORECASE)
    assert (match and match[0]) == found
    if match:
        parse_number(match[0])
