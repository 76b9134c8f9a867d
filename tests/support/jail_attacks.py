"""Code that operators must not get away with, each with what must come of it.

A body defines `attack(event)`; whatever it returns is what it gained. It runs for events whose
`attack` is true; the others pass, before and after, and must be answered as if nothing had been.
"""

from __future__ import annotations

import textwrap
from typing import Literal

from msgspec import Struct

Lang = Literal["python", "javascript"]

# What must come of an attack: an error that matches, or a value that it may have.
EPERM = r"PermissionError|not permitted|EPERM"
LATE = r"took longer than 0\.25 s"
LOST = r"its process (died|broke down|announced|gave|said nonsense|spoke)"
MEMORY = r"MemoryError|out of memory|its process died"
NO_MODULE = r"cannot be imported by a function"


class Attack(Struct, frozen=True):
    """One attack. `error`: the pattern of its failure; empty: it returns `gain` and no more."""

    name: str
    lang: Lang
    body: str
    error: str = ""
    gain: object = None

    @property
    def code(self) -> str:
        """The function as an operator would write it."""
        body = textwrap.dedent(self.body).strip()
        return body + (_PYTHON if self.lang == "python" else _JAVASCRIPT)


_PYTHON = """

def transform_event(event, meta):
    if event.get("attack"):
        return {"gain": attack(event)}
    return {"gain": "passed"}
"""
_JAVASCRIPT = """
function transform_event(event, meta) {
  return {gain: event.attack ? attack(event) : "passed"};
}
"""


def python(name: str, body: str, error: str = "", gain: object = None) -> Attack:
    return Attack(name, "python", body, error, gain)


def javascript(name: str, body: str, error: str = "", gain: object = None) -> Attack:
    return Attack(name, "javascript", body, error, gain)


_CALL = """
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
def say(result):
    if result == -1:
        raise PermissionError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
"""

FILES = (
    python("open a file", "def attack(e): return open('/etc/passwd').read()", EPERM),
    python("open the secret", "def attack(e): return open(e['secret'], 'rb').read().hex()", EPERM),
    python("list a folder", "import os\ndef attack(e): return os.listdir('/')", EPERM),
    python("write a file", "def attack(e): open(e['secret'] + '.new', 'w').write('x')", EPERM),
    python(
        "look at a file", "import os\ndef attack(e): return os.stat(e['secret']).st_size", EPERM
    ),
    python("map a file of memory", "import os\ndef attack(e): return os.memfd_create('x')", EPERM),
    python(
        "open a file through libc",
        _CALL + "def attack(e): return say(libc.open(b'/etc/passwd', 0))",
        EPERM,
    ),
    python("read the environment", "import os\ndef attack(e): return dict(os.environ)", gain={}),
    python(
        "read the environment through libc",
        _CALL + "def attack(e): return libc.getenv(b'HOME')",
        gain=0,
    ),
    python("import from a file", "def attack(e): import sqlite3; return 1", NO_MODULE),
)

PROCESSES = (
    python("fork", "import os\ndef attack(e): return os.fork()", EPERM),
    python("run a shell", "import os\ndef attack(e): return os.system('true') == 0", gain=False),
    python("execute", "import os\ndef attack(e): return os.execv('/bin/true', ['true'])", EPERM),
    python(
        "start a program",
        "def attack(e):\n    import subprocess\n    return subprocess.run('true').returncode",
        NO_MODULE,
    ),
    python(
        "start a thread",
        "import _thread\ndef attack(e): return _thread.start_new_thread(print, ())",
        r"can't start new thread",
    ),
    python("kill the node", "import os\ndef attack(e): return os.kill(e['pid'], 9)", EPERM),
    python("kill the zygote", "import os\ndef attack(e): return os.kill(e['zygote'], 9)", EPERM),
    python("stop everything", "import os\ndef attack(e): return os.kill(-1, 19)", EPERM),
    python(
        "trace the zygote",
        _CALL + "def attack(e): return say(libc.ptrace(16, e['zygote'], 0, 0))",
        EPERM,
    ),
    python(
        "swallow signals",
        "import signal\ndef attack(e): signal.signal(signal.SIGTERM, signal.SIG_IGN)",
        EPERM,
    ),
    python("sleep", "def attack(e): time.sleep(10)", EPERM),
)

KERNEL = (
    python("open a socket", "import socket\ndef attack(e): return socket.socket()", EPERM),
    python(
        "make memory executable",
        _CALL + "def attack(e): return say(libc.mmap(0, 4096, 7, 0x22, -1, 0))",
        EPERM,
    ),
    python(
        "make its memory executable later",
        _CALL
        + "libc.mmap.restype = ctypes.c_void_p\n"
        + "def attack(e):\n"
        + "    page = libc.mmap(0, 4096, 3, 0x22, -1, 0)\n"
        + "    return say(libc.mprotect(ctypes.c_void_p(page), 4096, 5))",
        EPERM,
    ),
    python(
        "outlive the node", _CALL + "def attack(e): return say(libc.prctl(1, 0, 0, 0, 0))", EPERM
    ),
    python("take another filter", _CALL + "def attack(e): return say(libc.prctl(22, 0, 0))", EPERM),
    python("become root", _CALL + "def attack(e): return say(libc.setuid(0))", EPERM),
    python(
        "raise its limits",
        "def attack(e):\n    import resource\n"
        "    return resource.setrlimit(resource.RLIMIT_AS, (-1, -1))",
        r"not allowed|not permitted",
    ),
    python(
        "every other system call",
        _CALL
        + """
def attack(event):
    allowed = set(event["allowed"])
    passed = []
    for base in event["bases"]:
        for number in range(600):
            if base + number in allowed:
                continue
            ctypes.set_errno(0)
            if libc.syscall(base + number, 0, 0, 0, 0, 0, 0) != -1 or ctypes.get_errno() != 1:
                passed.append(base + number)
    return passed
""",
        gain=[],
    ),
    python(
        "find an open descriptor",
        """
import gc, io, os, socket
def attack(event):
    for kind in object.__subclasses__():
        for found in gc.get_objects():
            if isinstance(found, (io.FileIO, socket.socket)):
                return repr(found)
    open_ones = []
    for number in [*range(3), *range(4, 2000)]:
        try:
            os.write(number, b"x")
            open_ones.append(number)
        except OSError as error:
            assert error.errno == 9, error
    return open_ones
""",
        gain=[],
    ),
)

# Writes an answer of one output to the node, by its own account of the sizes; with the number of
# the question that is open, which stands in the frame of the worker's loop.
FORGE = """
import os, sys
def forge(output, size, number=None, message_size=None):
    message = b'{"type":"answers","shaped":[{"sizes":[%d]}],"notes":[]}' % size
    caller = sys._getframe()
    while number is None:
        caller = caller.f_back
        if caller.f_code.co_name == "serve":
            number = caller.f_locals["frame"].number
    sizes = (len(message) + len(output), number, message_size or len(message))
    os.write(3, b"".join(each.to_bytes(4, "big") for each in sizes) + message + output)
"""

SOCKET = (
    python("close the socket", "import os\ndef attack(e): return os.close(3)", EPERM),
    python(
        "say nonsense",
        "import os\ndef attack(e):\n    while True: os.write(3, b'nonsense' * 1000)",
        LOST,
    ),
    python(
        "announce two gigabytes",
        "import os\ndef attack(e):\n"
        "    os.write(3, b'\\x7f\\xff\\xff\\xff\\0\\0\\0\\2\\0\\0\\0\\1{')\n"
        "    while True: pass",
        LOST,
    ),
    python(
        "answer twice",
        FORGE
        + """
def attack(event):
    for number in range(8):
        forge(b'{"gain":1}', 10, number)
""",
        LOST,
    ),
    python(
        "forge an answer that is too deep",
        FORGE
        + """
def attack(event):
    forge(b'{"a":' * 900 + b'1' + b'}' * 900, 5401)
    while True: pass
""",
        LOST,
    ),
    python(
        "forge the size of an output",
        FORGE
        + """
def attack(event):
    forge(b'{"gain":1}', 11)
    while True: pass
""",
        LOST,
    ),
    python(
        "forge a size below zero",
        FORGE
        + """
def attack(event):
    forge(b'{"gain":1}', -10)
    while True: pass
""",
        LOST,
    ),
    python(
        "forge a message longer than its frame",
        FORGE
        + """
def attack(event):
    forge(b'{"gain":1}', 10, message_size=1000)
    while True: pass
""",
        LOST,
    ),
    python("read the node's requests", "import os\ndef attack(e): return os.read(3, 99)", LATE),
    python(
        "answer 50 megabytes", "def attack(e): return 'x' * 50_000_000", "larger than 1,048,576"
    ),
    python(
        "answer nested without end",
        "def attack(e):\n    a = []\n    a.append(a)\n    return a",
        "RecursionError|no JSON",
    ),
    python("answer what is no JSON", "def attack(e): return object()", "no JSON"),
    python("leave", "import sys\ndef attack(e): sys.exit(3)", "SystemExit"),
    python("leave at once", "import os\ndef attack(e): os._exit(3)", LOST),
    python("crash", "import ctypes\ndef attack(e): return ctypes.string_at(8)", LOST),
    python(
        "flood its output",
        "import os\ndef attack(e):\n    for n in range(20_000): print('x' * 100)\n"
        "    os.write(1, b'x' * 100)",
        "Bad file descriptor",
    ),
    python(
        "log without end", "def attack(e):\n    for n in range(20_000): log('x' * 100)", gain=None
    ),
)

STATE = (
    python(
        "remove what is built in",
        "import builtins\ndef attack(e): del builtins.len",
        "cannot be removed",
    ),
    python(
        "remove all that is built in",
        "import builtins\ndef attack(e): vars(builtins).clear()",
        "NameError|KeyError|" + LOST,
    ),
    python("poison a module", "def attack(e): json.loads = None", "cannot be changed"),
    python(
        "poison the machine that runs it",
        """
import sys
def attack(event):
    for name, module in list(sys.modules.items()):
        if name.startswith("trunkline"):
            vars(module).clear()
""",
        LOST + "|NameError|TypeError",
    ),
)

HUNGER = (
    python("loop", "def attack(e):\n    while True: pass", LATE),
    python(
        "loop and swallow everything",
        "def attack(e):\n    while True:\n        try:\n            while True: pass\n"
        "        except BaseException: pass",
        LATE,
    ),
    python("count", "def attack(e): return 9**9**8", LATE),
    python(
        "search without end",
        "def attack(e): return bool(re.match(r'(a+)+$', 'a' * 40 + 'b'))",
        LATE,
    ),
    python("recurse", "def attack(e): return attack(e)", "RecursionError"),
    python("take all memory", "def attack(e): return len(bytearray(8_000_000_000))", MEMORY),
    python(
        "take memory bit by bit",
        "def attack(e):\n    kept = []\n    while True: kept.append(bytearray(50_000_000))",
        f"{MEMORY}|{LATE}",  # whichever comes first: the kernel clears each page
    ),
    python(
        "nest parentheses",
        "def attack(e): return eval('(' * 5000 + ')' * 5000)",
        "MemoryError|SyntaxError|RecursionError|" + LOST,
    ),
    javascript("loop in JavaScript", "function attack() { while (true); }", LATE),
    javascript(
        "loop and swallow everything in JavaScript",
        "function attack() { for (;;) { try { for (;;); } catch { } finally { continue; } } }",
        LATE,
    ),
    javascript(
        "search without end in JavaScript",
        "function attack() { return /(a+)+$/.test('a'.repeat(40) + 'b'); }",
        LATE,
    ),
    javascript(
        "take all memory in JavaScript",
        "function attack() { const kept = []; for (;;) kept.push(Array(1e5).fill(kept)); }",
        f"{MEMORY}|{LATE}",
    ),
    javascript(
        "recurse in JavaScript", "function attack(e) { return 1 + attack(e); }", "too deeply"
    ),
)

JAVASCRIPT = (
    javascript(
        "find a module in JavaScript",
        "function attack() { return [typeof std, typeof os, typeof require, typeof process,"
        " typeof fetch, typeof WebAssembly].join(); }",
        gain="undefined,undefined,undefined,undefined,undefined,undefined",
    ),
    javascript(
        "make a function of text in JavaScript",
        "function attack() { return Function('return typeof this.std + typeof this.__call')(); }",
        gain="undefinedundefined",
    ),
    javascript(
        "pollute all objects in JavaScript",
        "function attack() { Object.prototype.gain = 1; Array.prototype.map = null;"
        " JSON.parse = JSON.stringify = null; return ({}).gain; }",
        gain=1,
    ),
    javascript(
        "promise in JavaScript",
        "function attack() { Promise.resolve().then(() => attack()); return 2; }",
        gain=2,
    ),
    javascript(
        "forge a wrong helper call in JavaScript",
        "function attack() { return [TO_SHA256_HASH(1n), SPLIT(), JOIN(1, {}), MAP(1)]; }",
        "BigInt",
    ),
    javascript(
        "answer text that is no Unicode", "function attack() { return '\\ud800'; }", "no JSON"
    ),
)

ATTACKS = (*FILES, *PROCESSES, *KERNEL, *SOCKET, *STATE, *HUNGER, *JAVASCRIPT)
