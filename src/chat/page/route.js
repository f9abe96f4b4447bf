// The part of the address behind `#`, which says what is shown: nothing for the first room, a room's name, or a name and the
// number of a message behind a slash. One owner: whoever wants another place to be shown asks here.

/** What an address says; escapes that make no sense are taken as they stand. */
export function parse(hash) {
  const raw = hash.replace(/^#/, '');
  const [, room, seq] = /^(.*?)(?:\/(\d{1,15}))?$/s.exec(raw);
  return { room: decoded(room), seq: seq ? Number(seq) : undefined };
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    // Escape by escape: those that are no UTF-8 stay as they are.
    return text.replace(/(?:%[0-9a-f]{2})+/gi, (escapes) => {
      try {
        return decodeURIComponent(escapes);
      } catch {
        return escapes;
      }
    });
  }
}

/** The address of a message, as it can be given to others. */
export const addressOf = (room, seq) => `#${encodeURIComponent(room)}/${seq}`;

export class Route {
  #home;
  #shown = location.hash;

  /** `go({ room, seq })` is called when the address has changed by the hand of the person. */
  constructor(home, go) {
    this.#home = home;
    const changed = () => {
      if (location.hash === this.#shown) return;
      this.#shown = location.hash;
      go(this.current);
    };
    addEventListener('hashchange', changed);
    addEventListener('popstate', changed);
  }

  get current() {
    const { room, seq } = parse(location.hash);
    return { room: room || this.#home, seq };
  }

  /** The address names this place from now on, with a step back to the one before. */
  show(room) {
    this.#write(room, 'pushState');
  }

  /** The same, in the place of what the address named. */
  correct(room) {
    this.#write(room, 'replaceState');
  }

  #write(room, how) {
    const hash = room === this.#home ? '' : `#${encodeURIComponent(room)}`;
    if (this.current.room !== room) history[how](null, '', location.pathname + location.search + hash);
    this.#shown = location.hash;
  }
}
