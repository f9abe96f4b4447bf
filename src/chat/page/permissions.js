// What the person may do, as far as the page can know: it shows only tools that the server will let them use. The server decides.

/** The claims of a token; null when it is none. Nothing is checked: that is for the server. */
export function claimsOf(token) {
  try {
    const part = token.split('.')[1].replace(/-/g, '+').replace(/_/g, '/');
    const octets = Uint8Array.from(atob(part), (char) => char.codePointAt(0));
    const claims = JSON.parse(new TextDecoder().decode(octets));
    return typeof claims === 'object' && claims !== null ? claims : null;
  } catch {
    return null;
  }
}

/** Whether the grants of a token permit something in the room of this name; `*` stands for all rooms. */
export function permits(claims, permission, room) {
  const { rooms } = claims ?? {};
  if (typeof rooms !== 'object' || rooms === null) return false;
  return Object.entries(rooms).some(([pattern, list]) => Array.isArray(list) && list.includes(permission) && covers(pattern, room));
}

function covers(pattern, room) {
  if (room === '*') return pattern === '*';
  return pattern.endsWith('*') ? room.startsWith(pattern.slice(0, -1)) : pattern === room;
}
