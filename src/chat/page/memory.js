// The browser's two storages, as something that may forget: both can be switched off, full, or hold what another program left.

function memory(open) {
  return {
    read(key) {
      try {
        return open().getItem(key);
      } catch {
        return null;
      }
    },

    /** A value that was kept as JSON, as far as `check` takes it; `check` returns what it understands of any value. */
    readJson(key, check) {
      try {
        return check(JSON.parse(open().getItem(key)));
      } catch {
        return check(undefined);
      }
    },

    write(key, value) {
      try {
        open().setItem(key, value);
      } catch {
        // What cannot be kept is asked for again.
      }
    },

    remove(key) {
      try {
        open().removeItem(key);
      } catch {
        // Nothing was kept.
      }
    },
  };
}

export const forThisTab = memory(() => sessionStorage);
export const forThisBrowser = memory(() => localStorage);

/** Of any value, the elements that `isRight` takes. */
export const listOf = (isRight) => (value) => (Array.isArray(value) ? value.filter(isRight) : []);
export const isText = (value) => typeof value === 'string' && value !== '';
