r"""The JavaScript that stands around a function: `FRAME`, evaluated once in every world.

It is given names, call, note, origin, look and text as `__` globals, which it removes, and is a
function `(entry, way)` that returns a way to call what the operator wrote:

- **plain**: the whole event is parsed, what comes back is written whole.
- **viewed**: the function gets a *view* of an event that stays outside. A view is a proxy of an
  empty object; what is read is asked for value by value (an object is a view again, a list is
  parsed), what is assigned or deleted is kept beside it, and only that is told on return, as
  `["\\u0001", returned view, tale, ...]`. A tale is `[view, assigned]`; with a third part, what was
  assigned and deleted in its order; that is null where the object itself is told.
  Whatever asks a view for more than a value (its keys, a spread, `in`, `Object.freeze`) **fills**
  it: it is parsed, and is from then on a proxy without traps, as good as the plain object.
- **again**: JSON as QuickJS writes it.

Views outlive a call where the function keeps one. Each holds its call's `share`, and a weak
reference to that tells at the next call whether any is left: then `!kept` is the answer, the
event stays where it is, and the function is called the plain way from there on. So nothing here
may refer from a view to itself, or it would live for ever.

QuickJS gives every text the same file name: this one stands below all lines an operator has.
"""

from __future__ import annotations

LINES_MAX = 65_536  # code has at most 64 KB

# What `look` answers where it is no value itself.
VIEW, PARSE, MISSING = "\x01", "\x02", "\x03"

# What a viewed call returns where it is no JSON of a result.
KEPT, UNCHANGED, TOLD = "!kept", "=", '["\\u0001"'

FRAME = (
    "\n" * LINES_MAX
    + r"""
(() => {
  const {parse, stringify} = JSON, is_list = Array.isArray, text = String, world = globalThis;
  const {defineProperty: define, setPrototypeOf: adopt, hasOwn: own, assign, keys} = Object;
  const Mirror = Proxy, Weak = WeakRef;
  const {set: assign_on, deleteProperty: delete_on} = Reflect;
  const is_odd = RegExp.prototype.test.bind(/[\0\ud800-\udfff]/);
  const {__call: call, __note: note, __origin: origin, __look: look, __text: whole_text} = world;
  const names = parse(world.__names);
  for (const name of ["call", "note", "origin", "names", "look", "text"])
    delete world["__" + name];
  for (const name of names)
    world[name] = (...values) => parse(call(name, stringify(values)));
  const apply = (list, change) => is_list(list) ? list.map((item) => change(item)) : null;
  if (names.includes("MAP")) world.MAP = apply;
  const show = (value) => typeof value === "string" ? value : stringify(value) ?? text(value);
  const log = (...values) => note(values.map(show).join(" "));
  world.log = log;
  world.console = {log, info: log, warn: log, error: log, debug: log};
  let dice = 0;
  Math.random = () => {
    dice = (dice + 0x6D2B79F5) | 0;
    let x = Math.imul(dice ^ (dice >>> 15), 1 | dice);
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x;
    return ((x ^ (x >>> 14)) >>> 0) / 4294967296;
  };

  const KEYS_MAX = 10000, SET = 1, DELETED = 2;
  let known = {__proto__: null}, known_count = 0;  // keys that may be handed out as they are
  const is_known = (key) => {
    if (known[key] === 1) return true;
    if (typeof key !== "string" || key === "__proto__" || is_odd(key)) return false;
    if (known_count++ === KEYS_MAX) { known = {__proto__: null}; known_count = 0; }
    known[key] = 1;
    return true;
  };

  let current = null, views = [], traps = [];  // of the call that runs
  class Traps {
    constructor(share, values) {
      this.share = share;
      this.index = share.count++;
      this.values = values;
      this.marks = null;       // key: SET or DELETED
      this.operations = null;  // in their order, once something was deleted
      this.is_full = false;
    }
    get(values, key) {
      if (own(values, key) || typeof key !== "string") return values[key];
      if (this.marks !== null && this.marks[key] === DELETED) return values[key];
      if (!is_known(key)) return filled(this)[key];
      const found = look(this.share.call, this.index, key);
      if (typeof found !== "string" || found.length !== 1) return values[key] = found;
      if (found === "\x03") return values[key];
      if (found === "\x01") return values[key] = view(this.share);
      if (found !== "\x02") return values[key] = found;
      const value = parse(whole_text(this.share.call, this.index, key));
      if (typeof value === "object") note_set(this, key);
      return values[key] = value;
    }
    set(values, key, value, receiver) {
      if (receiver !== views[this.index] || this.share !== current || !is_known(key)
          || key === "toJSON")
        return assign_on(filled(this), key, value, receiver);
      values[key] = value;
      note_set(this, key);
      return true;
    }
    deleteProperty(values, key) {
      if (!is_known(key)) return delete_on(filled(this), key);
      delete values[key];
      this.marks ??= {__proto__: null};
      this.operations ??= keys(this.marks);
      this.operations[this.operations.length] = [key];
      this.marks[key] = DELETED;
      return true;
    }
  }
  for (const name of ["defineProperty", "getOwnPropertyDescriptor", "has", "ownKeys",
                      "preventExtensions", "setPrototypeOf"]) {
    const go_on = Reflect[name];
    Traps.prototype[name] = function(_, first, second) {
      return go_on(filled(this), first, second);
    };
  }
  adopt(Traps.prototype, null);

  const view = (share) => {
    const values = {}, trap = new Traps(share, values), made = new Mirror(values, trap);
    if (share === current) {
      traps[trap.index] = trap;
      views[trap.index] = made;
    }
    return made;
  };
  const note_set = (trap, key) => {
    const {operations} = trap, marks = trap.marks ??= {__proto__: null};
    if (operations !== null && marks[key] !== SET) operations[operations.length] = key;
    marks[key] = SET;
  };
  const filled = (trap) => {
    const {values} = trap, all = parse(whole_text(trap.share.call, trap.index, null));
    adopt(trap, null);
    trap.is_full = true;
    if (trap.marks !== null) replay(trap.operations ?? keys(trap.marks), all);
    const seen = keys(values);
    for (let n = 0; n < seen.length; n++) {
      all[seen[n]] = values[seen[n]];
      delete values[seen[n]];  // so that keys are in the event's order
    }
    if (!own(all, "__proto__")) return assign(values, all);
    const names = keys(all);
    for (let n = 0; n < names.length; n++) put(values, names[n], all[names[n]]);
    return values;
  };
  const replay = (operations, all) => {
    for (let n = 0; n < operations.length; n++) {
      const key = operations[n];
      if (is_list(key)) delete all[key[0]];
      else if (!own(all, key)) all[key] = null;
    }
  };
  const put = (values, key, value) =>
    define(values, key, {value, writable: true, enumerable: true, configurable: true});
  const told = (index) => {
    const list = ["\x01", index];
    for (let n = 0; n < traps.length; n++) {
      if (traps[n].is_full) list[list.length] = [n, traps[n].values, null];
      else if (traps[n].marks !== null) list[list.length] = assigned(n, traps[n]);
    }
    if (index === 0 && list.length === 2) return "=";
    return stringify(list);  // nothing joined to it: the binding takes no joined text
  };
  const assigned = (index, {marks, operations, values}) => {
    const some = {}, names = operations ?? keys(marks);
    let is_simple = operations === null;
    for (let n = 0; n < names.length; n++) {
      if (!own(values, names[n])) continue;
      const value = some[names[n]] = values[names[n]], kind = typeof value;
      if (kind !== "string" && kind !== "number" && kind !== "boolean") is_simple = false;
    }
    return is_simple ? [index, some] : [index, some, names];
  };

  const written = (result) => {
    if (result === undefined || result === null) return null;
    if (typeof result !== "object") return "!" + typeof result;
    let index = views.length - 1;
    while (index >= 0 && views[index] !== result) index--;
    const trap = traps[index];
    const is_view = trap !== undefined && !trap.is_full && [].toJSON === undefined;
    const seen = trap === undefined || !trap.is_full && !is_view ? result : trap.values;
    if (typeof seen.then === "function") return "!promise";
    return is_view ? told(index) : stringify(seen) ?? "!object";
  };
  const whole = {get: () => parse(origin()), enumerable: true, configurable: true};
  const about = (nowMs, is_after) => {
    const made = {nowMs};
    return is_after ? define(made, "event", whole) : made;
  };
  return (entry, way) => {
    let last;
    const plain = (event, nowMs, is_after, seed) => {
      dice = seed | 0;
      current = null, views = [], traps = [];
      return written(entry(parse(event), about(nowMs, is_after)));
    };
    const viewed = (call, nowMs, is_after, seed) => {
      dice = seed | 0;
      current = null, views = [], traps = [];
      if (last !== undefined && last.deref() !== undefined) return "!kept";
      current = {call, count: 0};
      last = new Weak(current);
      return written(entry(view(current), about(nowMs, is_after)));
    };
    const again = (json) => stringify(parse(json));
    return {plain, viewed, again}[way];
  };
})()
"""
)
