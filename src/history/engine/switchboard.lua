#!lua name=switchboard_2

-- What a chat of several nodes does in one atomic step. A change of what is stored, or of what a function takes or returns,
-- is a library of another name: nodes of two versions may share an engine during an upgrade. Rooms as `switchboard_1` left
-- them are read here, and written as they are now; from then on that library refuses them.
--
-- The keys of a room, of which each function takes those that it needs, in this order:
--   m  hash   p the place (PLACE below), l lineage, n<node> the last call of a node (16 hexadecimal digits), when it was
--             (13 digits), and its answer
--   h  list   messages, the oldest first, as they are told: RESP of time, head, text, data; the newest has the number s
--   o  hash   message -> {is deleted, when edited, the changes that edited it, reactions: emoji, user, emoji, user, ..}
--   c  hash   change -> what it was; the newest ones
--   k, j hash key of a post -> message, its time, and when it was used, of this window and of the one before
--   i  zset   the list of rooms in which the room is; for conversations of two there are two of them, and the list of the
--             conversations in which something happened lately
--
-- Numbers become texts by `%d` or not at all: Lua's own way, through a float, costs as much as a command of the engine.

local DAY_MS, HOUR_MS, FIRST_MS = 86400000, 3600000, 1577836800000
local MAX_LINEAGE, MAX_NODES, TRIM_EVERY, OPENED_OCTETS = 64, 32, 64, 1048576
local MAX_READERS, MAX_RECENT_PAIRS = 10000, 10000
local MAX_SETTINGS = 64
-- Keys that are searched one after the other; octets above `hash-max-listpack-value` as it is unless somebody changes it.
local FEW_KEYS, LONG_VALUE = 32, 65

-- Of a room: s newest message, v newest change, t its time, kt when the keys of posts began, jt until when older ones count,
-- x when the keys of the room were last made to expire, kn how many keys of posts there are, e epoch, r whose numbers these
-- are (fence).
local PLACE = '<dddddddss'
-- Of a key of a post: the message, its time, and when the key was used.
local USE = '<ddd'

-- Milliseconds, as text.
local function now_text()
  local time = redis.call('TIME')
  local micros = time[2]
  if #micros < 6 then micros = string.sub('00000' .. micros, -6) end
  return time[1] .. string.sub(micros, 1, 3)
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

local function message_of(time, head, text, data)
  return '*4\r\n:' .. time .. '\r\n' .. resp(head) .. resp(text) .. resp(data)
end

-- A message of the list: time, head, text and data, as texts.
local function parts_of(message)
  if string.sub(message, 1, 1) ~= '*' then
    local old = cmsgpack.unpack(message)
    return string.format('%d', old[1]), old[2], old[3], old[4]
  end
  local time, at = string.match(message, '^%*4\r\n:(%d+)\r\n()')
  local found = {}
  for part = 1, 3 do
    local len, from = string.match(message, '^%$(%d+)\r\n()', at)
    at = from + len + 2
    found[part] = string.sub(message, from, at - 3)
  end
  return time, unpack(found)
end

-- A room as `switchboard_1` left it.
local function load_old(m)
  local f = redis.call('HMGET', m, 'e', 'r', 's', 'v', 't', 'kt', 'jt', 'x', 'kn')
  if not f[1] then return nil end
  local room = { e = f[1], r = f[2], is_old = true }
  for at, name in ipairs({ 's', 'v', 't', 'kt', 'jt', 'x', 'kn' }) do room[name] = tonumber(f[at + 2] or 0) end
  return room
end

local function room_of(m, place)
  if not place then return load_old(m) end
  local s, v, t, kt, jt, x, kn, e, r = struct.unpack(PLACE, place)
  return { s = s, v = v, t = t, kt = kt, jt = jt, x = x, kn = kn, e = e, r = r }
end

-- Nothing where there is no such room.
local function load(m)
  return room_of(m, redis.call('HGET', m, 'p'))
end

local function place_of(room)
  return struct.pack(PLACE, room.s, room.v, room.t, room.kt, room.jt, room.x, room.kn, room.e, room.r)
end

-- What `switchboard_1` had there goes; where the number of messages is none, that library does nothing.
local function leave_old(m, room)
  if not room.is_old then return end
  for _, field in ipairs(redis.call('HKEYS', m)) do
    if field ~= 'e' and field ~= 'l' then redis.call('HDEL', m, field) end
  end
  redis.call('HSET', m, 's', 'see p')
end

local function save(m, room)
  leave_old(m, room)
  redis.call('HSET', m, 'p', place_of(room))
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
  redis.call('HSET', m, 'l', table.concat(l))
  room.e, room.r = fresh, run
end

-- Numbers that another run of the engine gave may have been given again since. Whether something was done.
local function fence(m, room, run, fresh)
  if room.r == run then return false end
  fork(m, room, run, fresh)
  return true
end

local function make(keys, run, fresh)
  -- Whatever is left of a room of this name is no part of the new one.
  redis.call('UNLINK', unpack(keys))
  return { s = 0, v = 0, t = 0, kt = 0, jt = 0, x = 0, kn = 0, e = fresh, r = run }
end

-- The nodes whose last calls are remembered do not become more and more.
local function forget_nodes(m, now)
  if redis.call('HLEN', m) < MAX_NODES then return end
  local all = redis.call('HGETALL', m)
  for at = 1, #all, 2 do
    if string.sub(all[at], 1, 1) == 'n' and tonumber(string.sub(all[at + 1], 17, 29)) < now - HOUR_MS then
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

local function trim(h, o, seq, prev_seq, len, set, now)
  local cut, oldest_ms = 0, now - set.keep_ms
  if set.keep > 0 and len >= set.keep + TRIM_EVERY then cut = len - set.keep end
  if set.keep_ms > 0 and prev_seq % TRIM_EVERY + seq - prev_seq >= TRIM_EVERY then
    local old = redis.call('LRANGE', h, cut, cut + 2 * TRIM_EVERY - 1)
    for at = 1, #old do
      local is_whole, time = pcall(parts_of, old[at])
      if is_whole and tonumber(time) >= oldest_ms then break end
      cut = cut + 1
    end
  end
  if cut > 0 then
    redis.call('LTRIM', h, cut, -1)
    local oldest = seq - len + 1
    forget(o, oldest, oldest + cut - 1)
  end
end

-- Keys of posts -----------------------------------------------------------------------------------------------------------

local function turn_keys(k, j, room, now, window, max)
  if room.kt == 0 or now - room.kt < window and room.kn < max then return end
  if redis.call('EXISTS', k) == 1 then redis.call('RENAME', k, j) end
  room.jt, room.kt, room.kn = room.kt + 2 * window, 0, 0
end

-- The message of a key and its time, where it counts.
local function use_of(value, now, window)
  local seq, time, used
  if #value == 24 then
    seq, time, used = struct.unpack(USE, value)
  else
    seq, time, used = string.match(value, '^(%d+):(%d+):(%d+)$')
    if not used then return nil end
  end
  if used + window > now then return { tonumber(seq), tonumber(time) } end
end

local function find_keys(k, j, room, fields, now, window)
  local found = {}
  local function look(key)
    local values = redis.call('HMGET', key, unpack(fields))
    for at = 1, #fields do
      local use = values[at] and not found[fields[at]] and use_of(values[at], now, window)
      -- A call that failed in its middle has left a key, and no message.
      if use and use[1] <= room.s then found[fields[at]] = use end
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
  if not at then return 'G' end
  local time = stamp(room.t, now)
  local is_whole, posted, head, _, carried = pcall(parts_of, redis.call('LINDEX', h, at))
  if not is_whole then return 'G' end
  redis.call('LSET', h, at, message_of(posted, head, text, data ~= '' and data or carried))
  local edits = { room.v + 1 }
  for _, rev in ipairs(done[3]) do
    if rev > room.v + 1 - keep then edits[#edits + 1] = rev end
  end
  done[2], done[3] = time, edits
  local what = changed(o, c, room, seq, done, keep, { 'E', seq, time, text, data })
  return string.format('C %d %d %d', seq, room.v, time), what
end

function CHANGES.D(h, o, c, room, keep, now, seq)
  local at, done = target(h, o, room, seq)
  if not at then return 'G' end
  local time = stamp(room.t, now)
  local is_whole, posted, head = pcall(parts_of, redis.call('LINDEX', h, at))
  if not is_whole then return 'G' end
  redis.call('LSET', h, at, message_of(posted, head, '', ''))
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
  return string.format('C %d %d %d', seq, room.v, time), what
end

function CHANGES.R(h, o, c, room, keep, _, seq, user, emoji, is_removed, most)
  local at, done = target(h, o, room, seq)
  if not at then return 'G' end
  local known, place = done[4], nil
  for i = 1, #known, 2 do
    if known[i] == emoji and known[i + 1] == user then place = i end
  end
  if is_removed == '1' and place then
    table.remove(known, place)
    table.remove(known, place)
  elseif is_removed ~= '1' and not place then
    if #known / 2 >= tonumber(most) then return 'T' end
    known[#known + 1] = emoji
    known[#known + 1] = user
  else
    return string.format('S %d %d', seq, room.v)
  end
  local what = changed(o, c, room, seq, done, keep, { 'R', seq, user, emoji, is_removed })
  return string.format('C %d %d -', seq, room.v), what
end

-- Where the items of a call begin, and how many arguments follow the letter of each.
local FIRST_ITEM = 5
local LENGTHS = { P = 2, A = 3, E = 3, D = 1, R = 5 }

-- Posts and changes of one room ---------------------------------------------------------------------------------------------

-- What a node says in each call, read once.
local known, known_count = {}, 0

local function settings(words)
  local set = known[words]
  if set then return set end
  local node, run, keep, keep_ms, window, keys, changes = string.match(words, '^(%S+) (%S+) (%d+) (%d+) (%d+) (%d+) (%d+)$')
  set = {
    node = node, field = 'n' .. node, run = run, keep = tonumber(keep), keep_ms = tonumber(keep_ms),
    window = tonumber(window), keys = tonumber(keys), changes = tonumber(changes),
  }
  if known_count == MAX_SETTINGS then known, known_count = {}, 0 end
  known[words], known_count = set, known_count + 1
  return set
end

local function name_of(words)
  return string.match(words, '^%$%d+\r\n(.*)\r\n$')
end

-- keys: m h o c k j i [i i]
-- args: settings (node, run, keep, keep for (ms), window (ms), keys, changes), call, channel, name (RESP), then the items:
--   P message (its parts but the time, as RESP) key | A message key reply_to | E seq text data | D seq |
--   R seq user emoji is_removed most
-- Returns the epoch, the newest message and change before (RESP), and what came of each, with `;` behind it: P count time (so
-- many posts, whose numbers follow those before) | K seq time (repeated) | C seq rev time | S seq rev | G | N (no target) |
-- T (too many)
local function propose(keys, args)
  local m, h, o, c, k, j = unpack(keys, 1, 6)
  local set, call = settings(args[1]), args[2]
  local keep_ms, field = set.keep_ms, set.field
  local f = redis.call('HMGET', m, 'p', field)
  if f[2] then
    local last = string.sub(f[2], 1, 16)
    if last == call then return string.sub(f[2], 30) end
    if last > call then return redis.error_reply('STALE a later call of this node came first') end
  end
  local now_words = now_text()
  local now, room = tonumber(now_words), room_of(m, f[1])
  if not room then
    room = make({ m, h, o, c, k, j }, set.run, set.node .. '-' .. call)
  elseif room.r ~= set.run then
    fork(m, room, set.run, set.node .. '-' .. call)
  end
  if not f[2] then forget_nodes(m, now) end
  local was_blank = room.s == 0 and room.v == 0

  local fields, at = {}, FIRST_ITEM
  while args[at] do
    local kind = args[at]
    if (kind == 'P' or kind == 'A') and args[at + 2] ~= '' then fields[#fields + 1] = args[at + 2] end
    at = at + 1 + LENGTHS[kind]
  end
  local used, used_now = nil, {}
  if fields[1] then
    turn_keys(k, j, room, now, set.window, set.keys)
    used = find_keys(k, j, room, fields, now, set.window)
  end

  local prev_seq, prev_rev, time = room.s, room.v, stamp(room.t, now)
  local time_words = time == now and now_words or string.format('%d', time)
  local begin = '*4\r\n:' .. time_words .. '\r\n'
  local before = string.format('+%s\r\n:%d\r\n:%d\r\n', room.e, prev_seq, prev_rev)
  -- The first of the news is what they begin with.
  local answers, news, posts, len = before, { '' }, {}, nil
  -- Posts that follow each other go into the list at once, and have one answer.
  local function store()
    local count = #posts
    if count == 0 then return end
    len = redis.call('RPUSH', h, unpack(posts))
    answers = answers .. string.format('P %d ', count) .. time_words .. ';'
    posts = {}
  end
  at = FIRST_ITEM
  while args[at] do
    local kind = args[at]
    if kind == 'P' or kind == 'A' then
      local body, key, reply_to = args[at + 1], args[at + 2], kind == 'A' and tonumber(args[at + 3])
      if key ~= '' and used[key] then
        store()
        -- A number is a message of this call.
        local found = used[key]
        if type(found) == 'number' then found = { found, time } end
        answers = answers .. string.format('K %d %d;', unpack(found))
      elseif reply_to and (reply_to < 1 or reply_to > room.s) then
        store()
        answers = answers .. 'N;'
      else
        room.s = room.s + 1
        local message = begin .. body
        posts[#posts + 1] = message
        news[#news + 1] = message
        if key ~= '' then
          used[key] = room.s
          used_now[#used_now + 1] = key
          used_now[#used_now + 1] = struct.pack(USE, room.s, time, now)
        end
      end
    else
      store()
      local answer, what = CHANGES[kind](h, o, c, room, set.changes, now, tonumber(args[at + 1]),
        unpack(args, at + 2, at + LENGTHS[kind]))
      answers = answers .. answer .. ';'
      if what then news[#news + 1] = resp(what) end
    end
    at = at + 1 + LENGTHS[kind]
  end
  store()

  if used_now[1] then
    redis.call('HSET', k, unpack(used_now))
    room.kn = room.kn + #used_now / 2
    -- A value that is too long for the form that is searched from its beginning makes many keys a table.
    if room.kn > FEW_KEYS and room.kn - #used_now / 2 <= FEW_KEYS then
      redis.call('HSET', k, '', string.rep(' ', LONG_VALUE))
      room.kn = room.kn + 1
    end
    if room.kt == 0 then
      room.kt = now
      redis.call('PEXPIRE', k, 2 * set.window)
    end
  end
  if len then room.t = time end
  local is_due = keep_ms > 0 and now - room.x > HOUR_MS
  if is_due then room.x = now end
  leave_old(m, room)
  redis.call('HSET', m, 'p', place_of(room), field, call .. now_words .. answers)
  if len then
    trim(h, o, room.s, prev_seq, len, set, now)
    local two = keys[8]
    if two or was_blank then redis.call('ZADD', keys[7], two and room.t or 0, name_of(args[4])) end
    if two then redis.call('ZADD', two, room.t, name_of(args[4])) end
  end
  if is_due then
    for at = 1, 4 do redis.call('PEXPIRE', keys[at], keep_ms + 2 * HOUR_MS) end
  elseif was_blank and room.s > 0 and keep_ms == 0 then
    redis.call('PERSIST', m)
  end
  if news[2] then
    if keys[9] then
      redis.call('ZADD', keys[9], now, name_of(args[4]))
      redis.call('ZREMRANGEBYRANK', keys[9], 0, -MAX_RECENT_PAIRS - 1)
    end
    news[1] = '*5\r\n' .. args[4] .. before .. string.format('*%d\r\n', #news - 1)
    redis.call('PUBLISH', args[3], table.concat(news))
  end
  return answers
end

-- One post that is no answer to another, which most calls are: what `propose` does, without what it needs for anything else.
-- keys: m h o c k j i [i i]; args: settings, call, channel, name (RESP), message, key. Returns what `propose` does.
local function post(keys, args)
  local set, call, body, key = settings(args[1]), args[2], args[5], args[6]
  local m, h, k = keys[1], keys[2], keys[5]
  local f = redis.call('HMGET', m, 'p', set.field)
  local place, last = f[1], f[2]
  if not keys[8] and place and last and last < call then
    local s, v, t, kt, jt, x, kn, e, r = struct.unpack(PLACE, place)
    local now_words = now_text()
    local now = tonumber(now_words)
    local is_plain = s > 0 and r == set.run and t <= now and (set.keep_ms == 0 or now - x <= HOUR_MS)
    if is_plain and key ~= '' then
      is_plain = kt > 0 and now - kt < set.window and kn < set.keys and kn ~= FEW_KEYS
        and (jt <= now or redis.call('HEXISTS', keys[6], key) == 0)
        and redis.call('HSETNX', k, key, struct.pack(USE, s + 1, now, now)) == 1
      kn = kn + 1
    end
    if is_plain then
      local message = '*4\r\n:' .. now_words .. '\r\n' .. body
      local before = string.format('+%s\r\n:%d\r\n:%d\r\n', e, s, v)
      local answer = before .. 'P 1 ' .. now_words .. ';'
      local len = redis.call('RPUSH', h, message)
      place = struct.pack(PLACE, s + 1, v, now, kt, jt, x, kn, e, r)
      redis.call('HSET', m, 'p', place, set.field, call .. now_words .. answer)
      trim(h, keys[3], s + 1, s, len, set, now)
      redis.call('PUBLISH', args[3], '*5\r\n' .. args[4] .. before .. '*1\r\n' .. message)
      return answer
    end
  end
  return propose(keys, { args[1], call, args[3], args[4], 'P', body, key })
end

-- What is known of a room ---------------------------------------------------------------------------------------------------

-- Messages from `first` to `last`: seq, the message as RESP, is deleted, when edited, and the reactions; damaged ones are left
-- out.
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
    local message = raw[at]
    if string.sub(message, 1, 1) ~= '*' then
      local ok, time, head, text, data = pcall(parts_of, message)
      message = ok and message_of(time, head, text, data)
    end
    if message then
      local what = done[at] and cmsgpack.unpack(done[at]) or { 0, 0, {}, {} }
      records[#records + 1] = { first + at - 1, message, what[1], what[2], what[4] }
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
      octets = octets - #part[at][2]
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
  if not room then return false end
  local len, most = redis.call('LLEN', h), tonumber(args[2])
  local first = math.max(0, room.v - math.min(most, redis.call('HLEN', c)))
  return {
    room.e, lineage(m), room.s, room.v, room.t, oldest(room, len),
    newest(h, o, room, len, room.s + 1, tonumber(args[1]), OPENED_OCTETS), changes(c, room, first, most) or {},
  }
end

-- keys: m. Returns: epoch, seq, rev, time. Nothing where there is no such room.
local function head(keys)
  local room = load(keys[1])
  return room and { room.e, room.s, room.v, room.t } or false
end

-- keys: m h o c k j; args: run, fresh name, milliseconds until a room in which nothing is said is forgotten.
local function begin(keys, args)
  if load(keys[1]) then return 0 end
  save(keys[1], make(keys, args[1], args[2]))
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
  if not room then return false end
  local epoch, seq, rev, limit = args[3], tonumber(args[4]), tonumber(args[5]), tonumber(args[6])
  local is_other = fence(m, room, args[1], args[2])
  if room.e == epoch and (seq > room.s or rev > room.v) then
    fork(m, room, args[1], args[2])
    is_other = true
  end
  if is_other then save(m, room) end
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
  if not room then return {} end
  local len, before, limit, octets = redis.call('LLEN', h), tonumber(args[1]), tonumber(args[2]), tonumber(args[3])
  if args[4] ~= '1' then return newest(h, o, room, len, before, limit, octets) end
  before = math.min(before, room.s + 1)
  local found, first = {}, math.max(1, before - limit, room.s - len + 1)
  while first < before do
    local part = read(h, o, room, len, first, math.min(first + 63, before - 1))
    for at = 1, #part do
      octets = octets - #part[at][2]
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
  redis.register_function { function_name = 'switchboard_2_' .. name, callback = callback, flags = flags }
end

register('propose', propose)
register('post', post)
register('open', open, { 'no-writes' })
register('head', head, { 'no-writes' })
register('begin', begin)
register('since', since)
register('page', page, { 'no-writes' })
register('mark', mark)
register('subscribe', subscribe)
register('ban', ban)
register('bans', bans, { 'no-writes' })
register('hold', hold)
