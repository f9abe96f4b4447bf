// The browser's two storages, as something that may forget: both can be switched off, or full.

function memory(open) {
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

export const forThisTab = memory(() => sessionStorage);
export const forThisBrowser = memory(() => localStorage);
