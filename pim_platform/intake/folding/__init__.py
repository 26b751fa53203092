"""Records that belong together: rows of one product folded into its records, products linked into groups.

A confirmed :class:`~pim_platform.intake.mapping.grouping.Grouping` says which rows of a file make one product. It is
applied to the cells before they are parsed, so that types, validation, hash and merge need not know of it: empty
cells take what the group gives, and what only the group can tell (``kind``, ``variant_group``, the parent's SKU, all
images of a product, the values per locale) stands in further columns behind those of the file, which the mapping of
:class:`~pim_platform.intake.folding.file.Folding` names like any other. A row that carries no identity of its own is
*merged*: counted, kept with the number of the record it became part of, and never staged.

The file is read twice. The first reading (:mod:`.survey`) notes per group only where it begins and ends; in the second
(:mod:`.file`), a group is held back until it is complete. Groups whose rows lie apart are written aside
(:mod:`.scattered`) and folded at the end, some buckets of whole groups at a time. So memory depends neither on the
file nor on the order of its rows. Each style of grouping has a module: :mod:`.handles`, :mod:`.nested`,
:mod:`.locales`, :mod:`.parents`, :mod:`.groups`.

Belongs here: what groups give and take. Does not belong here: finding the groupings of a file
(:mod:`pim_platform.intake.mapping.propose_grouping`). Owns no tables.
"""
