"""Numbers in digits and in words."""

UNITS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    *("ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")

ONE_WORD = (*range(21), *range(30, 100, 10))
"""The numbers that are one word: zero to twenty, and the tens."""


def in_words(n: int) -> str:
    """A number in words, without hyphens and without `and`.

    Args:
        n: 0 to 999.

    Raises:
        ValueError: another number.

    Example:
    >>> in_words(0), in_words(13), in_words(21), in_words(340)
    ('zero', 'thirteen', 'twenty one', 'three hundred forty')
    """
    if not 0 <= n <= 999:
        raise ValueError(f"Expected a number from 0 to 999, found {n}. Write it in digits.")
    if n < len(UNITS):
        return UNITS[n]
    hundreds, rest = divmod(n, 100)
    if hundreds:
        return f"{UNITS[hundreds]} hundred" + (f" {in_words(rest)}" if rest else "")
    tens, unit = divmod(n, 10)
    return TENS[tens - 2] + (f" {UNITS[unit]}" if unit else "")
