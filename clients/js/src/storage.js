// Where the client keeps what must survive: it is given a store, and knows no browser.

/**
 * A store of texts. It may forget; it never throws.
 * @typedef {object} Store
 * @property {(key: string) => string | null} read
 * @property {(key: string, value: string) => void} write
 */

/**
 * A store that ends with the process.
 * @returns {Store}
 */
export function memoryStore() {
  const kept = new Map();
  return { read: (key) => kept.get(key) ?? null, write: (key, value) => void kept.set(key, value) };
}

/**
 * A store over `localStorage`, `sessionStorage` or the like, which may be switched off or full.
 * @param {() => { getItem(key: string): string | null, setItem(key: string, value: string): void }} open returns it; may throw
 * @returns {Store}
 */
export function webStore(open) {
  return {
    read(key) {
      try {
        return open().getItem(key);
      } catch {
        return null;
      }
    },
    write(key, value) {
      try {
        open().setItem(key, value);
      } catch {
        // What cannot be kept is asked for again.
      }
    },
  };
}

/**
 * A list that was kept as JSON, as far as it is what it should be.
 * @template T
 * @param {Store} store @param {string} key @param {(value: any) => boolean} isRight
 * @returns {T[]}
 */
export function readList(store, key, isRight) {
  try {
    const value = JSON.parse(store.read(key) ?? '[]');
    return Array.isArray(value) ? value.filter(isRight) : [];
  } catch {
    return [];
  }
}

/** @param {unknown} value @returns {value is string} */
export const isText = (value) => typeof value === 'string' && value !== '';
