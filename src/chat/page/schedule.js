// Collects what has changed until the next frame, so that sixty messages in a second are shown sixty times at most, and at once.

const HIDDEN_MS = 100;

/** Returns `mark(part)`: `paint(parts)` is called before the next frame with every part that was marked. */
export function painter(paint) {
  const parts = new Set();
  let timer = 0;
  let frame = 0;
  const run = () => {
    clearTimeout(timer);
    cancelAnimationFrame(frame);
    timer = 0;
    const marked = new Set(parts);
    parts.clear();
    paint(marked);
  };
  return (...marked) => {
    for (const part of marked) parts.add(part);
    if (timer) return;
    // A page that is hidden has no frames.
    timer = setTimeout(run, HIDDEN_MS);
    frame = requestAnimationFrame(run);
  };
}
