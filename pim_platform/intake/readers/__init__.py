"""Readers turn the bytes of a product file into numbered rows of text cells.

Belongs here: opening, decoding, splitting into records. Does not belong here: what a column means
or whether a value is right. A reader never drops a record: it comes out as a row or as a bad row.
"""
