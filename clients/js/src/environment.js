// What is around the client: the events by which a browser or a worker tells that the network or the person is back.

/**
 * Of the global scope, whatever it has of it; nothing is touched before `onWake` is called.
 * @param {any} [scope]
 * @returns {import('./connection.js').Environment}
 */
export function environmentOf(scope = globalThis) {
  return {
    isOnline: () => scope.navigator?.onLine !== false,
    onWake(wake) {
      if (typeof scope.addEventListener !== 'function') return () => {};
      const seen = () => scope.document.visibilityState === 'visible' && wake();
      /** @type {[any, string, () => void][]} */
      const all = [[scope, 'online', wake], [scope, 'offline', wake], [scope, 'pageshow', wake]];
      if (scope.document) all.push([scope.document, 'visibilitychange', seen]);
      for (const [target, type, listener] of all) target.addEventListener(type, listener);
      return () => {
        for (const [target, type, listener] of all) target.removeEventListener(type, listener);
      };
    },
  };
}
