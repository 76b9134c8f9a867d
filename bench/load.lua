-- Requests for wrk, each different from every other. Arguments: kind, path, authorization, tag, events.
--   s2s    one event a request, about 450 bytes, 10,000 users
--   batch  `events` tracking events a request, about 700 bytes each
-- At the end one line of JSON says what was counted.

local USERS = 10000
local counter = 0
local next_request

-- Put together from pieces, with numbers of fixed width so that the length is known: 1.2 µs a
-- request, where string.format and wrk.format took 15 and made wrk the slowest part of all.

local function head(path, authorization, length)
  return "POST " .. path .. " HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
    .. "Authorization: " .. authorization .. "\r\nContent-Length: " .. length .. "\r\n\r\n"
end

local function user() -- neighbours get users far apart
  return 10000 + (counter * 7919) % USERS
end

local function s2s(path, authorization, tag)
  local first = '{"metrixUserId":"user-'
  local second = '","advertisingId":"38400000-8cf0-11bd-b23e-10b96e40000d","eventSlug":"taqsq",'
    .. '"eventTime":' .. os.time() .. '000,"metrixSessionId":"0b0e7c3a-5f0d-4c4e-9d1c-4f1b0a6d2c",'
    .. '"customAttributes":{"_currency":"IRR","channel":"android","payment_method":"card",'
    .. '"city":"Tehran","campaign":"autumn-sale","screen":"checkout","coupon":"none",'
    .. '"_order_id":"' .. tag .. '-'
  local third = '"},"customMetrics":{"_revenue":53.75,"items":3,"shipping":4.5}}'
  first = head(path, authorization, #first + 5 + #second + 9 + #third) .. first
  return function()
    counter = counter + 1
    return first .. user() .. second .. (100000000 + counter) .. third
  end
end

local function batch(path, authorization, tag, events)
  local first = '{"type":"track","messageId":"' .. tag .. '-'
  local second = '","userId":"user-'
  local third = '","event":"Product Viewed","timestamp":"' .. os.date("!%Y-%m-%dT%H:%M:%S.000Z")
    .. '","properties":{"product_id":"sku-000042","name":"Trail running shoe",'
    .. '"brand":"Northwind","category":"Shoes/Running","variant":"blue 42","price":129.95,'
    .. '"currency":"EUR","quantity":1,"position":4,"coupon":"AUTUMN","list":"search results"},'
    .. '"context":{"ip":"203.0.113.20","locale":"de-DE","timezone":"Europe/Berlin",'
    .. '"library":{"name":"bench","version":"1.0"},"page":{"path":"/shoes/trail",'
    .. '"url":"https://shop.example/shoes/trail?utm_source=mail","title":"Trail running shoes",'
    .. '"referrer":"https://shop.example/"},"userAgent":"Mozilla/5.0 (X11; Linux x86_64)"}}'
  local each = #first + 9 + #second + 5 + #third
  local start = head(path, authorization, 10 + events * each + events - 1 + 2) .. '{"batch":['
  return function()
    local parts = {}
    for index = 1, events do
      counter = counter + 1
      parts[index] = first .. (100000000 + counter) .. second .. user() .. third
    end
    return start .. table.concat(parts, ",") .. "]}"
  end
end

function init(arguments)
  local kind, path, authorization, tag = arguments[1], arguments[2], arguments[3], arguments[4]
  local make = kind == "s2s" and s2s or batch
  next_request = make(path, authorization, tag, tonumber(arguments[5]))
end

function request()
  return next_request()
end

function done(summary, latency)
  local failed = summary.errors
  print(string.format(
    '{"requests":%d,"micros":%d,"refused":%d,"broken":%d,"p50_micros":%d,"p99_micros":%d}',
    summary.requests, summary.duration, failed.status,
    failed.connect + failed.read + failed.write + failed.timeout,
    latency:percentile(50), latency:percentile(99)))
end
