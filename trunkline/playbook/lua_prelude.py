"""The Lua side of the Lua world: what a body can reach, and how it is kept apart from the next.

A body runs in a fresh table of globals whose reads fall back to `base`. What `base` holds cannot be
changed from a body: functions are, and the libraries are userdata that only reads. nil is tame: it
can be indexed, called as a method, added to, joined to text and walked through, and gives nil.

An object that comes from outside is a **view**: an empty table that asks for one value after the
other (`look`). Whatever needs more than a value of it, and every write, **opens** it (`opened`): it
is filled, and is from then on a table like any other. Only functions of `base` could see the
difference, and those open what they are given. A list is a view, too, that opens when anything of
it is read; but in Lua 5.1 nothing can open it for the operator `#`, so it is filled when it is made
where the body has that sign. `lua_values.py` has the numbers that say which is which.

What goes out is **told** as one row of values (`lua_values.py` reads it). A table that cannot be
told in plain terms (a key that is no text, a hole, a function in it, a row too long) goes out
itself.
"""

PRELUDE = r"""
local calls, calls_told, look, opened, roll, now_seconds, limits = ...
local DEPTH_MAX, ITEMS_MAX, ROW_MAX = limits.depth, limits.items, limits.row
local debug, math, string, table, os = debug, math, string, table, os
local error, getmetatable, ipairs, loadstring, next = error, getmetatable, ipairs, loadstring, next
local newproxy, pairs, pcall, select, setfenv = newproxy, pairs, pcall, select, setfenv
local rawget, rawset, setmetatable, tostring = rawget, rawset, setmetatable, tostring
local type, unpack = type, unpack
local collectgarbage, maxn, _G = collectgarbage, table.maxn, _G
local byte, find, gsub, sub = string.byte, string.find, string.gsub, string.sub

local function nothing() return nil end

-- nil

local function call_nil(_, ...)
  -- A method of nil has nil itself as its first argument; a function that does not exist has not.
  if select("#", ...) > 0 and (...) == nil then return nil end
  local name = debug.getinfo(1, "n").name
  error((name and ("`" .. name .. "`") or "what is called here") .. " is no function, but nil", 2)
end

local function write_to_nil(_, key, value)
  if value ~= nil then
    error("there is nothing to write `" .. tostring(key) .. "` into: it is nil", 2)
  end
end

debug.setmetatable(nil, {
  __index = nothing, __newindex = write_to_nil, __call = call_nil,
  __concat = nothing, __len = nothing, __unm = nothing,
  __add = nothing, __sub = nothing, __mul = nothing, __div = nothing, __mod = nothing,
  __pow = nothing, __metatable = false,
})

-- What comes from outside

local OBJECT, LIST, EMPTY_OBJECT = 1, 2, 3
local marks = { list = { __metatable = false }, object = { __metatable = false } }
local function empty_list() return setmetatable({}, marks.list) end
local function empty_object() return setmetatable({}, marks.object) end

local view, list_view = { __metatable = false }, { __metatable = false }
local numbers_of, parts = {}, {}  -- view: its number; number: what was made of it for a reader
local holders, touched = {}, {}  -- view: the view it was read from; views whose parts may differ
local make, is_measured  -- whether lists have to have their length

local function begin(measured)
  is_measured = measured
  numbers_of, parts, holders, touched = {}, {}, {}, {}
end

local function touch(value)
  while value ~= nil and not touched[value] do
    touched[value] = true
    value = holders[value]
  end
end

local function fill(made, number)
  local row = { pcall(opened, number) }
  if not row[1] then error("what it was given does not fit into its memory", 0) end
  local first, whole, is_row = 2, row[2], row[3]
  if type(whole) == "table" then
    if not is_row then
      for key, value in next, whole do rawset(made, key, value) end
      return
    end
    row, first = whole, 1
  end
  for at = first, #row, 3 do
    local kind, key, value = row[at], row[at + 1], row[at + 2]
    if kind ~= 0 then value = parts[value] or make(value, kind) end
    rawset(made, key, value)
  end
end

local function open(value)
  local number = numbers_of[value]
  if number ~= nil then
    fill(value, number)
    numbers_of[value] = nil
    local is_object = debug.getmetatable(value) == view
    debug.setmetatable(value, is_object and next(value) == nil and marks.object or nil)
    touch(holders[value])
  end
  return value
end

-- The number of a view that is as it was given; what has other parts by now is opened.
local function number_of(value)
  if touched[value] then open(value) end
  return numbers_of[value]
end

function view.__index(value, key)
  if type(key) ~= "string" then return nil end
  local done, found, kind = pcall(look, numbers_of[value], key)
  if not done then return open(value)[key] end
  if kind == nil then return found end
  local part = parts[found]
  if part == nil then
    part = make(found, kind)
    parts[found] = part
    if numbers_of[part] ~= nil then holders[part] = value else touch(value) end
  end
  return part
end

function view.__newindex(value, key, child)
  open(value)[key] = child
end

list_view.__index = function(value, key) return open(value)[key] end
list_view.__newindex = view.__newindex

make = function(number, kind)
  if kind == LIST and is_measured then
    local made = {}
    fill(made, number)
    return made
  elseif kind == OBJECT or kind == LIST then
    local made = {}
    numbers_of[made] = number
    return setmetatable(made, kind == OBJECT and view or list_view)
  end
  return kind == EMPTY_OBJECT and empty_object() or empty_list()
end

-- Texts that are cut in the middle of a character

local function size_at(run, at)
  local lead, second = byte(run, at, at + 1)
  local size = lead >= 240 and lead <= 244 and 4 or lead >= 224 and lead < 240 and 3
    or lead >= 194 and lead < 224 and 2 or 0
  if size == 0 or second == nil or not find(run, "^" .. ("[\128-\191]"):rep(size - 1), at + 1) then
    return 0
  end
  local bad = lead == 224 and second < 160 or lead == 237 and second > 159
    or lead == 240 and second < 144 or lead == 244 and second > 143
  return bad and 0 or size
end

local function mend_run(run)
  local out, at = {}, 1
  while at <= #run do
    local size = size_at(run, at)
    out[#out + 1] = size > 0 and sub(run, at, at + size - 1) or "\239\191\189"
    at = at + (size > 0 and size or 1)
  end
  return table.concat(out)
end

local function mend(value, seen)
  if type(value) == "string" then return (gsub(value, "[\128-\255]+", mend_run)) end
  if type(value) ~= "table" or seen[value] or number_of(value) ~= nil then return value end
  seen[value] = true
  local mended = {}
  for key, child in next, value do mended[mend(key, seen)] = mend(child, seen) end
  for key in next, value do value[key] = nil end
  for key, child in next, mended do value[key] = child end
  return value
end

-- What goes out

local VALUE, OBJECT_OF, LIST_OF, SCALARS_OF, VIEW, ITSELF = 0, 1, 2, 3, 4, 5
local WHOLE_MAX = 9223372036854775808
local out, size
-- A row that need not grow: that takes as long as filling it.
local new_row = loadstring("return {" .. ("nil,"):rep(64) .. "}")

local is_plain = { string = true, boolean = true }
local function is_scalar(value, kind)
  return is_plain[kind] or kind == "number" and value < WHOLE_MAX and value > -WHOLE_MAX
end

local tell

local function tell_object(value, depth)
  local start = size
  local at, out, inner, inner_count = size + 2, out, nil, 0
  for key, child in next, value do
    local kind = type(child)
    if type(key) ~= "string" then return false end
    if is_plain[kind] or kind == "number" and child < WHOLE_MAX and child > -WHOLE_MAX then
      out[at + 1], out[at + 2] = key, child
      at = at + 2
    elseif kind == "table" then
      inner = inner or {}
      inner_count = inner_count + 1
      inner[inner_count] = key
    else
      return false
    end
  end
  out[start + 1], out[start + 2], out[at + 1] = OBJECT_OF, (at - start - 2) / 2, inner_count
  size = at + 1
  for n = 1, inner_count do
    local key = inner[n]
    size = size + 1
    out[size] = key
    if not tell(value[key], depth - 1) then return false end
  end
  return true
end

local function tell_list(value, depth)
  local start, count, is_flat = size, 0, true
  for key, child in next, value do
    count = count + 1
    if key ~= count or count > ROW_MAX then return false end
    if type(child) == "table" then is_flat = false end
  end
  out[start + 1], out[start + 2], size = is_flat and SCALARS_OF or LIST_OF, count, start + 2
  for at = 1, count do
    local child = value[at]
    local kind = type(child)
    if kind == "table" then
      if not tell(child, depth - 1) then return false end
    elseif not is_scalar(child, kind) then
      return false
    elseif is_flat then
      size = size + 1
      out[size] = child
    else
      out[size + 1], out[size + 2], size = VALUE, child, size + 2
    end
  end
  return true
end

tell = function(value, depth)
  local number = number_of(value)
  if number ~= nil then
    out[size + 1], out[size + 2], size = VIEW, number, size + 2
    return true
  end
  if depth == 0 or size > ROW_MAX then return false end
  local key = next(value)
  if key == nil then
    local is_object = debug.getmetatable(value) == marks.object
    out[size + 1], out[size + 2], size = is_object and OBJECT_OF or SCALARS_OF, 0, size + 2
    if is_object then
      size = size + 1
      out[size] = 0
    end
    return true
  end
  if type(key) == "string" then return tell_object(value, depth) end
  return tell_list(value, depth)
end

local function tell_or_give(value)
  if type(value) ~= "table" then
    out[size + 1], out[size + 2], size = VALUE, value, size + 2
    return
  end
  local before = size
  if tell(value, DEPTH_MAX) and size <= ROW_MAX then return end
  out[before + 1], out[before + 2], size = ITSELF, value, before + 2
end

-- Of one value, one value or a row of at least two.
local function told(value)
  if type(value) ~= "table" then return value end
  out, size = new_row(), 0
  tell_or_give(value)
  return unpack(out, 1, size)
end

local function told_all(count, ...)
  local given = { ... }
  out, size = new_row(), 0
  for at = 1, count do tell_or_give(given[at]) end
  return unpack(out, 1, size)
end

-- Libraries

local function read_only(library)
  local proxy = newproxy(true)
  local meta = getmetatable(proxy)
  meta.__index = library
  meta.__newindex = function() error("what all bodies share cannot be changed", 2) end
  meta.__metatable = false
  return proxy
end

-- Around a call of a library, so that it is no tail call: those hide the line that made them.
local function pass(...) return ... end

-- Makes nil of a call in which one of the first `needed` arguments is nil.
local function tame(real, needed)
  return function(...)
    for at = 1, needed do
      if (select(at, ...)) == nil then return nil end
    end
    return pass(real(...))
  end
end

local function tame_all(real)
  return function(...)
    for at = 1, select("#", ...) do
      if (select(at, ...)) == nil then return nil end
    end
    return pass(real(...))
  end
end

local text = { char = tame_all(string.char), format = tame_all(string.format) }
for name, needed in pairs({
  byte = 1, find = 2, gmatch = 2, gsub = 3, len = 1, lower = 1, match = 2, rep = 2, reverse = 1,
  sub = 2, upper = 1,
}) do
  text[name] = tame(string[name], needed)
end
local text_meta = getmetatable("")
text_meta.__index = text
text_meta.__metatable = false

local numbers = { huge = math.huge, pi = math.pi }
for name, real in pairs(math) do
  if type(real) == "function" then numbers[name] = tame_all(real) end
end
numbers.randomseed = nothing

local dice
local function draw()
  if dice == nil then dice = roll() end
  dice = dice * 48271 % 2147483647
  return (dice - 1) / 2147483646
end
numbers.random = function(low, high)
  -- Two draws: one alone has 31 bits.
  local share = (math.floor(draw() * 2097152) + draw()) / 2097153
  if low == nil then return share end
  if high == nil then low, high = 1, low end
  low, high = math.floor(low), math.floor(high)
  if low > high then error("math.random has nothing between " .. low .. " and " .. high, 2) end
  return low + math.floor(share * (high - low + 1))
end

local function opening(real)
  return function(value, ...) return pass(real(open(value), ...)) end
end

local lists = {
  concat = tame(opening(table.concat), 1), insert = opening(table.insert),
  maxn = tame(opening(maxn), 1), remove = tame(opening(table.remove), 1),
  sort = tame(opening(table.sort), 1),
}

-- What a body sees

-- Views last as long as the run; what a loop is given after so many of them is opened at once.
local VIEWS_MAX = 10000

local function mark_of(value)
  local was_view = numbers_of[value] ~= nil
  local number = number_of(value)
  if was_view then return number or "opened" end
  local meta = debug.getmetatable(value)
  return meta == marks.object and "object" or "list"
end

-- Without the address in memory, which would be another one at every attempt.
local function show(value)
  local meta = debug.getmetatable(value)
  local kind = type(value)
  if (kind == "table" or kind == "function") and not (meta and meta.__tostring) then return kind end
  return tostring(value)
end

local base = {
  _VERSION = _VERSION, assert = assert, error = error, pcall = pcall, rawequal = rawequal,
  select = select, tonumber = tame(tonumber, 1), tostring = tame(show, 1),
  type = type, xpcall = xpcall, getmetatable = opening(getmetatable),
  unpack = tame(opening(unpack), 1), next = tame(opening(next), 1), rawget = opening(rawget),
  setmetatable = function(value, meta) return pass(setmetatable(open(value), open(meta))) end,
  math = read_only(numbers), string = read_only(text), table = read_only(lists),
  os = read_only({ time = function() return now_seconds() end }),
}
function base.pairs(value)
  if value == nil then return nothing end
  return pairs(open(value))
end
function base.ipairs(value)
  if value == nil then return nothing end
  return ipairs(open(value))
end

local function ask(call, call_told, count, first, second, ...)
  if count > 2 or type(first) == "table" or type(second) == "table" then
    return pcall(call_told, told_all(count, first, second, ...))
  elseif count == 1 then
    return pcall(call, first)
  elseif count == 2 then
    return pcall(call, first, second)
  end
  return pcall(call)
end

local function reach(name, call, call_told)
  return function(...)
    local count = select("#", ...)
    local done, value, kind = ask(call, call_told, count, ...)
    if not done then
      -- The one thing that stops a call: a text that is no UTF-8.
      local given = { ... }
      for at = 1, count do given[at] = mend(given[at], {}) end
      done, value, kind = ask(call, call_told, count, unpack(given, 1, count))
      if not done then error(name .. " cannot take what it was given", 2) end
    end
    if kind == nil then return value end
    local made = make(value, kind)
    return value > VIEWS_MAX and open(made) or made
  end
end
for name, call in pairs(calls) do base[name] = reach(name, call, calls_told[name]) end

function base.MAP(list, make)
  if type(list) ~= "table" or type(make) ~= "function" then return nil end
  local last = maxn(open(list))
  if last == 0 and next(list) ~= nil then return nil end
  local made, count = empty_list(), 0
  for at = 1, last < ITEMS_MAX and last or ITEMS_MAX do
    local item = make(list[at])
    if item ~= nil then
      count = count + 1
      made[count] = item
    end
  end
  return made
end

-- Running

local env_meta = { __index = base, __metatable = false }

local function compile(source)
  return loadstring(source, "=body")
end

local function result_of(chunk, measured, ...)
  dice = nil
  begin(measured)
  setfenv(chunk, setmetatable({}, env_meta))
  local count = select("#", ...)
  if count == 2 then
    local value, kind = ...
    return (chunk(kind and make(value, kind) or value))
  end
  local rest, given = { ... }, {}
  for at = 1, count, 2 do
    local value, kind = rest[at], rest[at + 1]
    given[(at + 1) / 2] = kind and make(value, kind) or value
  end
  return (chunk(unpack(given, 1, count / 2)))
end

local function run(chunk, ...) return told((result_of(chunk, ...))) end
local function run_and_mend(chunk, ...) return told(mend(result_of(chunk, ...), {})) end

local known = {}
for name in pairs(base) do known[#known + 1] = name end
local globals = {}
for name in next, _G do globals[#globals + 1] = name end
for _, name in next, globals do _G[name] = nil end
-- Where the runtime looks for it when it writes an error down; no body can reach it there.
_G.debug = { traceback = debug.traceback }

return {
  compile = compile, run = run, run_and_mend = run_and_mend, empty_list = empty_list,
  empty_object = empty_object, mark_of = mark_of, known = known,
  collect = function() collectgarbage() end,
}
"""
