#!lua name=switchboard_1

-- What a chat of several nodes does in one atomic step. A change of what is stored, or of what a function takes or returns,
-- is a library of another name: nodes of two versions may share an engine during an upgrade.
--
-- The keys of a room, of which each function takes those that it needs, in this order:
--   m  hash   e epoch, r whose numbers these are (fence), s newest message, v newest change, t its time, l lineage,
--             kt when the keys of posts began, kn how many they are, jt until when older ones count, x when the keys were last made to expire,
--             n<node> the last call of a node, when it was, and its answer
--   h  list   messages, the oldest first: {time, head, text, data}; the newest has the number s
--   o  hash   message -> {is deleted, when edited, the changes that edited it, reactions: emoji, user, emoji, user, ..}
--   c  hash   change -> what it was; the newest ones
--   k, j hash key of a post -> message:time, of this window and of the one before
--   i  zset   the list of rooms in which the room is; for conversations of two there are two of them, and the list of the
--             conversations in which something happened lately

local DAY_MS, HOUR_MS, FIRST_MS = 86400000, 3600000, 1577836800000
local MAX_LINEAGE, MAX_NODES, TRIM_EVERY, OPENED_OCTETS = 64, 32, 64, 1048576
local MAX_READERS, MAX_RECENT_PAIRS = 10000, 10000

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Times do not fall within a room, except after a clock that was ahead by more than a day.
local function stamp(last, now)
  if last > now + DAY_MS and now >= FIRST_MS then return now end
  return math.max(last, now)
end

-- Lists and texts as RESP, which every client can read.
local function resp(value)
  if type(value) ~= 'table' then
    value = tostring(value)
    return '$' .. #value .. '\r\n' .. value .. '\r\n'
  end
  local out = { '*' .. #value .. '\r\n' }
  for at = 1, #value do out[at + 1] = resp(value[at]) end
  return table.concat(out)
end

-- The same of a message, without a call for each part: this is what is done most.
local function post_resp(time, head, text, data)
  time = tostring(time)
  return '*5\r\n$1\r\nP\r\n$' .. #time .. '\r\n' .. time .. '\r\n$' .. #head .. '\r\n' .. head .. '\r\n$' .. #text ..
    '\r\n' .. text .. '\r\n$' .. #data .. '\r\n' .. data .. '\r\n'
end

local function load(m, node)
  local f = redis.call('HMGET', m, 'e', 'r', 's', 'v', 't', 'kt', 'jt', 'x', node or 'n', 'kn')
  return {
    e = f[1], r = f[2], s = tonumber(f[3] or 0), v = tonumber(f[4] or 0), t = tonumber(f[5] or 0),
    kt = tonumber(f[6] or 0), jt = tonumber(f[7] or 0), x = tonumber(f[8] or 0), n = f[9],
    kn = tonumber(f[10] or 0),
  }
end

local function lineage(m)
  local forks = {}
  for e, s, v in string.gmatch(redis.call('HGET', m, 'l') or '', '(%S+) (%d+) (%d+);') do
    forks[#forks + 1] = { e, tonumber(s), tonumber(v) }
  end
  return forks
end

-- The history goes on under another name: what comes now may have been said otherwise on an engine that is gone.
local function fork(m, room, run, fresh)
  local forks = lineage(m)
  forks[#forks + 1] = { room.e, room.s, room.v }
  local l = {}
  for at = math.max(1, #forks - MAX_LINEAGE + 1), #forks do
    l[#l + 1] = forks[at][1] .. ' ' .. forks[at][2] .. ' ' .. forks[at][3] .. ';'
  end
  room.e, room.r = fresh, run
  redis.call('HSET', m, 'e', fresh, 'r', run, 'l', table.concat(l))
end

-- Numbers that another run of the engine gave may have been given again since.
local function fence(m, room, run, fresh)
  if room.r ~= run then fork(m, room, run, fresh) end
end

local function make(keys, room, run, fresh)
  -- Whatever is left of a room of this name is no part of the new one.
  redis.call('UNLINK', unpack(keys))
  room.e, room.r = fresh, run
  redis.call('HSET', keys[1], 'e', fresh, 'r', run, 's', 0, 'v', 0, 't', 0)
end

-- The nodes whose last calls are remembered do not become more and more.
local function forget_nodes(m, now)
  if redis.call('HLEN', m) < MAX_NODES then return end
  local all = redis.call('HGETALL', m)
  for at = 1, #all, 2 do
    if string.sub(all[at], 1, 1) == 'n' and cmsgpack.unpack(all[at + 1])[2] < now - HOUR_MS then
      redis.call('HDEL', m, all[at])
    end
  end
end

-- Messages are no more, with what was done to them.
local function forget(o, first, last)
  if redis.call('HLEN', o) == 0 then return end
  for from = first, last, 100 do
    local gone = {}
    for seq = from, math.min(last, from + 99) do gone[#gone + 1] = seq end
    redis.call('HDEL', o, unpack(gone))
  end
end

local function trim(h, o, room, prev_seq, len, keep, oldest_ms)
  local cut = 0
  if keep > 0 and len >= keep + TRIM_EVERY then cut = len - keep end
  if oldest_ms > 0 and math.floor(prev_seq / TRIM_EVERY) < math.floor(room.s / TRIM_EVERY) then
    local old = redis.call('LRANGE', h, cut, cut + 2 * TRIM_EVERY - 1)
    for at = 1, #old do
      if cmsgpack.unpack(old[at])[1] >= oldest_ms then break end
      cut = cut + 1
    end
  end
  if cut > 0 then
    redis.call('LTRIM', h, cut, -1)
    local oldest = room.s - len + 1
    forget(o, oldest, oldest + cut - 1)
  end
end

-- Keys of posts -----------------------------------------------------------------------------------------------------------

local function turn_keys(m, k, j, room, now, window, max)
  if room.kt == 0 or now - room.kt < window and room.kn < max then return end
  if redis.call('EXISTS', k) == 1 then redis.call('RENAME', k, j) end
  room.jt, room.kt, room.kn = room.kt + 2 * window, 0, 0
  redis.call('HSET', m, 'kt', 0, 'jt', room.jt)
end

local function find_keys(k, j, room, fields, now, window)
  local found = {}
  if #fields == 0 then return found end
  local function look(key)
    local values = redis.call('HMGET', key, unpack(fields))
    for at = 1, #fields do
      if values[at] and not found[fields[at]] then
        local seq, time, used = string.match(values[at], '^(%d+):(%d+):(%d+)$')
        if used and tonumber(used) + window > now then found[fields[at]] = { tonumber(seq), tonumber(time) } end
      end
    end
  end
  look(k)
  if room.jt > now then look(j) end
  return found
end

-- Changes of messages -----------------------------------------------------------------------------------------------------

-- A message that can be changed: where it is in the list, and what was done to it.
local function target(h, o, room, seq)
  local len = redis.call('LLEN', h)
  if seq < 1 or seq > room.s or seq <= room.s - len then return nil end
  local known = redis.call('HGET', o, seq)
  local done = known and cmsgpack.unpack(known) or { 0, 0, {}, {} }
  if done[1] == 1 then return nil end
  return seq - (room.s - len) - 1, done
end

local function changed(o, c, room, seq, done, keep, what)
  room.v = room.v + 1
  redis.call('HSET', o, seq, cmsgpack.pack(done))
  redis.call('HSET', c, room.v, cmsgpack.pack(what))
  if room.v > keep then redis.call('HDEL', c, room.v - keep) end
  return what
end

local CHANGES = {}

function CHANGES.E(h, o, c, room, keep, now, seq, text, data)
  local at, done = target(h, o, room, seq)
  if not at then return { 'G' } end
  local time = stamp(room.t, now)
  local message = cmsgpack.unpack(redis.call('LINDEX', h, at))
  message[3] = text
  if data ~= '' then message[4] = data end
  redis.call('LSET', h, at, cmsgpack.pack(message))
  local edits = { room.v + 1 }
  for _, rev in ipairs(done[3]) do
    if rev > room.v + 1 - keep then edits[#edits + 1] = rev end
  end
  done[2], done[3] = time, edits
  local what = changed(o, c, room, seq, done, keep, { 'E', seq, time, text, data })
  return { 'C', seq, room.v, time }, what
end

function CHANGES.D(h, o, c, room, keep, now, seq)
  local at, done = target(h, o, room, seq)
  if not at then return { 'G' } end
  local time = stamp(room.t, now)
  local message = cmsgpack.unpack(redis.call('LINDEX', h, at))
  message[3], message[4] = '', ''
  redis.call('LSET', h, at, cmsgpack.pack(message))
  -- What it once said is gone wherever it was said.
  for _, rev in ipairs(done[3]) do
    local edit = redis.call('HGET', c, rev)
    if edit then
      edit = cmsgpack.unpack(edit)
      edit[4], edit[5] = '', ''
      redis.call('HSET', c, rev, cmsgpack.pack(edit))
    end
  end
  local what = changed(o, c, room, seq, { 1, done[2], {}, {} }, keep, { 'D', seq, time })
  return { 'C', seq, room.v, time }, what
end

function CHANGES.R(h, o, c, room, keep, _, seq, user, emoji, is_removed, most)
  local at, done = target(h, o, room, seq)
  if not at then return { 'G' } end
  local known, place = done[4], nil
  for i = 1, #known, 2 do
    if known[i] == emoji and known[i + 1] == user then place = i end
  end
  if is_removed == '1' and place then
    table.remove(known, place)
    table.remove(known, place)
  elseif is_removed ~= '1' and not place then
    if #known / 2 >= tonumber(most) then return { 'T' } end
    known[#known + 1] = emoji
    known[#known + 1] = user
  else
    return { 'S', seq, room.v }
  end
  local what = changed(o, c, room, seq, done, keep, { 'R', seq, user, emoji, is_removed })
  return { 'C', seq, room.v, -1 }, what
end

-- How many arguments follow the letter of an item.
local LENGTHS = { P = 5, E = 3, D = 1, R = 5 }

-- Posts and changes of one room ---------------------------------------------------------------------------------------------

-- keys: m h o c k j i [i i]
-- args: run, node, call, channel, name, keep, keep for (ms), window (ms), keys, changes, then the items:
--   P head text data key reply_to | E seq text data | D seq | R seq user emoji is_removed most
-- Returns the epoch, the newest message and change before, and what came of each item:
--   P seq time | K seq time (repeated) | C seq rev time | S seq rev | G | N (no target) | T (too many)
local function propose(keys, args)
  local m, h, o, c, k, j = unpack(keys, 1, 6)
  local run, node, call, channel, name = args[1], args[2], tonumber(args[3]), args[4], args[5]
  local keep, keep_ms, window = tonumber(args[6]), tonumber(args[7]), tonumber(args[8])
  local max_keys, keep_changes = tonumber(args[9]), tonumber(args[10])
  local room = load(m, 'n' .. node)
  if room.n then
    local last = cmsgpack.unpack(room.n)
    if last[1] == call then return last[3] end
    if last[1] > call then return redis.error_reply('STALE a later call of this node came first') end
  end
  local now, fresh = now_ms(), node .. '-' .. string.format('%x', call)
  if not room.e then make({ m, h, o, c, k, j }, room, run, fresh) end
  fence(m, room, run, fresh)
  if not room.n then forget_nodes(m, now) end
  local was_blank = room.s == 0 and room.v == 0

  local fields, at = {}, 11
  while args[at] do
    if args[at] == 'P' and args[at + 4] ~= '' then fields[#fields + 1] = args[at + 4] end
    at = at + 1 + LENGTHS[args[at]]
  end
  if #fields > 0 then turn_keys(m, k, j, room, now, window, max_keys) end
  local used = find_keys(k, j, room, fields, now, window)

  local prev_seq, prev_rev = room.s, room.v
  local answers, news, posts, used_now, len = {}, {}, {}, {}, nil
  local function store()
    if #posts > 0 then len = redis.call('RPUSH', h, unpack(posts)) end
    posts = {}
  end
  local function post(head, text, data, key, reply_to)
    if key ~= '' and used[key] then return { 'K', used[key][1], used[key][2] } end
    if reply_to ~= '' and (tonumber(reply_to) < 1 or tonumber(reply_to) > room.s) then return { 'N' } end
    room.s, room.t = room.s + 1, stamp(room.t, now)
    posts[#posts + 1] = cmsgpack.pack({ room.t, head, text, data })
    if key ~= '' then
      used[key] = { room.s, room.t }
      used_now[#used_now + 1] = key
      used_now[#used_now + 1] = room.s .. ':' .. room.t .. ':' .. now
    end
    return { 'P', room.s, room.t }, post_resp(room.t, head, text, data)
  end
  at = 11
  while args[at] do
    local kind, answer, what = args[at], nil, nil
    if kind == 'P' then
      answer, what = post(unpack(args, at + 1, at + 5))
    else
      store()
      answer, what = CHANGES[kind](h, o, c, room, keep_changes, now, tonumber(args[at + 1]),
        unpack(args, at + 2, at + LENGTHS[kind]))
      what = what and resp(what)
    end
    answers[#answers + 1] = answer
    news[#news + 1] = what
    at = at + 1 + LENGTHS[kind]
  end
  store()

  if #used_now > 0 then
    redis.call('HSET', k, unpack(used_now))
    room.kn = room.kn + #used_now / 2
    if room.kt == 0 then
      room.kt = now
      redis.call('HSET', m, 'kt', now)
      redis.call('PEXPIRE', k, 2 * window)
    end
  end
  local answer = { room.e, prev_seq, prev_rev, answers }
  redis.call('HSET', m, 's', room.s, 'v', room.v, 't', room.t, 'kn', room.kn, 'n' .. node, cmsgpack.pack({ call, now, answer }))
  if len then
    trim(h, o, room, prev_seq, len, keep, keep_ms > 0 and now - keep_ms or 0)
    local two = keys[8]
    if two or was_blank then redis.call('ZADD', keys[7], two and room.t or 0, name) end
    if two then redis.call('ZADD', two, room.t, name) end
  end
  if keep_ms > 0 and now - room.x > HOUR_MS then
    for at = 1, 4 do redis.call('PEXPIRE', keys[at], keep_ms + 2 * HOUR_MS) end
    redis.call('HSET', m, 'x', now)
  elseif was_blank and room.s > 0 and keep_ms == 0 then
    redis.call('PERSIST', m)
  end
  if #news > 0 then
    if keys[9] then
      redis.call('ZADD', keys[9], now, name)
      redis.call('ZREMRANGEBYRANK', keys[9], 0, -MAX_RECENT_PAIRS - 1)
    end
    redis.call('PUBLISH', channel, '*5\r\n' .. resp(name) .. resp(room.e) .. resp(prev_seq) .. resp(prev_rev) ..
      '*' .. #news .. '\r\n' .. table.concat(news))
  end
  return answer
end

-- What is known of a room ---------------------------------------------------------------------------------------------------

-- Messages from `first` to `last`: seq, time, head, text, data, is deleted, when edited, and the reactions.
local function read(h, o, room, len, first, last)
  local below = room.s - len
  first, last = math.max(first, below + 1), math.min(last, room.s)
  if first > last then return {} end
  local raw = redis.call('LRANGE', h, first - below - 1, last - below - 1)
  local done = {}
  if redis.call('HLEN', o) > 0 then
    local seqs = {}
    for seq = first, last do seqs[#seqs + 1] = seq end
    done = redis.call('HMGET', o, unpack(seqs))
  end
  local records = {}
  for at = 1, #raw do
    local ok, message = pcall(cmsgpack.unpack, raw[at])
    if ok and type(message) == 'table' then
      local what = done[at] and cmsgpack.unpack(done[at]) or { 0, 0, {}, {} }
      records[#records + 1] =
        { first + at - 1, message[1], message[2], message[3], message[4], what[1], what[2], what[4] }
    end
  end
  return records
end

-- The newest messages before a place, the oldest first; at most so many octets, but one.
local function newest(h, o, room, len, before, limit, octets)
  local found, last = {}, math.min(before - 1, room.s)
  while limit > 0 do
    local count = math.min(limit, 64)
    local part = read(h, o, room, len, last - count + 1, last)
    if #part == 0 then break end
    for at = #part, 1, -1 do
      octets = octets - #part[at][4] - #part[at][5]
      if octets < 0 and #found > 0 then limit = 0 break end
      found[#found + 1] = part[at]
    end
    limit, last = limit - count, last - count
  end
  local records = {}
  for at = #found, 1, -1 do records[#records + 1] = found[at] end
  return records
end

-- Changes after `rev`, at most so many; nil where they are kept no more.
local function changes(c, room, rev, limit)
  local last, revs = math.min(room.v, rev + limit), {}
  for number = rev + 1, last do revs[#revs + 1] = number end
  if #revs == 0 then return {} end
  local found, list = redis.call('HMGET', c, unpack(revs)), {}
  for at = 1, #revs do
    if not found[at] then return nil end
    local what = cmsgpack.unpack(found[at])
    table.insert(what, 1, revs[at])
    list[at] = what
  end
  return list
end

local function oldest(room, len)
  return room.s == 0 and 0 or room.s - len + 1
end

-- keys: m h o c; args: messages, changes. Nothing where there is no such room.
local function open(keys, args)
  local m, h, o, c = unpack(keys)
  local room = load(m)
  if not room.e then return false end
  local len, most = redis.call('LLEN', h), tonumber(args[2])
  local first = math.max(0, room.v - math.min(most, redis.call('HLEN', c)))
  return {
    room.e, lineage(m), room.s, room.v, room.t, oldest(room, len),
    newest(h, o, room, len, room.s + 1, tonumber(args[1]), OPENED_OCTETS), changes(c, room, first, most) or {},
  }
end

-- keys: m h o c k j; args: run, fresh name, milliseconds until a room in which nothing is said is forgotten.
local function begin(keys, args)
  local room = load(keys[1])
  if room.e then return 0 end
  make(keys, room, args[1], args[2])
  redis.call('PEXPIRE', keys[1], args[3])
  return 1
end

-- What is new to somebody who knows a room up to a place.
-- keys: m h o c; args: run, fresh name, epoch, seq, rev, limit.
-- Returns: epoch, the place up to which both histories are one, seq, rev, messages, changes; in the place of messages or
-- changes nothing where they are kept no more. Nothing at all where there is no such room.
local function since(keys, args)
  local m, h, o, c = unpack(keys)
  local room = load(m)
  if not room.e then return false end
  local epoch, seq, rev, limit = args[3], tonumber(args[4]), tonumber(args[5]), tonumber(args[6])
  fence(m, room, args[1], args[2])
  if room.e == epoch and (seq > room.s or rev > room.v) then fork(m, room, args[1], args[2]) end
  local base_seq, base_rev = seq, rev
  if room.e ~= epoch then
    local is_known = false
    for _, branch in ipairs(lineage(m)) do
      is_known = is_known or branch[1] == epoch
      if is_known then base_seq, base_rev = math.min(base_seq, branch[2]), math.min(base_rev, branch[3]) end
    end
    if not is_known then base_seq, base_rev = 0, 0 end
  end
  local len = redis.call('LLEN', h)
  local messages = base_seq >= room.s and {} or false
  if base_seq < room.s and base_seq >= room.s - len then
    messages = read(h, o, room, len, base_seq + 1, base_seq + limit)
    if #messages < math.min(limit, room.s - base_seq) then messages = false end
  end
  return { room.e, base_seq, base_rev, room.s, room.v, messages, changes(c, room, base_rev, limit) or false }
end

-- keys: m h o; args: before, limit, octets, whether the oldest stay where not all fit.
local function page(keys, args)
  local m, h, o = unpack(keys)
  local room = load(m)
  if not room.e then return {} end
  local len, before, limit, octets = redis.call('LLEN', h), tonumber(args[1]), tonumber(args[2]), tonumber(args[3])
  if args[4] ~= '1' then return newest(h, o, room, len, before, limit, octets) end
  before = math.min(before, room.s + 1)
  local found, first = {}, math.max(1, before - limit, room.s - len + 1)
  while first < before do
    local part = read(h, o, room, len, first, math.min(first + 63, before - 1))
    for at = 1, #part do
      octets = octets - #part[at][4] - #part[at][5]
      if octets < 0 and #found > 0 then return found end
      found[#found + 1] = part[at]
    end
    first = first + 64
  end
  return found
end

-- Users -------------------------------------------------------------------------------------------------------------------

-- keys: r; args: user, seq, milliseconds until nobody has read anything (0: never).
local function mark(keys, args)
  local r, user, seq, keep_ms = keys[1], args[1], tonumber(args[2]), tonumber(args[3])
  local known = tonumber(redis.call('HGET', r, user) or -1)
  if known >= seq or known < 0 and redis.call('HLEN', r) >= MAX_READERS then return 0 end
  redis.call('HSET', r, user, seq)
  if keep_ms > 0 and known < 0 then redis.call('PEXPIRE', r, keep_ms + 2 * HOUR_MS) end
  return 1
end

-- keys: s; args: room, 1 or 0, rooms of a user at most. Returns 0 where these are too many.
local function subscribe(keys, args)
  local s, room = keys[1], args[1]
  if args[2] ~= '1' then
    redis.call('SREM', s, room)
    return 1
  end
  if redis.call('SISMEMBER', s, room) == 1 then return 1 end
  if redis.call('SCARD', s) >= tonumber(args[3]) then return 0 end
  redis.call('SADD', s, room)
  return 1
end

-- keys: bans; args: channel, user, [until, reason].
local function ban(keys, args)
  if args[3] then
    redis.call('HSET', keys[1], args[2], cmsgpack.pack({ args[3], args[4] }))
  else
    redis.call('HDEL', keys[1], args[2])
  end
  redis.call('PUBLISH', args[1], resp({ 'ban', unpack(args, 2) }))
  return 1
end

-- keys: bans. Returns: user, until, reason, of each.
local function bans(keys)
  local all, found = redis.call('HGETALL', keys[1]), {}
  for at = 1, #all, 2 do
    local what = cmsgpack.unpack(all[at + 1])
    found[#found + 1] = { all[at], what[1], what[2] }
  end
  return found
end

-- keys: holders; args: channel, name, subject, 1 where it is their first name.
-- Returns the subject whose name it is.
local function hold(keys, args)
  if redis.call('HSETNX', keys[1], args[2], args[4] .. args[3]) == 1 then
    redis.call('PUBLISH', args[1], resp({ 'hold', unpack(args, 2) }))
  end
  return string.sub(redis.call('HGET', keys[1], args[2]), 2)
end

local function register(name, callback, flags)
  redis.register_function { function_name = 'switchboard_1_' .. name, callback = callback, flags = flags }
end

register('propose', propose)
register('open', open, { 'no-writes' })
register('begin', begin)
register('since', since)
register('page', page, { 'no-writes' })
register('mark', mark)
register('subscribe', subscribe)
register('ban', ban)
register('bans', bans, { 'no-writes' })
register('hold', hold)
