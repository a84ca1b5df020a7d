#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Write the device trees of a stock qemu-system-riscv64 as sorted text, one line "PATH NAME HEXBYTES" per property.

test-boot builds the same trees and compares; rng-seed is left out.
"""
import os
import struct
import subprocess
import sys
import tempfile

CASES = {
    "smp1": [],
    "smp2": ["-smp", "2"],
    "smp5": ["-smp", "5"],
    "m4g": ["-m", "4G"],
    "aclint": ["-M", "aclint=on", "-smp", "2"],
    "kernel": ["-kernel", "KERNEL", "-initrd", "INITRD", "-append", "root=/dev/vda quiet"],
}


def lines(blob):
    off_struct, off_strings = struct.unpack(">II", blob[8:16])
    pos, path, out = off_struct, [], []
    while True:
        token, = struct.unpack(">I", blob[pos:pos + 4])
        pos += 4
        if token == 1:
            end = blob.index(b"\0", pos)
            path.append(blob[pos:end].decode())
            pos = (end + 4) & ~3
            out.append("/".join(path) or "/")
        elif token == 2:
            path.pop()
        elif token == 3:
            length, name_off = struct.unpack(">II", blob[pos:pos + 8])
            end = blob.index(b"\0", off_strings + name_off)
            name = blob[off_strings + name_off:end].decode()
            value = blob[pos + 8:pos + 8 + length]
            if name != "rng-seed":
                out.append(("%s %s %s" % ("/".join(path) or "/", name, value.hex())).rstrip())
            pos = (pos + 8 + length + 3) & ~3
        elif token == 9:
            return sorted(out)


def main():
    directory = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__))
    with tempfile.TemporaryDirectory() as tmp:
        for name, size in (("KERNEL", 5000), ("INITRD", 7000)):
            with open(os.path.join(tmp, name), "wb") as out:
                out.write(b"\x13\0\0\0" * (size // 4))
        for name, args in CASES.items():
            dtb = os.path.join(tmp, name)
            subprocess.run(["qemu-system-riscv64", "-M", "virt,dumpdtb=" + dtb, "-bios", "none",
                            "-display", "none", "-nodefaults"] + args, cwd=tmp, check=True)
            with open(dtb, "rb") as blob, \
                    open(os.path.join(directory, name + ".txt"), "w", encoding="ascii") as out:
                out.write("\n".join(lines(blob.read())) + "\n")


if __name__ == "__main__":
    main()
