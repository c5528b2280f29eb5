"""What can be given as a timeout, by what it means."""

import decimal
import fractions
import math

__all__ = ["DO_NOT_WAIT", "FINITE", "FOR_EVER", "NEGATIVE", "OTHER_TYPES", "Index"]


class Index:
    """Not a number, but usable as an index."""

    def __init__(self, value):
        self.value = value

    def __index__(self):
        return self.value


class OnlyFloat:
    def __float__(self):
        return 1.0


FOR_EVER = [None, math.inf, 1e308, 10**30, 10**400, Index(10**30)]
FINITE = [1, 5.0, True, Index(2), 1e-9]
DO_NOT_WAIT = [0, 0.0, -0.0, False, Index(0)]
NEGATIVE = [-1, -1e-9, -1e308, -math.inf, math.nan, -(10**400), Index(-1)]
OTHER_TYPES = ["1", b"1", 1j, [], (), object(), fractions.Fraction(1, 2), decimal.Decimal(1), OnlyFloat()]
