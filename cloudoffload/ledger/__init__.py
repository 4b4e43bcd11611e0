"""Money: what an attempt costs, what may still be spent, what a month's invoice says, what a run will take.

Everything is :class:`~decimal.Decimal` US dollars at list prices, so every amount is an estimate of the bill.
"""
