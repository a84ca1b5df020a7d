#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Capture device sections of a stock qemu-system-riscv64 after register pokes.

Each case becomes NAME.txt: "smp N", the pokes as "w SIZE ADDR VALUE" lines, then one "s NAME INSTANCE VERSION HEX"
line per device section of the stream, in stream order. test-board-vmstate repeats the pokes and compares.
"""
import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import time

LETTER = {1: "b", 2: "w", 4: "l", 8: "q"}
PLIC, UART, CLINT, FW_CFG = 0xC000000, 0x10000000, 0x2000000, 0x10100000
FLASH, ECAM, RTC = 0x20000000, 0x30000000, 0x101000

CASES = {
    "reset": (1, []),
    "reset-smp2": (2, []),
    "plic": (2, [(4, PLIC + 40, 5), (4, PLIC + 44, 7), (4, PLIC + 4 * 32, 1), (4, PLIC + 0x2000, 0x0C00),
                 (4, PLIC + 0x2088, 0xFFFFFFFF), (4, PLIC + 0x2184, 0x12345678),
                 (4, PLIC + 0x200000, 2), (4, PLIC + 0x203000, 6),
                 (1, UART + 1, 2), (4, RTC + 0x10, 1), (4, RTC + 8, 1)]),
    "mtimer": (2, [(8, CLINT + 0x4000, 0x1122334455667788), (8, CLINT + 0x4008, 2 ** 64 - 1)]),
    "serial-regs": (1, [(1, UART + 3, 0x83), (1, UART + 0, 0x34), (1, UART + 1, 0x12),
                        (1, UART + 3, 0x1B), (1, UART + 7, 0xA5), (1, UART + 4, 0x0B),
                        (1, UART + 1, 0x0D)]),
    "serial-rx-fifo": (1, [(1, UART + 2, 0xC1), (1, UART + 1, 7), (1, UART + 4, 0x10)] +
                       [(1, UART, 0x41 + i) for i in range(5)] + [(1, UART + 4, 0)]),
    "serial-thr-hidden": (1, [(1, UART + 1, 7), (1, UART + 4, 0x10), (1, UART, 0x41),
                              (1, UART + 4, 0)]),
    "serial-overrun": (1, [(1, UART + 1, 4), (1, UART + 4, 0x18), (1, UART, 0x41), (1, UART, 0x42),
                           (1, UART + 4, 8)]),
    "rtc-alarm": (1, [(4, RTC + 0x0C, 0x7FFFFFFF), (4, RTC + 8, 0x12345678), (4, RTC + 0x10, 1)]),
    "flash-buffer": (1, [(4, FLASH + 0x1000, 0xE8), (4, FLASH + 0x1000, 3),
                         (4, FLASH + 0x1000, 0xCAFEF00D), (4, FLASH + 0x1004, 0x12345678),
                         (4, FLASH + 0x2000000, 0x90)]),
    "flash-buffer-full": (1, [(4, FLASH, 0xE8), (4, FLASH, 0), (4, FLASH + 4, 1)]),
    "fw-cfg": (1, [(2, FW_CFG + 8, 0x1900), (4, FW_CFG + 0x10, 0x78563412)]),
    "pci": (1, [(2, ECAM + 4, 0xFFFF), (4, ECAM + 0x0C, 0xFFFFFFFF), (1, ECAM + 0x3C, 0x21),
                (4, ECAM + 0x80, 0xDEADBEEF)]),
}


class Stock:
    def __init__(self, smp, tmp):
        path = os.path.join(tmp, "qtest")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen(1)
        self.proc = subprocess.Popen(
            ["qemu-system-riscv64", "-M", "virt", "-smp", str(smp), "-display", "none", "-nodefaults",
             "-S", "-bios", "none", "-qtest", "unix:" + path, "-qtest-log", "none", "-qmp", "stdio"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.sock, _ = listener.accept()
        self.file = self.sock.makefile("r")
        os.unlink(path)
        self.proc.stdout.readline()
        self.qmp("qmp_capabilities")

    def qmp(self, command, **arguments):
        self.proc.stdin.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.proc.stdin.flush()
        while True:
            reply = json.loads(self.proc.stdout.readline())
            if "return" in reply or "error" in reply:
                return reply["return"]

    def write(self, size, addr, value):
        self.sock.sendall(("write%s 0x%x 0x%x\n" % (LETTER[size], addr, value)).encode())
        while self.file.readline().strip() != "OK":
            pass

    def stream(self, tmp):
        path = os.path.join(tmp, "stream")
        self.qmp("migrate", uri="exec:cat > " + path)
        while self.qmp("query-migrate")["status"] != "completed":
            time.sleep(0.05)
        with open(path, "rb") as f:
            return f.read()


def sections(blob):
    """Device sections: FULL records, each up to its footer."""
    pos = blob.index(b"\x05timer\0\0\0\0") - 5
    while blob[pos] == 4:
        ident = blob[pos + 1:pos + 5]
        length = blob[pos + 5]
        name = blob[pos + 6:pos + 6 + length].decode()
        pos += 6 + length
        instance, version = struct.unpack(">II", blob[pos:pos + 8])
        pos += 8
        end = min(e for e in (blob.find(b"\x7e" + ident + t, pos) for t in (b"\x04", b"\x00")) if e > 0)
        yield name, instance, version, blob[pos:end]
        pos = end + 5


def main():
    directory = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__))
    for case in sys.argv[2:] or CASES:
        smp, pokes = CASES[case]
        with tempfile.TemporaryDirectory() as tmp:
            stock = Stock(smp, tmp)
            for poke in pokes:
                stock.write(*poke)
            blob = stock.stream(tmp)
            stock.proc.kill()
            stock.proc.wait()
        with open(os.path.join(directory, case + ".txt"), "w", encoding="ascii") as out:
            out.write("smp %d\n" % smp)
            for poke in pokes:
                out.write("w %d %x %x\n" % poke)
            for name, instance, version, payload in sections(blob):
                if name not in ("cpu", "cpu_common", "globalstate"):
                    out.write("s %s %d %d %s\n" % (name, instance, version, payload.hex()))


if __name__ == "__main__":
    main()
