"""The Lua side of the Lua world: what a body can reach, and how it is kept apart from the next.

A body runs in a fresh table of globals whose reads fall back to `base`. What `base` holds cannot be
changed from a body: functions are, and the libraries are userdata that only reads. nil is tame: it
can be indexed, called as a method, added to, joined to text and walked through, and gives nil.
"""

PRELUDE = r"""
local call, names, roll, now_seconds, items_max = ...
local debug, math, string, table, os = debug, math, string, table, os
local error, getmetatable, ipairs, loadstring, next = error, getmetatable, ipairs, loadstring, next
local newproxy, pairs, pcall, select, setfenv = newproxy, pairs, pcall, select, setfenv
local setmetatable, tostring, type, unpack = setmetatable, tostring, type, unpack
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
  if type(value) ~= "table" or seen[value] then return value end
  seen[value] = true
  local mended = {}
  for key, child in next, value do mended[mend(key, seen)] = mend(child, seen) end
  for key in next, value do value[key] = nil end
  for key, child in next, mended do value[key] = child end
  return value
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

local lists = {
  concat = tame(table.concat, 1), insert = table.insert, remove = tame(table.remove, 1),
  sort = tame(table.sort, 1), maxn = tame(maxn, 1),
}

-- What a body sees

local marks = { list = { __metatable = false }, object = { __metatable = false } }
local function empty_list() return setmetatable({}, marks.list) end
local function empty_object() return setmetatable({}, marks.object) end
local function mark_of(value)
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
  _VERSION = _VERSION, assert = assert, error = error, getmetatable = getmetatable,
  pcall = pcall, rawequal = rawequal, rawget = rawget, select = select,
  setmetatable = setmetatable, tonumber = tame(tonumber, 1), tostring = tame(show, 1),
  type = type, unpack = tame(unpack, 1), next = tame(next, 1), xpcall = xpcall,
  math = read_only(numbers), string = read_only(text), table = read_only(lists),
  os = read_only({ time = function() return now_seconds() end }),
}
function base.pairs(value)
  if value == nil then return nothing end
  return pairs(value)
end
function base.ipairs(value)
  if value == nil then return nothing end
  return ipairs(value)
end

local function reach(name)
  return function(...)
    local done, value = pcall(call, name, ...)
    if done then return value end
    -- The one thing that stops a call: a text that is no UTF-8.
    local count = select("#", ...)
    local given = { ... }
    for at = 1, count do given[at] = mend(given[at], {}) end
    done, value = pcall(call, name, unpack(given, 1, count))
    if done then return value end
    error(name .. " cannot take what it was given", 2)
  end
end
for name in pairs(names) do base[name] = reach(name) end

function base.MAP(list, make)
  if type(list) ~= "table" or type(make) ~= "function" then return nil end
  local last = maxn(list)
  if last == 0 and next(list) ~= nil then return nil end
  local made, count = empty_list(), 0
  for at = 1, last < items_max and last or items_max do
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

local function run(chunk, ...)
  dice = nil
  setfenv(chunk, setmetatable({}, env_meta))
  return (chunk(...))
end

local function run_and_mend(chunk, ...)
  return mend(run(chunk, ...), {})
end

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
