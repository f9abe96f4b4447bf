// Emojis by name: for `:name:`, for the picker, and for reactions. The names are those that people type elsewhere, too.

/** Groups of the picker: the emoji that stands for a group, and its emojis with their names, the best known first. */
const GROUPS = [
  ['😀', `😀 grinning smile|😃 smiley|😄 happy|😁 grin|😆 laughing|😅 sweat_smile|😂 joy tears|🤣 rofl|🙂 slight_smile|🙃 upside_down|😉 wink|😊 blush|😇 innocent|🥰 hearts_face|😍 heart_eyes|🤩 star_struck|😘 kiss_face|😋 yum|😛 tongue|😜 zany|🤪 crazy|🤗 hug|🤭 oops|🤫 shush|🤔 thinking|🫡 salute|🤐 zip|🤨 raised_eyebrow|😐 neutral|😶 no_mouth|😏 smirk|😒 unamused|🙄 rolling_eyes|😬 grimace|😌 relieved|😔 pensive|😪 sleepy|😴 sleeping|😷 mask|🤒 ill|🤕 hurt|🤢 nauseated|🤧 sneeze|🥵 hot|🥶 cold|🥴 woozy|🤯 exploding_head mind_blown|🤠 cowboy|🥳 party partying|😎 sunglasses cool|🤓 nerd|🧐 monocle|😕 confused|😟 worried|🙁 frown|😮 open_mouth wow|😲 astonished|😳 flushed|🥺 pleading|😨 fearful|😰 anxious|😢 cry|😭 sob|😱 scream|😖 confounded|😞 disappointed|😓 sweat|😩 weary|😫 tired|🥱 yawn|😤 triumph|😡 rage|😠 angry|🤬 swearing|😈 devil|💀 skull|💩 poop|🤡 clown|👻 ghost|👽 alien|🤖 robot|🎃 pumpkin`],
  ['👋', `👋 wave hello bye|🤚 back_hand|✋ hand|🖖 vulcan|👌 ok_hand|🤌 pinched|✌️ victory|🤞 crossed_fingers|🤟 love_you|🤘 metal|🤙 call_me|👈 point_left|👉 point_right|👆 point_up|👇 point_down|👍 thumbsup +1 yes|👎 thumbsdown -1 no|✊ fist|👊 punch|👏 clap|🙌 raised_hands|🫶 heart_hands|👐 open_hands|🤝 handshake|🙏 pray thanks please|✍️ writing|💪 muscle strong|👀 eyes look|🧠 brain|👶 baby|🧑 person|👨 man|👩 woman|🧓 older|🙋 raising_hand|🤦 facepalm|🤷 shrug|💃 dance|🏃 run|🚶 walk|👫 couple|👪 family|🧑‍💻 technologist|🧑‍🔧 mechanic|🧑‍🚀 astronaut`],
  ['❤️', `❤️ heart love|🧡 orange_heart|💛 yellow_heart|💚 green_heart|💙 blue_heart|💜 purple_heart|🖤 black_heart|🤍 white_heart|🤎 brown_heart|💔 broken_heart|💕 two_hearts|💖 sparkling_heart|💯 hundred 100|💢 anger|💥 boom|💫 dizzy|💦 drops|💨 dash|🔥 fire|✨ sparkles|⭐ star|🌟 glowing_star|🎉 tada party_popper|🎊 confetti|🎈 balloon|🎁 gift|🏆 trophy|🥇 gold|🥈 silver|🥉 bronze|🏅 medal|✅ check done|☑️ checked|❌ x cross|❓ question|❗ exclamation|⚠️ warning|🚫 no_entry|⛔ stop|♻️ recycle|➕ plus|➖ minus|➡️ right|⬅️ left|⬆️ up|⬇️ down|🔁 repeat|🆗 ok|🆕 new|🆒 cool_sign|🔴 red|🟠 orange_circle|🟡 yellow|🟢 green|🔵 blue|🟣 purple|⚫ black|⚪ white`],
  ['🐶', `🐶 dog|🐱 cat|🐭 mouse|🐹 hamster|🐰 rabbit|🦊 fox|🐻 bear|🐼 panda|🐨 koala|🐯 tiger|🦁 lion|🐮 cow|🐷 pig|🐸 frog|🐵 monkey|🙈 see_no_evil|🙉 hear_no_evil|🙊 speak_no_evil|🐔 chicken|🐧 penguin|🐦 bird|🦆 duck|🦉 owl|🐺 wolf|🐴 horse|🦄 unicorn|🐝 bee|🐛 bug|🦋 butterfly|🐌 snail|🐞 ladybug|🐢 turtle|🐍 snake|🦀 crab ferris|🐙 octopus|🐠 fish|🐬 dolphin|🐳 whale|🦈 shark|🐘 elephant|🌵 cactus|🎄 christmas_tree|🌲 tree|🌱 seedling|🍀 clover|🍁 maple|🍄 mushroom|🌹 rose|🌻 sunflower|🌷 tulip|🌍 earth|🌙 moon|☀️ sun|⛅ cloudy|🌧️ rain|⛈️ storm|❄️ snow|🌈 rainbow|🌊 ocean|⚡ zap`],
  ['🍎', `🍎 apple|🍐 pear|🍊 orange|🍋 lemon|🍌 banana|🍉 watermelon|🍇 grapes|🍓 strawberry|🍒 cherries|🍑 peach|🥭 mango|🍍 pineapple|🥥 coconut|🥝 kiwi|🍅 tomato|🥑 avocado|🥦 broccoli|🌽 corn|🥕 carrot|🧄 garlic|🍞 bread|🥐 croissant|🥨 pretzel|🧀 cheese|🥚 egg|🥓 bacon|🥞 pancakes|🍔 burger|🍟 fries|🍕 pizza|🌭 hotdog|🥪 sandwich|🌮 taco|🌯 burrito|🥗 salad|🍝 spaghetti|🍜 ramen|🍣 sushi|🍛 curry|🍚 rice|🍦 ice_cream|🍩 doughnut|🍪 cookie|🎂 cake birthday|🍫 chocolate|🍿 popcorn|☕ coffee|🍵 tea|🍺 beer|🍻 beers cheers|🥂 champagne|🍷 wine|🍸 cocktail|🥤 drink|🧊 ice`],
  ['⚽', `⚽ soccer|🏀 basketball|🏈 football|⚾ baseball|🎾 tennis|🏐 volleyball|🏓 ping_pong|🏸 badminton|🥊 boxing|🎯 dart bullseye|🎳 bowling|🎮 game|🎲 dice|🧩 puzzle|♟️ chess|🎨 art|🎬 movie|🎤 microphone|🎧 headphones|🎵 music|🎸 guitar|🎹 piano|🥁 drum|🎻 violin|🚴 cycling|🏊 swimming|🏄 surfing|⛷️ ski|🧗 climbing|🧘 yoga`],
  ['🚀', `🚀 rocket|✈️ airplane|🚁 helicopter|🚗 car|🚕 taxi|🚌 bus|🚑 ambulance|🚒 fire_engine|🚲 bike|🛴 scooter|🚂 train|🚇 metro|🚢 ship|⛵ sailboat|⚓ anchor|🛰️ satellite|🏠 house|🏢 office|🏭 factory|🏥 hospital|🏫 school|🏰 castle|🗼 tower|🗽 liberty|⛪ church|🕌 mosque|⛺ tent|🏝️ island|🏔️ mountain|🌋 volcano|🗺️ map|🧭 compass`],
  ['💡', `💡 bulb idea|🔦 flashlight|🕯️ candle|📱 phone|💻 laptop|🖥️ desktop|⌨️ keyboard|🖨️ printer|💾 floppy|💿 cd|📷 camera|📺 tv|📻 radio|⏰ alarm|⏳ hourglass|⌚ watch|🔋 battery|🔌 plug|🔧 wrench|🔨 hammer|🛠️ tools|⚙️ gear|🧰 toolbox|🔩 bolt|🔒 lock|🔓 unlock|🔑 key|🔗 link|📎 paperclip|✂️ scissors|📌 pin|📍 place|📅 calendar|📈 chart_up|📉 chart_down|📊 chart|📋 clipboard|📁 folder|📄 page|📝 memo|✏️ pencil|📚 books|📖 book|📦 package|📬 mailbox|✉️ envelope|📣 megaphone|🔔 bell|🔕 no_bell|🔍 search|🧪 test_tube|🧬 dna|🔬 microscope|🔭 telescope|💊 pill|💰 money|💳 card|🛒 cart|🚪 door|🛏️ bed|🚿 shower|🧹 broom|🪑 chair|🏁 finish|🚩 flag|🏳️‍🌈 rainbow_flag`],
];

/** [{ sign, emojis: [{ emoji, names }] }] */
export const groups = GROUPS.map(([sign, list]) => ({
  sign,
  emojis: list.split('|').map((entry) => {
    const [emoji, ...names] = entry.split(' ');
    return { emoji, names };
  }),
}));

const all = groups.flatMap(({ emojis }) => emojis);
const byName = new Map(all.flatMap(({ emoji, names }) => names.map((name) => [name, emoji])));

/** The emoji of this name; undefined when no emoji has it. */
export const emojiOf = (name) => byName.get(name.toLowerCase());

/** Emojis with a name like this one: those that begin with it first. */
export function emojisLike(text, most) {
  const wanted = text.toLowerCase().replace(/\s+/g, '_');
  const rank = ({ names }) => {
    if (names.some((name) => name.startsWith(wanted))) return 0;
    return names.some((name) => name.includes(wanted)) ? 1 : 2;
  };
  const found = all.map((one) => ({ ...one, rank: rank(one) })).filter((one) => one.rank < 2);
  return found.sort((a, b) => a.rank - b.rank).slice(0, most);
}
