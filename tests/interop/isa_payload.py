#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Random bare-metal programs whose results two emulators must agree on.

A payload is a harness (isa_harness.S) and a list of cases. A case is some code, the privilege level and page
table it runs with, and all registers at its start; it ends with ECALL. The harness prints one line per case: a hash of all
registers, fcsr, every trap on the way, a window of memory and the page table. Cases do not influence each other.

What the architecture leaves open, and what the peer does against it, is not generated:
* memory accesses use a base register that is known to point into the window, or (aligned) to where nothing is;
* AMO, LR and SC only in the window, and there are two harts, one of them parked: with a single hart the peer
  does an AMO as a load and a store and reports the causes of a load;
* no CTZW: of a zero word the peer counts into the upper half;
* mstatus.FS is Off or Dirty: the peer forgets Dirty when an instruction with an integer result sets a flag;
* the window holds no code; counters are not read; self-modification is always followed by FENCE.I.

usage: isa_payload.py straight|sv39|flow SEED [CASES] > payload.S
"""
from __future__ import annotations

import pathlib
import random
import sys
from collections.abc import Callable

WINDOW = 0x84000000         # two pages; isa_harness.S knows these addresses too
WINDOW_VA = 0x40000000      # eight pages that the case's own PTEs map onto the two
USER_ALIAS = 0x40000000     # DRAM appears for U-mode this much higher
SV39 = 8 << 60 | 0x84010000 >> 12
RUNS_OF_A_FLOW = 4          # in all modes, as the last run has changed it
MPP = {"U": 0, "S": 1 << 11, "M": 3 << 11}
FS = 3 << 13
SUM, MXR = 1 << 18, 1 << 19
M64 = 2 ** 64 - 1

FUNCT7 = [0, 0, 0, 1, 1, 4, 5, 0x10, 0x14, 0x20, 0x20, 0x24, 0x30, 0x34, 0x35]
F64 = [0, 1 << 63, 0x7ff0 << 48, 0xfff0 << 48, 0x7ff8 << 48, (0x7ff0 << 48) + 1, 1, (1 << 52) - 1, 1 << 52,
       0x3ff0 << 48, (0x7ff0 << 48) - 1, 0x43e0 << 48, 0xc3e0 << 48, 0x41dfffffffc00000]
F32 = [0, 1 << 31, 0x7f8 << 20, 0xff8 << 20, 0x7fc << 20, 0x7f800001, 1, 0x007fffff, 0x008 << 20, 0x3f8 << 20,
       0x7f7fffff, 0x4f0 << 20, 0xcf0 << 20, 0x5f0 << 20]
INTS = [0, 1, M64, M64 - 1, M64 - 2, 1 << 63, (1 << 63) - 1, 0xffffffff, 0x80000000, 0x7fffffff, 0xffffffff80000000]
NOWHERE = [0, 8, 0x800, 1 << 63, M64 - 7, 0x0123456789abcd00, 0xffffffc000000000, 1 << 39, 1 << 56]

I_LOAD, I_FLOAD, I_FENCE, I_IMM, I_IMM32, I_STORE, I_FSTORE, I_AMO = 3, 7, 0xf, 0x13, 0x1b, 0x23, 0x27, 0x2f
I_OP, I_LUI, I_OP32, I_FP, I_SYSTEM = 0x33, 0x37, 0x3b, 0x53, 0x73
CTZW_MASK, CTZW = 0xfff0707f, 0x6010101b
LEAVES_OR_ACCESSES = {I_LOAD, I_FLOAD, 0x17, I_STORE, I_FSTORE, I_AMO, 0x63, 0x67, 0x6f, I_SYSTEM}


def half(word: int) -> str:
    return f"\t.2byte {word:#x}"


def full(word: int) -> str:
    return f"\t.4byte {word:#x}"


class Words:
    """Random instruction words, mostly legal ones."""

    def __init__(self, rng: random.Random, targets: list[int]) -> None:
        self.rng = rng
        self.targets = targets      # registers that may be written

    def fields(self) -> tuple[int, int, int, int]:
        rng = self.rng
        return rng.choice(self.targets), rng.randrange(32), rng.randrange(32), rng.randrange(8)

    def op(self) -> int:
        rd, rs1, rs2, f3 = self.fields()
        f7 = self.rng.choice(FUNCT7) if self.rng.random() < .9 else self.rng.randrange(128)
        return f7 << 25 | rs2 << 20 | rs1 << 15 | f3 << 12 | rd << 7 | self.rng.choice([I_OP, I_OP, I_OP32])

    def immediate(self) -> int:
        rd, rs1, _, f3 = self.fields()
        imm = self.rng.randrange(4096)
        if self.rng.random() < .7:
            return imm << 20 | rs1 << 15 | f3 << 12 | rd << 7 | I_IMM
        return imm << 20 | rs1 << 15 | self.rng.choice([0, 0, 1, 5, f3]) << 12 | rd << 7 | I_IMM32

    def shift(self) -> int:
        rd, rs1, _, _ = self.fields()
        rng = self.rng
        f6 = rng.choice([0, 0x10, 0x0a, 0x12, 0x1a, 0x18])
        amount = rng.choice([rng.randrange(64), 7, 56, 0, 1, 2, 4, 5])
        return f6 << 26 | amount << 20 | rs1 << 15 | rng.choice([1, 5]) << 12 | rd << 7 | rng.choice([I_IMM, I_IMM32])

    def lui(self) -> int:
        return self.rng.getrandbits(20) << 12 | self.rng.choice(self.targets) << 7 | I_LUI

    def fp(self) -> int:
        rd, rs1, rs2, f3 = self.fields()
        rng = self.rng
        f5 = rng.choice([0, 1, 2, 3, 4, 5, 8, 0xb, 0x14, 0x18, 0x1a, 0x1c, 0x1e])
        if f5 in (0xb, 0x1c, 0x1e):
            rs2 = rng.choice([0, 0, 0, rs2])
        if f5 in (8, 0x18, 0x1a):
            rs2 = rng.choice([0, 1, 2, 3, rs2])
        rm = rng.choice([0, 1, 2, f3] if f5 in (4, 5, 0x14, 0x1c, 0x1e) else [0, 1, 2, 3, 4, 7, 7, f3])
        return f5 << 27 | rng.randrange(2) << 25 | rs2 << 20 | rs1 << 15 | rm << 12 | rd << 7 | I_FP

    def fma(self) -> int:
        rd, rs1, rs2, f3 = self.fields()
        rng = self.rng
        return (rng.randrange(32) << 27 | rng.choice([0, 1, rng.randrange(4)]) << 25 | rs2 << 20 | rs1 << 15
                | rng.choice([0, 1, 2, 3, 4, 7, f3]) << 12 | rd << 7 | rng.choice([0x43, 0x47, 0x4b, 0x4f]))

    def fcsr(self) -> int:
        rd, rs1, _, _ = self.fields()
        return (self.rng.choice([1, 2, 3]) << 20 | rs1 << 15 | self.rng.choice([1, 2, 3, 5, 6, 7]) << 12 | rd << 7
                | I_SYSTEM)

    def fence(self) -> int:
        return self.rng.choice([0x0ff0000f, 0x0100000f, 0x0000100f, self.rng.getrandbits(20) << 12 & ~0x7000 | I_FENCE])

    def anything(self) -> int:
        """Any encoding that neither leaves the line nor accesses memory."""
        while True:
            word = self.rng.getrandbits(32) | 3
            if word & 0x7f not in LEAVES_OR_ACCESSES and word >> 7 & 31 in self.targets:
                return word

    def arithmetic(self) -> int:
        kinds: list[Callable[[], int]] = [self.op, self.op, self.op, self.immediate, self.immediate, self.shift,
                                          self.lui, self.fp, self.fp, self.fma, self.fcsr, self.fence, self.anything]
        while True:
            word = self.rng.choice(kinds)()
            if word & CTZW_MASK != CTZW:
                return word


class Straight:
    """Code without jumps; knows at each point which registers point where."""

    def __init__(self, rng: random.Random, pointers: set[int], nowhere: set[int], below_m: bool) -> None:
        self.rng = rng
        self.words = Words(rng, list(range(32)))
        self.pointers = pointers
        self.nowhere = nowhere
        self.below_m = below_m
        self.lines: list[str] = []

    def put32(self, word: int) -> None:
        if word & 0x7f not in (I_STORE, I_FSTORE):
            self.clobber({word >> 7 & 31})
        self.lines.append(full(word))

    def clobber(self, regs: set[int]) -> None:
        self.pointers -= regs
        self.nowhere -= regs

    def spares_pointers(self, regs: set[int]) -> bool:
        return not regs & self.pointers or self.rng.random() < .2

    def arithmetic(self) -> None:
        while True:
            word = self.words.arithmetic()
            if self.spares_pointers({word >> 7 & 31}):
                self.put32(word)
                return

    def compressed(self) -> None:
        """Any 16-bit instruction that does not jump and whose base, if it has one, is good."""
        while True:
            word = self.rng.getrandbits(16)
            quadrant, f3 = word & 3, word >> 13
            named = {word >> 7 & 31, 8 + (word >> 2 & 7), 8 + (word >> 7 & 7)}
            if quadrant == 3 or (quadrant == 1 and f3 >= 5) or (quadrant == 2 and f3 == 4 and not word >> 2 & 31):
                continue
            if quadrant != 1 and f3 not in (0, 4):
                base = 2 if quadrant == 2 else 8 + (word >> 7 & 7)
                if base not in self.pointers:
                    continue
                if f3 >= 5:
                    named = set()
            if self.spares_pointers(named):
                self.clobber(named)
                self.lines.append(half(word))
                return

    def access(self) -> None:
        rng = self.rng
        rd, f3 = rng.randrange(32), rng.randrange(8)
        if self.nowhere and rng.random() < .1:
            base, offset = rng.choice(sorted(self.nowhere)), rng.randrange(-8, 8) * 8
        elif self.pointers:
            base = rng.choice(sorted(self.pointers))
            offset = rng.choice([rng.randrange(-64, 64), rng.randrange(-8, 8) * 8])
        else:
            self.arithmetic()
            return
        if rd in self.pointers and rng.random() < .8:
            rd = 0
        kind = rng.choice([I_LOAD, I_LOAD, I_STORE, I_STORE, I_FLOAD, I_FSTORE])
        if kind in (I_FLOAD, I_FSTORE):
            f3 = rng.choice([2, 3, 2, 3, f3])
        offset &= 0xfff
        if kind in (I_LOAD, I_FLOAD):
            self.put32(offset << 20 | base << 15 | f3 << 12 | rd << 7 | kind)
        else:
            self.put32(offset >> 5 << 25 | rng.randrange(32) << 20 | base << 15 | f3 << 12 | (offset & 31) << 7 | kind)

    def atomic(self) -> None:
        rng = self.rng
        if not self.pointers:
            self.arithmetic()
            return
        base, source = rng.choice(sorted(self.pointers)), rng.randrange(32)
        rd = rng.choice([0, 5, 7, rng.randrange(32)])
        width = rng.choice([2, 3])
        order = rng.randrange(4)

        def amo(f5: int, rs2: int, f3: int, to: int) -> None:
            self.put32(f5 << 27 | order << 25 | rs2 << 20 | base << 15 | f3 << 12 | to << 7 | I_AMO)

        if rng.random() < .3:
            rd = 0 if rd == base else rd
            amo(2, 0, width, rd)
            amo(3, source, width, rng.randrange(32))
            return
        f5 = rng.choice([0, 1, 2, 3, 4, 8, 12, 16, 20, 24, 28, rng.randrange(32)])
        amo(f5, rng.choice([0, 0, 0, source]) if f5 == 2 else source, rng.choice([2, 3, 2, 3, rng.randrange(8)]), rd)

    def special(self) -> None:
        """Instructions that trap here; SFENCE.VMA is harmless where it is allowed."""
        self.put32(self.rng.choice([0x00100073, 0x12000073, 0x30200073 if self.below_m else 0x12000073,
                                    0x34002073 if self.below_m else 0x00100073]))

    def code(self) -> list[str]:
        rng = self.rng
        for _ in range(rng.randrange(4, 32)):
            rng.choice([self.arithmetic] * 9 + [self.compressed] * 6 + [self.access] * 6 + [self.atomic]
                       + [self.special] * (rng.random() < .1))()
        return self.lines


def fvalue(rng: random.Random) -> int:
    boxed = M64 << 32 & M64
    sign = rng.getrandbits(1)
    return rng.choice([lambda: rng.choice(F64), lambda: boxed | rng.choice(F32), lambda: boxed | rng.getrandbits(32),
                       lambda: boxed | sign << 31 | rng.randrange(120, 140) << 23 | rng.getrandbits(23),
                       lambda: sign << 63 | rng.randrange(1015, 1035) << 52 | rng.getrandbits(52),
                       lambda: rng.getrandbits(64)])()


def ivalue(rng: random.Random) -> int:
    return rng.choice([lambda: rng.choice(INTS), lambda: rng.randrange(-64, 64) & M64, lambda: rng.getrandbits(64)])()


class Case:
    """Where and with what a piece of code starts; the layout is that of isa_harness.S."""

    def __init__(self, rng: random.Random, label: str, mode: str, paged: bool) -> None:
        self.paged = paged
        self.entry = f"{label}+{USER_ALIAS}" if paged and mode == "U" else label
        self.mstatus = rng.choice([FS] * 9 + [0]) | MPP[mode] | rng.choice([0, SUM]) | rng.choice([0, MXR])
        self.ptes = [self.pte(rng) for _ in range(8)]
        self.x = [0] + [ivalue(rng) for _ in range(31)]
        self.f = [fvalue(rng) for _ in range(32)]
        self.pointers: set[int] = set()
        self.nowhere: set[int] = set()

    @staticmethod
    def pte(rng: random.Random) -> int:
        """A page of the window, mostly with rights that allow something."""
        ppn = (WINDOW >> 12) + rng.randrange(2)
        flags = rng.choice([0xd7, 0xc7, 0xdf, 0x57, 0x17, 0x07, 0xd3, rng.getrandbits(8)])
        odd = rng.choice([0, 0, 0, 0, 0, 1 << 54, 1 << 63, 1 << 61]) | rng.choice([0, 0, 1, 2, 3]) << 8
        return odd | ppn << 10 | flags

    def scatter_pointers(self, rng: random.Random) -> None:
        for reg in rng.sample(range(1, 32), 14):
            offset = rng.choice([512, 520, 528, 576, rng.randrange(256, 2048), rng.randrange(4032, 4160)])
            self.x[reg] = WINDOW_VA + rng.randrange(7) * 4096 + offset if self.paged else WINDOW + offset
            self.pointers.add(reg)
        for reg in rng.sample(sorted(set(range(1, 32)) - self.pointers), 3):
            self.x[reg] = rng.choice(NOWHERE)
            self.nowhere.add(reg)

    def text(self) -> str:
        numbers = [self.mstatus, SV39 if self.paged else 0, *self.ptes, *self.f, *self.x]
        return f"\t.dword {self.entry}\n" + "\n".join(f"\t.dword {n:#x}" for n in numbers)


class Flow:
    """A program of functions with loops, branches, jump tables, calls and code that changes itself."""

    COUNTERS = ["s0", "s1", "s2"]
    RESERVED = {0, 1, 2, 3, 4, 8, 9, 18}        # zero, ra, stack, window, address, counters
    BUDGET = 20000                              # instructions a run may take

    def __init__(self, rng: random.Random, name: str) -> None:
        self.rng = rng
        self.name = name
        self.words = Words(rng, [r for r in range(32) if r not in self.RESERVED])
        self.count = rng.randrange(3, 8)
        self.labels = 0
        self.slots: list[str] = []
        self.costs: dict[int, int] = {}
        self.lines: list[str] = []

    def put(self, *lines: str) -> None:
        self.lines += [line if line.endswith(":") else "\t" + line.strip() for line in lines]

    def label(self) -> str:
        self.labels += 1
        return f"{self.name}_{self.labels}"

    def reg(self) -> str:
        """A register, mostly one of a few so that neighbours depend on each other."""
        return f"x{self.rng.choice(self.words.targets)}" if self.rng.random() < .3 else f"a{self.rng.randrange(4)}"

    def arithmetic(self, depth: int, times: int) -> int:
        n = self.rng.randrange(1, 7)
        for _ in range(n):
            if self.rng.random() < .6:
                self.put(full(self.words.arithmetic()))
                continue
            a, b = (f"a{self.rng.randrange(6)}" for _ in range(2))
            self.put(self.rng.choice([f"c.mv {a},{b}", f"c.add {a},{b}", f"c.xor {a},{b}", f"c.sub {a},{b}",
                                      f"c.addi {a},{self.rng.randrange(1, 32)}", f"c.li {a},{self.rng.randrange(-32, 32)}",
                                      f"c.srli {a},{self.rng.randrange(1, 64)}", f"c.addw {a},{b}"]))
        return 2 * n

    def compiled(self, depth: int, times: int) -> int:
        """What compilers emit most, whose frequent neighbours run as one operation."""
        rng, n = self.rng, self.rng.randrange(2, 9)
        for _ in range(n):
            a, b, c, spot = self.reg(), self.reg(), self.reg(), 8 * rng.randrange(32)
            self.put(rng.choice([f"addi {a},{b},{rng.randrange(-64, 64)}", f"add {a},{b},{c}", f"mv {a},{b}",
                                 f"li {a},{rng.randrange(-2048, 2048)}", f"slli {a},{b},{rng.randrange(1, 64)}",
                                 f"xor {a},{b},{c}", f"mul {a},{b},{c}", f"addiw {a},{b},{rng.randrange(-64, 64)}",
                                 f"andi {a},{b},{rng.randrange(16)}", f"srli {a},{b},{rng.randrange(1, 64)}",
                                 f"srliw {a},{b},{rng.randrange(1, 32)}", f"ld {a},{spot}(gp)", f"lw {a},{spot}(gp)",
                                 f"lbu {a},{spot}(gp)", f"sd {a},{spot}(gp)", f"sw {a},{spot}(gp)", f"sb {a},{spot}(gp)",
                                 f"li {a},{rng.getrandbits(32)}", f"lla {a},{self.name}\n\tsub {a},{a},gp"]))
        return n

    def memory(self, depth: int, times: int) -> int:
        for _ in range(n := self.rng.randrange(1, 4)):
            self.put(f"{self.rng.choice(['ld', 'lw', 'lwu', 'lh', 'lhu', 'lb', 'lbu', 'sd', 'sd', 'sw', 'sh', 'sb'])} "
                     f"{self.reg()},{self.rng.randrange(2040)}(gp)")
        return n

    def branch(self, depth: int, times: int) -> int:
        other, end = self.label(), self.label()
        right = "zero" if self.rng.random() < .3 else self.reg()
        self.put(f"{self.rng.choice(['beq', 'bne', 'blt', 'bge', 'bltu', 'bgeu'])} {self.reg()},{right},{other}")
        cost = self.body(depth + 1, times)
        if self.rng.random() < .5:
            self.put(f"j {end}")
        self.put(f"{other}:")
        cost += self.body(depth + 1, times)
        self.put(f"{end}:")
        return cost + 2

    def loop(self, depth: int, times: int) -> int:
        if not self.free_counters:
            return self.memory(depth, times)
        counter, top, n = self.free_counters.pop(), self.label(), self.rng.choice([2, 3, 5, 17, 50])
        self.put(f"li {counter},{n}", f"{top}:")
        cost = self.body(depth + 1, times * n)
        if self.rng.random() < .3:
            out = self.label()
            self.put(f"beq {self.reg()},{self.reg()},{out}", f"addi {counter},{counter},-1", f"bnez {counter},{top}", f"{out}:")
        else:
            self.put(f"addi {counter},{counter},-1", f"bnez {counter},{top}")
        self.free_counters.append(counter)
        return n * (cost + 3)

    def switch(self, depth: int, times: int) -> int:
        table, end, base = self.label(), self.label(), self.reg()
        cases = [self.label() for _ in range(4)]
        self.put(f"andi x4,{self.reg()},3", "slli x4,x4,2", f"lla {base},{table}", f"add x4,x4,{base}", "lw x4,0(x4)",
                 f"add x4,x4,{base}", "jr x4", ".balign 4", f"{table}:", *[f".word {case}-{table}" for case in cases])
        cost = 0
        for case in cases:
            self.put(f"{case}:")
            cost = max(cost, self.body(depth + 1, times))
            if self.rng.random() < .8:
                self.put(f"j {end}")
        self.put(f"{end}:")
        return 2 * cost + 8

    def call(self, depth: int, times: int) -> int:
        affordable = [f for f, cost in self.costs.items() if cost * times < self.BUDGET]
        if not affordable:
            return self.arithmetic(depth, times)
        callee = self.rng.choice(affordable)
        target = f"{self.name}_f{callee}"
        self.put(*self.rng.choice([[f"call {target}"], [f"lla x4,{target}", "jalr x4"]]))
        return self.costs[callee] + 2

    def call_nowhere(self, depth: int, times: int) -> int:
        """Faults at the target; the harness goes on at ra."""
        self.put(f"li x4,{self.rng.choice([0, 8, 0x7fc, -4096, 1 << 50])}", "jalr x4")
        return 30

    def patch(self, depth: int, times: int) -> int:
        """Give an instruction another immediate, here or in any function; it may be the very next one."""
        if not self.slots or self.rng.random() < .4:
            self.slot()
        value, word = self.rng.sample(["a0", "a1", "a2", "a3", "t1", "t2", "t3"], 2)
        self.put(f"andi {value},{value},63", f"slli {value},{value},20", f"lla x4,{self.rng.choice(self.slots)}",
                 f"lw {word},0(x4)", f"xor {value},{value},{word}", f"sw {value},0(x4)", "fence.i")
        if self.rng.random() < .5:
            self.slot()
        return 8

    def slot(self) -> None:
        slot, reg = self.label(), self.reg()
        self.put(".option push", ".option norvc", f"{slot}:", f"addi {reg},{reg},{self.rng.randrange(64)}", ".option pop")
        self.slots.append(slot)

    def page_end(self, depth: int, times: int) -> int:
        """Go on a few instructions before the end of a page."""
        on = self.label()
        self.put(f"j {on}", ".balign 4096", f".space {4096 - 2 * self.rng.randrange(1, 24)}", f"{on}:")
        return 1

    def body(self, depth: int, times: int) -> int:
        simple = [self.arithmetic] * 3 + [self.compiled] * 5 + [self.memory] * 3 + [self.patch] * (times < 200) + [self.call]
        nested = [self.branch] * 3 + [self.loop] * 2 * (times < 500) + [self.switch]
        rare = [self.call_nowhere] * (times < 50) + [self.page_end]
        cost = 0
        for _ in range(self.rng.randrange(1, 5)):
            roll = self.rng.random()
            pool = rare if roll < .04 else nested if roll < .4 and depth < 4 else simple
            cost += self.rng.choice(pool)(depth, times)
        return cost

    def function(self, index: int) -> None:
        self.free_counters = list(self.COUNTERS)
        self.put(f"{self.name}_f{index}:", "addi sp,sp,-32", "sd ra,0(sp)",
                 *[f"sd {s},{8 * i}(sp)" for i, s in enumerate(self.COUNTERS, 1)])
        self.costs[index] = self.body(0, 1) + self.body(0, 1) + 12
        self.put("ld ra,0(sp)", *[f"ld {s},{8 * i}(sp)" for i, s in enumerate(self.COUNTERS, 1)], "addi sp,sp,32", "ret")

    def code(self) -> list[str]:
        for index in range(self.count):     # each calls those before it, so there is no recursion
            self.function(index)
        self.put(f"{self.name}:", f"call {self.name}_f{self.count - 1}")
        return self.lines


def generate(kind: str, seed: int, cases: int) -> str:
    """The assembler text of one payload."""
    rng = random.Random(f"{kind} {seed}")
    code: list[str] = []
    table: list[Case] = []
    for number in range(cases):
        name = f"case{number}"
        if kind == "flow":
            code += [*Flow(rng, name).code(), "\tecall"]
            for mode in rng.sample("MSU", 3) + rng.choices("MSU", k=RUNS_OF_A_FLOW - 3):
                case = Case(rng, name, mode, paged=mode != "M")
                case.x[3] = WINDOW + (USER_ALIAS if mode == "U" else 0)
                case.x[2] = case.x[3] + 0x2000
                table.append(case)
            continue
        mode = rng.choice("SU") if kind == "sv39" else "M"
        case = Case(rng, name, mode, paged=mode != "M")
        case.scatter_pointers(rng)
        table.append(case)
        code += [f"{name}:", *Straight(rng, set(case.pointers), set(case.nowhere), mode != "M").code(), "\tecall"]
    harness = pathlib.Path(__file__).with_name("isa_harness.S").read_text()
    return "\n".join([harness, "\t.text", *code, "\t.data", "\t.balign 8", "cases:", *[c.text() for c in table],
                      "\t.dword 0", ""])


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4) or sys.argv[1] not in ("straight", "sv39", "flow"):
        sys.exit(__doc__)
    print(generate(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) == 4 else 100))
