"""How numbers are written, the same in every figure and on every page."""


def scientific(value: float, *, digits: int = 2) -> str:
    """The value in scientific notation with `digits` significant digits, trailing zeros left out.

    >>> [scientific(value, digits=3) for value in (3.06e-7, 1e-9, 0)]
    ['3.06e-7', '1e-9', '0']
    """
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}" if value else "0"
