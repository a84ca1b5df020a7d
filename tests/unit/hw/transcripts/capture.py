#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Capture register transcripts of the virt board from a stock qemu-system-riscv64.

    capture.py [DIRECTORY] [NAME...]      default: this directory, all transcripts

Drives the stock binary over its qtest socket, stopped (-S), and writes one NAME.txt per script: lines "w SIZE ADDR
VALUE" and "r SIZE ADDR VALUE" in hexadecimal. test-transcripts replays them and compares every read.
"""
import os
import socket
import subprocess
import sys
import tempfile

LETTER = {1: "b", 2: "w", 4: "l", 8: "q"}


class Stock:
    def __init__(self, args):
        with tempfile.TemporaryDirectory() as tmp:
            path = os.path.join(tmp, "qtest")
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(path)
            listener.listen(1)
            self.proc = subprocess.Popen(
                ["qemu-system-riscv64", "-M", "virt", "-display", "none", "-nodefaults", "-S",
                 "-bios", "none", "-qtest", "unix:" + path, "-qtest-log", "none"] + args,
                stdin=subprocess.DEVNULL)
            self.sock, _ = listener.accept()
        self.file = self.sock.makefile("r")
        self.lines = []

    def command(self, text):
        self.sock.sendall((text + "\n").encode())
        while True:
            reply = self.file.readline().strip()
            if not reply.startswith("IRQ"):
                return reply

    def r(self, addr, size=4):
        value = int(self.command("read%s 0x%x" % (LETTER[size], addr)).split()[1], 16)
        self.lines.append("r %d %x %x" % (size, addr, value))
        return value

    def w(self, addr, value, size=4):
        assert self.command("write%s 0x%x 0x%x" % (LETTER[size], addr, value)) == "OK"
        self.lines.append("w %d %x %x" % (size, addr, value))

    def close(self):
        self.proc.kill()
        self.proc.wait()


PLIC = 0xC000000
UART = 0x10000000
CLINT = 0x2000000
FW_CFG = 0x10100000
FLASH = 0x20000000
ECAM = 0x30000000
RTC = 0x101000
TEST = 0x100000


def plic(m):
    for reg in (0, 4, 40, 0x17C, 0x180 + 4, 0x1000, 0x1008, 0x100C, 0x2000, 0x2008, 0x200C, 0x2080,
                0x2100, 0x200000, 0x200004, 0x201000, 0x202000, 0x202004, 0x200008):
        m.r(PLIC + reg)
        m.w(PLIC + reg, 0xFFFFFFFF)
        m.r(PLIC + reg)
    for reg in (4, 40, 0x2000, 0x2008, 0x2080, 0x200000, 0x201000):
        m.w(PLIC + reg, 0)
    m.w(PLIC + 40, 3)  # source 10: the UART
    m.w(PLIC + 0x2080, 1 << 10)
    m.w(UART + 1, 2, 1)  # transmitter empty: line up
    m.r(PLIC + 0x1000)
    m.r(PLIC + 0x200004)  # not enabled for M
    m.w(PLIC + 0x201000, 3)
    m.r(PLIC + 0x201004)  # priority not above threshold
    m.w(PLIC + 0x201000, 2)
    m.r(PLIC + 0x201004)  # claim
    m.r(PLIC + 0x1000)
    m.r(PLIC + 0x201004)  # claimed already
    m.w(PLIC + 0x201004, 10)  # complete with the line still up
    m.r(PLIC + 0x1000)
    m.r(PLIC + 0x201004)
    m.r(UART + 2, 1)  # acknowledge
    m.r(PLIC + 0x1000)
    m.w(UART + 0, 0x41, 1)  # notifies again
    m.r(PLIC + 0x1000)
    m.r(UART + 2, 1)  # line falls, pending stays
    m.r(PLIC + 0x1000)
    m.w(PLIC + 0x2000, 1 << 10)  # both contexts now
    m.r(PLIC + 0x200004)
    m.w(PLIC + 0x201004, 10)  # completed by the other context
    m.w(PLIC + 0x200004, 96)
    m.w(PLIC + 0x200004, 0xFFFFFFFF)
    m.w(UART + 0, 0x42, 1)
    m.r(PLIC + 0x201004)


def clint(m):
    m.r(CLINT)
    m.w(CLINT, 0xFFFFFFFE)
    m.r(CLINT)
    m.w(CLINT, 0xFFFFFFFF)
    m.r(CLINT)
    m.w(CLINT, 0)
    m.r(CLINT)
    m.r(CLINT + 4)
    m.w(CLINT + 4, 1)
    m.r(CLINT + 4)
    cmp_, time = CLINT + 0x4000, CLINT + 0xBFF8
    for size in (8, 4):
        m.r(cmp_, size)
        m.r(time, size)
    m.w(cmp_, 0x1122334455667788, 8)
    m.r(cmp_, 4)
    m.r(cmp_ + 4, 4)
    m.w(cmp_, 0xAABBCCDD)
    m.r(cmp_, 8)
    m.w(cmp_ + 4, 0x01020304)
    m.r(cmp_, 8)
    m.r(cmp_ + 8, 8)
    m.w(cmp_ + 8, 5, 8)
    m.r(cmp_ + 8, 8)
    m.w(time, 0x123456789A, 8)
    m.r(time, 8)
    m.w(time + 4, 0xFF)
    m.r(time, 8)
    m.w(time, 0x77)
    m.r(time, 8)
    m.r(time + 4)
    m.w(time, 0xFFFFFFFFFFFFFFF0, 8)
    m.r(time, 8)
    m.w(time, 0, 8)
    m.r(time, 8)


def uart_regs(m):
    for reg in range(8):
        m.r(UART + reg, 1)


def uart(m):
    uart_regs(m)
    for size in (2, 4, 8):
        m.r(UART, size)
    m.w(UART + 3, 0x80, 1)
    m.r(UART + 0, 1)
    m.r(UART + 1, 1)
    m.w(UART + 0, 0x34, 1)
    m.w(UART + 1, 0x12, 1)
    m.r(UART + 0, 1)
    m.r(UART + 1, 1)
    m.w(UART + 3, 0x03, 1)
    m.w(UART + 7, 0xA5, 1)
    for value in (0xFF, 0):
        m.w(UART + 1, value, 1)
        m.w(UART + 4, value, 1)
        uart_regs(m)
    m.w(UART + 5, 0xFF, 1)
    m.w(UART + 6, 0xFF, 1)
    uart_regs(m)
    # transmitter interrupt
    m.w(UART + 1, 2, 1)
    m.r(UART + 2, 1)
    m.r(UART + 2, 1)
    m.w(UART + 0, 0x41, 1)
    m.r(UART + 5, 1)
    m.r(UART + 2, 1)
    m.w(UART + 1, 0, 1)
    m.w(UART + 1, 2, 1)
    m.r(UART + 2, 1)
    m.w(UART + 1, 0, 1)
    # loopback without FIFO
    m.w(UART + 4, 0x1F, 1)
    m.r(UART + 6, 1)
    for value in (0x11, 0x12, 0x14, 0x18):
        m.w(UART + 4, value, 1)
        m.r(UART + 6, 1)
    m.w(UART + 1, 7, 1)
    m.w(UART + 0, 0x55, 1)
    uart_regs(m)
    m.w(UART + 0, 0x56, 1)
    m.w(UART + 0, 0x57, 1)  # overrun
    m.r(UART + 2, 1)
    uart_regs(m)
    uart_regs(m)
    # FIFO
    m.w(UART + 1, 0, 1)
    m.w(UART + 2, 0xC1, 1)
    uart_regs(m)
    m.w(UART + 1, 7, 1)
    for i in range(20):
        m.w(UART + 0, 0x60 + i, 1)
        m.r(UART + 2, 1)
        m.r(UART + 5, 1)
    for i in range(18):
        m.r(UART + 0, 1)
        m.r(UART + 2, 1)
        m.r(UART + 5, 1)
    for fcr in (0x41, 0x03, 0x05, 0x07, 0x00, 0x81, 0xFF, 0x00):
        for i in range(5):
            m.w(UART + 0, 0x30 + i, 1)
        m.w(UART + 2, fcr, 1)
        uart_regs(m)


def rtc(m):
    for reg in (0x08, 0x0C, 0x10, 0x14, 0x18, 0x1C, 0x20):
        m.r(RTC + reg)
    m.w(RTC + 0x0C, 0x7FFFFFFF)
    m.r(RTC + 0x0C)
    m.r(RTC + 0x18)
    m.w(RTC + 0x08, 0x1234)
    m.r(RTC + 0x08)
    m.r(RTC + 0x18)
    m.w(RTC + 0x14, 1)
    m.r(RTC + 0x18)
    m.w(RTC + 0x10, 0xFFFFFFFF)
    m.r(RTC + 0x10)
    m.r(PLIC + 0x1000)
    m.w(RTC + 0x0C, 0)
    m.w(RTC + 0x08, 1)  # in the past: fires
    m.r(RTC + 0x18)
    m.r(PLIC + 0x1000)
    m.w(RTC + 0x1C, 1)
    m.w(RTC + 0x04, 0x11223344)  # sets the high half of now
    m.w(RTC + 0x00, 0)
    m.r(RTC + 0x04)  # still what was latched
    m.r(TEST)
    m.r(TEST + 4)


def fw_cfg(m):
    def select(key):
        m.w(FW_CFG + 8, (key & 0xFF) << 8 | key >> 8, 2)

    for size in (1, 2, 4, 8):
        m.r(FW_CFG, size)
    for key, count in ((0x00, 6), (0x01, 6), (0x02, 18), (0x04, 4), (0x05, 4), (0x0E, 4),
                       (0x19, 4 + 3 * 64 + 4), (0x20, 2), (0x21, 2), (0x22, 6), (0x23, 2),
                       (0x3F, 2), (0x40, 2), (0x08, 4), (0x8000, 4), (0x4000, 4), (0xFFFF, 4)):
        select(key)
        for _ in range(count):
            m.r(FW_CFG, 1)
    select(0x19)
    for _ in range(20):
        m.r(FW_CFG, 8)
    m.w(FW_CFG, 0x1234, 4)
    m.r(FW_CFG, 4)
    for off, size in ((0x10, 8), (0x10, 4), (0x14, 4), (0x10, 1), (0x17, 1), (0x12, 2)):
        m.r(FW_CFG + off, size)

    def dma(control, length, address, halves=False):
        for i, byte in enumerate(control.to_bytes(4, "big") + length.to_bytes(4, "big") +
                                 address.to_bytes(8, "big")):
            m.w(0x80001000 + i, byte, 1)
        if halves:
            m.w(FW_CFG + 0x10, 0)
            m.w(FW_CFG + 0x14, int.from_bytes((0x80001000).to_bytes(4, "big"), "little"))
        else:
            m.w(FW_CFG + 0x10, int.from_bytes((0x80001000).to_bytes(8, "big"), "little"), 8)
        for i in range(4):
            m.r(0x80001000 + 4 * i)
        for i in range(3):
            m.r(0x80002000 + 8 * i, 8)

    m.w(0x80002008, 0xFFFFFFFFFFFFFFFF, 8)
    dma(0x00000008 | 2, 6, 0x80002000)
    dma(0x00190008 | 2, 12, 0x80002000, True)
    dma(2, 8, 0x80002000)
    dma(4, 50, 0)
    dma(2, 16, 0x80002000)
    dma(0x00220008 | 0x10, 4, 0x80002000)
    dma(0x00220008 | 4, 2, 0)
    dma(2, 8, 0x80002000)
    dma(0x00400008 | 2, 8, 0x80002000)
    dma(0, 8, 0x80002000)


def flash(m):
    m.r(FLASH)
    m.r(FLASH, 8)
    m.w(FLASH, 0x90)
    for off in (0, 4, 8, 12, 0x400, 0x404, 0x1FFFFFC):
        m.r(FLASH + off)
    for off in range(8):
        m.r(FLASH + off, 1)
    m.r(FLASH, 8)
    m.w(FLASH, 0xFF)
    m.r(FLASH)
    m.w(FLASH, 0x98)
    for i in range(0x60):
        m.r(FLASH + 4 * i)
    for size in (1, 2, 8):
        m.r(FLASH + 0x40, size)
    for cmd in (0x98, 0x70, 0xF0, 0x00, 0xFF):
        m.w(FLASH, cmd)
        m.r(FLASH + 0x40)
    m.w(FLASH, 0x70)
    for off, size in ((0, 1), (1, 1), (2, 2), (0, 4), (0, 8)):
        m.r(FLASH + off, size)
    m.w(FLASH, 0xFF)
    # erase, word programming
    m.w(FLASH + 0x40010, 0x20)
    m.r(FLASH)
    m.w(FLASH, 0xD0)
    m.r(FLASH)
    m.w(FLASH, 0xFF)
    for off in (0x3FFFC, 0x40000, 0x7FFFC, 0x80000):
        m.r(FLASH + off)
    for size, cmd in ((1, 0x40), (2, 0x10), (4, 0x40)):
        m.w(FLASH, cmd)
        m.r(FLASH)
        m.w(FLASH + 0x40000 + 8 * size, 0x12345678 & ((1 << 8 * size) - 1), size)
        m.r(FLASH)
        m.w(FLASH, 0xFF)
        m.r(FLASH + 0x40000 + 8 * size)
    m.w(FLASH, 0x20)
    m.w(FLASH, 0x11)
    m.r(FLASH)
    m.w(FLASH, 0x20)
    m.w(FLASH, 0xFF)
    m.r(FLASH)
    for confirm in (0xD0, 0x01, 0x55):
        m.w(FLASH, 0x60)
        m.r(FLASH)
        m.w(FLASH, confirm)
        m.r(FLASH)
        m.w(FLASH, 0xFF)
    # buffered writes
    base = FLASH + 0x42000
    m.w(base, 0xE8)
    m.r(FLASH)
    m.w(base, 3)
    for i in range(4):
        m.w(base + 4 * i, 0x11110000 + i)
        m.r(FLASH)
    m.w(base, 0xD0)
    m.r(FLASH)
    m.w(FLASH, 0xFF)
    for i in range(5):
        m.r(base + 4 * i)
    m.w(base, 0xE8)  # a write outside the block spoils it
    m.w(base, 1)
    m.w(base + 0x1000, 5)
    m.r(FLASH)
    m.w(base + 4, 7)
    m.w(base, 0xD0)
    m.r(FLASH)
    m.w(FLASH, 0xFF)
    for off in (0, 4, 0x1000):
        m.r(base + off)
    m.w(FLASH, 0x70)
    m.r(FLASH)
    m.w(FLASH, 0x50)
    m.w(FLASH, 0x70)
    m.r(FLASH)
    m.w(FLASH, 0xFF)
    m.w(base, 0xE8)  # not confirmed
    m.w(base, 0)
    m.w(base, 0x99)
    m.w(base, 0x22)
    m.r(FLASH)
    m.r(base)
    m.w(base, 0x10)  # the second bank is a device of its own
    m.r(FLASH + 0x2000000)
    m.w(FLASH + 0x2000000, 0x90)
    m.r(FLASH + 0x2000000)
    m.r(FLASH)


def pci(m):
    for i in range(65):
        m.r(ECAM + 4 * i)
    for i in range(64):
        m.w(ECAM + 4 * i, 0xFFFFFFFF)
    for i in range(64):
        m.r(ECAM + 4 * i)
    for i in range(64):
        m.w(ECAM + 4 * i, 0)
    for i in range(64):
        m.r(ECAM + 4 * i)
    for size in (1, 2):
        for off in range(0, 16, size):
            m.r(ECAM + off, size)
    m.w(ECAM + 0x41, 0x5A, 1)
    m.w(ECAM + 0x42, 0x1234, 2)
    m.r(ECAM + 0x40)
    for off in (0x100, 0x1000, 0x8000, 0x100000, 0xFFFFFFC):
        m.r(ECAM + off)
        m.w(ECAM + off, 0)
        m.r(ECAM + off, 2)
    for addr in (0x3000000, 0x300FFF8, 0x40000000, 0x7FFFFFF8, 0x400000000, 0x7FFFFFFF8):
        for size in (1, 2, 4, 8):
            m.r(addr, size)
        m.w(addr, 0x12345678)
        m.r(addr)


def mask_rom(m):
    for off in range(0, 0x60, 8):
        m.r(0x1000 + off, 8)
    m.r(0xFFF8, 8)
    m.w(0x1000, 0xFFFFFFFF)
    m.r(0x1000)
    m.r(0x80000000)
    m.w(0x80000001, 0x11223344)
    m.r(0x80000000, 8)


SCRIPTS = {"plic": plic, "clint": clint, "uart": uart, "rtc": rtc, "fw-cfg": fw_cfg,
           "flash": flash, "pci": pci, "mask-rom": mask_rom}


def main():
    directory = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__))
    for name in sys.argv[2:] or SCRIPTS:
        stock = Stock([])
        SCRIPTS[name](stock)
        stock.close()
        with open(os.path.join(directory, name + ".txt"), "w", encoding="ascii") as out:
            out.write("\n".join(stock.lines) + "\n")


if __name__ == "__main__":
    main()
