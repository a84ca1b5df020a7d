# SPDX-License-Identifier: GPL-2.0-or-later
"""Read what Godwit or QEMU wrote into a file (docs/interop/stream.md, docs/interop/mapped-ram.md).

cursor.py   bounded reading, and Damage: the first byte that is wrong
stream.py   the grammar: header, sections, commands, end
ram.py      bodies of the ram section: which page is where
mapped.py   the mapped-ram header and bitmap of a RAM block
vmdesc.py   the description behind the stream: fields and values of devices
show.py     the report as text
cli.py      the command
"""
