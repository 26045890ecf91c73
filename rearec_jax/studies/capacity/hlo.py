"""Reads the text of a compiled module: what it sends between chips, and its estimated cycles.

XLA's cost analysis counts the body of a loop once; here a loop counts as often as it runs.
"""

from collections import defaultdict
from collections.abc import Iterator
import math
import re
from typing import NamedTuple

# `%body.3 (arg: (s32[], f32[8])) -> (s32[], f32[8]) {` and `ENTRY %main.7 (...) -> f32[] {`
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{\s*$")
# `  ROOT %x.1 = f32[8,2]{1,0:T(8,128)} all-reduce(%y), replica_groups={{0,1}}, ...`
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?[\w.\-]+ = (.*?) ([a-z][a-z\-]*)\((.*)$")
_CALLS = re.compile(r"\b(calls|body|condition|to_apply|branch_computations)=(\{[^}]*\}|%?[\w.\-]+)")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
_ARRAY = re.compile(r"\b(pred|c64|c128|[a-z]+\d\w*)\[([\d,]*)\]")
_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')
_GROUPS = re.compile(r"replica_groups=(?:\{\{([\d,]*)\}|\[\d+,(\d+)\])")
_AXES = re.compile(r"replica_groups=mesh\[([^\]]*)\] \{([^}]*)\}")  # mesh['x'=4,'y'=2] {'x'}
_AXIS = re.compile(r"'(\w+)'(?:=(\d+)|:\(\d+\)(\d+))?")
_LIMIT = re.compile(r"^\s+(?:ROOT )?%?[\w.\-]+ = s32\[\]\S* constant\((\d+)\)")

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")


class Collective(NamedTuple):
    """An instruction by which the chips of a group exchange arrays."""

    kind: str  # the kind of the collective, one of KINDS
    size: int  # the bytes of the whole array that is made or given away, on one chip
    chips: int  # the number of chips of a group
    times: int  # how often the instruction runs

    @property
    def sent(self) -> float:
        """The bytes that leave a chip in all its runs, where the group is a ring."""
        others = (self.chips - 1) / self.chips if self.chips else 0.0
        rounds = {"all-reduce": 2 * others, "collective-permute": 1.0}.get(self.kind, others)
        return self.times * self.size * rounds


class Loops(NamedTuple):
    """The number of runs of each computation in one call."""

    times: dict[str, int]  # the number of runs, by the computation's name
    unknown: int  # the number of loops of unknown rounds, which count once


class _Instruction(NamedTuple):
    computation: str
    shape: str
    operation: str
    rest: str  # operands and attributes


class _Module(NamedTuple):
    instructions: list[_Instruction]
    entry: str  # the computation where a call starts
    limits: dict[str, list[int]]  # integers that a computation names: the end of a loop is one


def collectives(text: str, chips: int) -> list[Collective]:
    """Returns every collective of a compiled module (its `as_text()`) for ``chips`` chips."""
    read = _read(text)
    times = _loops(read).times
    found = []
    for instruction in read.instructions:
        kind = instruction.operation.removesuffix("-start")
        if kind in KINDS and times.get(instruction.computation, 0):
            group = _group(instruction.rest, chips)
            size = _size(kind, instruction, group)
            found.append(Collective(kind, size, group, times[instruction.computation]))
    return found


def sent_by_kind(found: list[Collective]) -> dict[str, float]:
    """Returns the bytes that leave a chip in one call, by kind of collective."""
    total: dict[str, float] = defaultdict(float)
    for collective in found:
        total[collective.kind] += collective.sent
    return dict(total)


def loops(text: str) -> Loops:
    """Returns how often each computation of a module runs in one call."""
    return _loops(_read(text))


def cycles(text: str) -> int:
    """Returns a chip's cycles in one call, by the estimates that a TPU's compiler writes.

    They leave out what chips send each other. The result is 0 where there are no estimates, as on
    other platforms.
    """
    read = _read(text)
    times = _loops(read).times
    found = ((each.computation, _CYCLES.search(each.rest)) for each in read.instructions)
    return sum(times.get(name, 0) * int(cycles[1]) for name, cycles in found if cycles)


def _read(text: str) -> _Module:
    instructions, entry, here = [], "", ""
    limits: dict[str, list[int]] = defaultdict(list)
    for line in text.splitlines():
        if head := _COMPUTATION.match(line):
            here = head[2]
            entry = here if head[1] else entry
        elif body := _INSTRUCTION.match(line):
            instructions.append(_Instruction(here, *body.groups()))
            if limit := _LIMIT.match(line):
                limits[here].append(int(limit[1]))
    return _Module(instructions, entry, limits)


def _loops(module: _Module) -> Loops:
    called: dict[str, list[tuple[str, int]]] = defaultdict(list)
    unknown = 0
    for instruction in module.instructions:
        rounds = 1
        if instruction.operation == "while":
            known = _rounds(instruction, module)
            rounds, unknown = known or 1, unknown + (known is None)
        called[instruction.computation] += [(name, rounds) for name in _callees(instruction)]
    times: dict[str, int] = defaultdict(int)
    waiting = [(module.entry, 1)]
    while waiting:  # a computation calls only others: this ends
        name, count = waiting.pop()
        times[name] += count
        waiting += [(callee, count * rounds) for callee, rounds in called[name]]
    return Loops(dict(times), unknown)


def _rounds(loop: _Instruction, module: _Module) -> int | None:
    """Returns the rounds of a loop; None where they are unknown.

    They are in the instruction, or are the one number that the loop's condition names.
    """
    if known := _TRIPS.search(loop.rest):
        return int(known[1])
    condition = re.search(r"condition=%?([\w.\-]+)", loop.rest)
    limits = module.limits.get(condition[1], []) if condition else []
    return limits[0] if len(limits) == 1 else None


def _callees(instruction: _Instruction) -> Iterator[str]:
    for _, names in _CALLS.findall(instruction.rest):
        yield from (name.strip().lstrip("%") for name in names.strip("{}").split(",") if name)


def _group(rest: str, chips: int) -> int:
    """Returns the number of chips of a group; `{}` stands for all chips.

    `{{0,1},{2,3}}`, `[2,2]<=[4]` and `mesh['x'=2,'y'=2] {'x'}` are all groups of 2.
    """
    if named := _AXES.search(rest):
        sizes = {name: int(size) for name, size, _ in _AXIS.findall(named[1])}
        return math.prod(int(part or sizes[name]) for name, _, part in _AXIS.findall(named[2]))
    listed = _GROUPS.search(rest)
    if listed is None:
        return chips
    return int(listed[2]) if listed[2] else len(listed[1].split(","))


def _size(kind: str, instruction: _Instruction, group: int) -> int:
    total = sum(_bytes(*array) for array in _ARRAY.findall(instruction.shape))
    if instruction.operation.endswith("-start"):  # a tuple of what goes in and what comes out
        if kind == "all-gather":
            total = total * group // (group + 1)
        elif kind == "collective-permute":
            total //= 2
    return total * group if kind == "reduce-scatter" else total


def _bytes(kind: str, dimensions: str) -> int:
    """Returns the bytes of an array such as ("bf16", "8,128")."""
    bits = 8 if kind == "pred" else int(re.search(r"\d+", kind)[0])  # type: ignore[index]
    return math.prod(int(size) for size in dimensions.split(",") if size) * bits // 8
