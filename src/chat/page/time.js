// Times as people read them. What is of another day says so, also when that day ends while it is shown.

const LOOK_MS = 20_000;

/** The hour of today, or the date and the hour. */
export function clock(ms, now = new Date()) {
  const at = new Date(ms);
  const isToday = at.toDateString() === now.toDateString();
  const isThisYear = at.getFullYear() === now.getFullYear();
  const day = isToday ? {} : { month: 'short', day: 'numeric', ...(isThisYear ? {} : { year: 'numeric' }) };
  return at.toLocaleString([], { ...day, hour: '2-digit', minute: '2-digit' });
}

export function timeElement(ms) {
  const made = document.createElement('time');
  const at = new Date(ms);
  made.textContent = clock(ms);
  made.dateTime = at.toISOString();
  made.title = at.toLocaleString();
  return made;
}

/** Calls `changed` when another day has begun. */
export function onNewDay(changed) {
  let today = new Date().toDateString();
  const look = () => {
    if (new Date().toDateString() === today) return;
    today = new Date().toDateString();
    changed();
  };
  setInterval(look, LOOK_MS);
  document.addEventListener('visibilitychange', look);
  addEventListener('pageshow', look);
}

/** Writes all times in the document as they are to be read today. */
export function rewriteTimes() {
  for (const shown of document.querySelectorAll('time')) shown.textContent = clock(Date.parse(shown.dateTime));
}
