"""Random flows as text: every program is one that ends, and whose types are right."""

from __future__ import annotations

from random import Random

INTS, LISTS, TEXTS, FLAGS = "int", "list", "text", "flag"
START = """\
async def flow(n: int) -> object:
    a, b = n, 1
    c = 0
    xs = [1, n]
    ys = list(range(3))
    s = "s"
    t = str(n)
    p = n > 2
    q = not p
"""
KINDS = {INTS: ["n", "a", "b", "c"], LISTS: ["xs", "ys"], TEXTS: ["s", "t"], FLAGS: ["p", "q"]}
LOCAL = {INTS: ["a", "b", "c"], LISTS: ["xs", "ys"], TEXTS: ["s", "t"], FLAGS: ["p", "q"]}


class Writer:
    """Writes one program. `budget` bounds the statements."""

    def __init__(self, rng: Random, budget: int) -> None:
        self.rng = rng
        self.budget = budget
        self.lines: list[str] = []
        self.names = {kind: list(names) for kind, names in KINDS.items()}
        self.count = 0
        self.in_typed_try = 0
        self.has_gather = False

    def program(self) -> str:
        self.block(1, 0, loops=0)
        self.line(1, "return [a, b, c, xs, ys, s, t, p, q]")
        return START + "\n".join(self.lines) + "\n"

    # --- statements

    def line(self, depth: int, text: str) -> None:
        self.lines.append("    " * depth + text)

    def block(self, depth: int, nesting: int, *, loops: int) -> None:
        kept = {kind: list(names) for kind, names in self.names.items()}
        for _ in range(self.rng.randint(1, 4)):
            if self.budget <= 0:
                break
            self.budget -= 1
            self.statement(depth, nesting, loops)
        else:
            self.line(depth, "pass")
            self.names = kept
            return
        self.line(depth, "c += 1")
        self.names = kept

    def statement(self, depth: int, nesting: int, loops: int) -> None:
        kinds = ["assign"] * 3 + ["await"] * 4 + ["change", "unpack", "comprehension", "gather", "each"]
        if nesting < 3:
            kinds += ["if"] * 3 + ["for", "while", "forever", "try", "try", "finally"]
        if loops:
            kinds += ["leave"] * 2
        kinds += ["stop"] if self.rng.random() < 0.3 else []
        getattr(self, f"_{self.rng.choice(kinds)}")(depth, nesting, loops)

    def _assign(self, depth: int, *_: int) -> None:
        kind = self.rng.choice(list(LOCAL))
        name = self.rng.choice(LOCAL[kind])
        if kind == INTS and self.rng.random() < 0.4:
            self.line(depth, f"{name} {self.rng.choice(['+=', '-=', '+='])} {self.small()}")
        else:
            self.line(depth, f"{name} = {self.expression(kind, 2)}")

    def _await(self, depth: int, *_: int) -> None:
        call = self.call()
        self.count += 1
        name = f"r{self.count}"
        x, flag = self.expression(INTS, 1), self.expression(FLAGS, 1)
        shapes = [
            [call],
            [f"a = {call} + {x}"],
            [f"{name} = {call}"],
            [f"if {call} > {self.small()}:", f"    b = {x}"],
            [f"if {flag} {self.rng.choice(['and', 'or'])} not {call} > {x}:", f"    b = {self.call()}", f"c += {x}"],
            [f's = f"{{{call}}}-{{{self.expression(TEXTS, 0)}}}"[:12]'],
            [f"{self.rng.choice(LOCAL[INTS])} = {call}"],
            [f"b = {call} if {flag} else {x}"],
            [f"{name} = {x} if {self.test()} else {call}"],
        ]
        shape = self.rng.choice(shapes)
        for line in shape:
            self.line(depth, line)
        if shape[-1].startswith(name):
            self.names[INTS].append(name)

    def _change(self, depth: int, *_: int) -> None:
        self.line(depth, f"ys.append({self.expression(INTS, 1)})")
        self.line(depth, "ys = ys[-5:]")

    def _unpack(self, depth: int, *_: int) -> None:
        self.line(depth, self.rng.choice(["a, b = b, a", "a, c = [b, a]", "b, c = a, b + c"]))

    def _comprehension(self, depth: int, *_: int) -> None:
        test = self.rng.choice(["", " if x > 1", " if x % 2 == 0 and p"])
        source = self.rng.choice(["xs", "ys", "range(4)"])
        text = f"x + {self.small()} for x in {source}{test}"
        line = self.rng.choice([f"xs = [{text}]", f"a = sum({text})", f"b = len([{text}])", f"q = any({text})"])
        if self.rng.random() < 0.3:
            line = f"xs = [await {self.rng.choice(['inc', 'risky', 'guarded'])}(x) for x in {source}{test}]"
        self.line(depth, line)

    def _gather(self, depth: int, *_: int) -> None:
        self.has_gather = True
        # Of two that fail, the first in time is told; what fails without a step would be first here.
        calls = [self.call()[6:].replace("guarded", "doubled") for _ in range(2)]
        self.line(depth, f"a, b = await asyncio.gather({', '.join(calls)})")

    def _each(self, depth: int, *_: int) -> None:
        self.has_gather = True
        call = self.rng.choice(["inc(x)", "add(x, n)", "add(a=x, b=x * 2)", "risky(x)"])
        self.line(depth, f"ys = await asyncio.gather(*({call} for x in {self.rng.choice(['xs', 'ys', 'range(3)'])}))")

    def _if(self, depth: int, nesting: int, loops: int) -> None:
        self.line(depth, f"if {self.test()}:")
        self.block(depth + 1, nesting + 1, loops=loops)
        if self.rng.random() < 0.3:
            self.line(depth, f"elif {self.test()}:")
            self.block(depth + 1, nesting + 1, loops=loops)
        if self.rng.random() < 0.5:
            self.line(depth, "else:")
            self.block(depth + 1, nesting + 1, loops=loops)

    def _for(self, depth: int, nesting: int, loops: int) -> None:
        self.count += 1
        x, i = f"x{self.count}", f"i{self.count}"
        heads = [
            (f"for {x} in xs:", [x]),
            (f"for {x} in range({self.rng.randint(0, 3)}):", [x]),
            (f"for {x} in range(3, {self.rng.choice(['0', 'a % 3'])}, -1):", [x]),
            (f"for {i}, {x} in enumerate(xs, 1):", [i, x]),
            (f"for {i}, {x} in zip(xs, range(3)):", [i, x]),
            (f"for {x} in await many(b):", [x]),
        ]
        head, names = self.rng.choice(heads)
        self.line(depth, head)
        self.names[INTS] += names
        self.block(depth + 1, nesting + 1, loops=loops + 1)
        for name in names:
            self.names[INTS].remove(name)
        self._else(depth, nesting, loops)

    def _while(self, depth: int, nesting: int, loops: int) -> None:
        self.count += 1
        k = f"k{self.count}"
        self.line(depth, f"{k} = 0")
        test = self.rng.choice(["", f" and {self.test()}", f" and {self.call()} > 0"])
        test = f"{k} < 3{test}"
        self.line(depth, f"while {test}:")
        self.line(depth + 1, f"{k} += 1")
        self.names[INTS].append(k)
        self.block(depth + 1, nesting + 1, loops=loops + 1)
        self._else(depth, nesting, loops)

    def _forever(self, depth: int, nesting: int, loops: int) -> None:
        self.count += 1
        k = f"k{self.count}"
        self.line(depth, f"{k} = 0")
        self.line(depth, "while True:")
        self.line(depth + 1, f"{k} += 1")
        self.line(depth + 1, f"if {k} > {self.rng.randint(1, 3)}:")
        self.line(depth + 2, self.rng.choice(["break", "break", "return c"]))
        self.block(depth + 1, nesting + 1, loops=loops + 1)

    def _else(self, depth: int, nesting: int, loops: int) -> None:
        if self.rng.random() < 0.2:
            self.line(depth, "else:")
            self.block(depth + 1, nesting + 1, loops=loops)

    def _leave(self, depth: int, *_: int) -> None:
        self.line(depth, f"if {self.test()}:")
        self.line(depth + 1, self.rng.choice(["break", "continue", "break", "continue", "return [a, s]"]))

    def _stop(self, depth: int, *_: int) -> None:
        ways = [
            "return a",
            "return await inc(b)",
            "raise ValueError(s)",
            "raise LookupError('gone')",
            "assert p, 'no p'",
        ]
        self.line(depth, f"if {self.test()}:")
        self.line(depth + 1, self.rng.choice(ways))

    def _try(self, depth: int, nesting: int, loops: int) -> None:
        handlers = self.rng.choice(
            [
                ["except Exception as e:"],
                ["except ValueError as e:"],
                ["except LookupError:"],
                ["except ValueError as e:", "except LookupError:"],
                ["except (KeyError, ValueError) as e:", "except Exception:"],
                ["except:"],
            ]
        )
        is_typed = not handlers[-1].startswith(("except Exception", "except:")) or len(handlers) > 1
        self.in_typed_try += is_typed
        self.line(depth, "try:")
        self.block(depth + 1, nesting + 1, loops=loops)
        self.in_typed_try -= is_typed
        for handler in handlers:
            self.line(depth, handler)
            if " as e" in handler:
                # Expressions fail with words of their own.
                self.line(depth + 1, "t = str(e)" if is_typed and not self.in_typed_try else "t = 'caught'")
            if self.rng.random() < 0.2:
                self.line(depth + 1, "if q:")
                self.line(depth + 2, "raise")
            self.block(depth + 1, nesting + 1, loops=loops)
        if self.rng.random() < 0.2:
            self.line(depth, "else:")
            self.block(depth + 1, nesting + 1, loops=loops)
        if self.rng.random() < 0.3:
            self.line(depth, "finally:")
            self.block(depth + 1, nesting + 1, loops=0)

    def _finally(self, depth: int, nesting: int, loops: int) -> None:
        self.line(depth, "try:")
        self.block(depth + 1, nesting + 1, loops=loops)
        self.line(depth, "finally:")
        self.block(depth + 1, nesting + 1, loops=0)

    # --- expressions

    def call(self) -> str:
        x = self.expression(INTS, 1)
        calls = [
            f"inc({x})",
            f"add({x}, b={self.name(INTS)})",
            f"add({x})",
            f"risky({x})",
            "first(xs)",
            "first(items=ys)",
        ]
        calls += [f"doubled({x})", "size(t)", "seven()", f"guarded({x})"]
        return f"await {self.rng.choice(calls)}"

    def small(self) -> str:
        return str(self.rng.randint(0, 4))

    def name(self, kind: str) -> str:
        return self.rng.choice(self.names[kind])

    def test(self) -> str:
        kinds = [self.expression(FLAGS, 2), self.name(LISTS), self.expression(INTS, 1), self.name(TEXTS)]
        return self.rng.choice([*kinds, self.expression(FLAGS, 2), self.expression(FLAGS, 1)])

    def expression(self, kind: str, depth: int) -> str:
        if depth <= 0 or self.rng.random() < 0.2:
            return self.name(kind) if self.rng.random() < 0.7 else self.literal(kind)
        return str(getattr(self, f"_{kind}")(depth - 1))

    def literal(self, kind: str) -> str:
        return {INTS: self.small(), LISTS: "[2, 3]", TEXTS: "'é'", FLAGS: self.rng.choice(["True", "False"])}[kind]

    def _int(self, depth: int) -> str:
        x, y = self.expression(INTS, depth), self.expression(INTS, depth)
        forms = [f"{x} + {y}", f"({x}) - ({y})", f"-({x})", f"({x}) % 5", f"({x}) // 3", f"len({self.name(LISTS)})"]
        forms += [f"min({x}, {y})", f"({x} if {self.expression(FLAGS, depth)} else {y})", f"({x} or {y})"]
        forms += [f"({x} and {y})", f"sum({self.name(LISTS)})", f"abs({x})", f"({x}) % 7 * 2", f"int(str({x}))"]
        if not self.in_typed_try:
            forms += [f"{self.name(LISTS)}[{self.rng.choice(['0', '-1', 'a % 2'])}]", f"({x}) // ({y})"]
        return f"({self.rng.choice(forms)})"

    def _list(self, depth: int) -> str:
        x, ys = self.expression(INTS, depth), self.expression(LISTS, depth)
        forms = [f"[{x}, {self.name(INTS)}]", f"{ys}[1:]", f"{ys}[:-1]", f"sorted({ys})", f"{ys} + [{x}]", "list(ys)"]
        return f"({self.rng.choice(forms)})[-6:]"

    def _text(self, depth: int) -> str:
        s, x = self.expression(TEXTS, depth), self.expression(INTS, depth)
        forms = [f"{s}.upper()", f"f'{{{self.name(INTS)}}}:{{{self.name(FLAGS)}}}'", f"str({x})", f"{s} + 'x'"]
        forms += [f"f'{{{self.name(INTS)} / 2}}'", f"str({self.name(LISTS)})"]
        return f"({self.rng.choice(forms)})[:9]"

    def _flag(self, depth: int) -> str:
        x, y = self.expression(INTS, depth), self.expression(INTS, depth)
        p, q = self.expression(FLAGS, depth), self.expression(FLAGS, depth)
        forms = [f"{x} < {y}", f"{x} == {y}", f"{x} <= {y} < 9", f"not {p}", f"{p} and {q}", f"{p} or {q}"]
        forms += [
            f"{x} in {self.name(LISTS)}",
            f"{self.name(TEXTS)} != {self.name(TEXTS)}",
            f"bool({self.name(LISTS)})",
        ]
        forms += [
            f"{self.name(INTS)} is not None",
            f"'s' in {self.name(TEXTS)}",
            f"{self.name(LISTS)} == {self.name(LISTS)}",
        ]
        return f"({self.rng.choice(forms)})"


def written(seed: int, budget: int) -> tuple[str, bool]:
    """A program, and whether things in it happen side by side."""
    writer = Writer(Random(seed), budget)
    text = writer.program()
    return text, writer.has_gather
