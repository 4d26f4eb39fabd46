/** Pictures of a text that grows: drawn now and then, so that the page stays quick. */

const INTERVAL = 120; // milliseconds between two drawings

/** The last positions, which a picture that grows has room for. */
export const MOST = 40;

/** A function that draws soon, with what it was called with last, unless its `cancel` is called. */
export function sometimes(draw) {
  let latest = null;
  let timer = null;
  const soon = (...values) => {
    latest = values;
    timer ??= setTimeout(() => {
      timer = null;
      draw(...latest);
    }, INTERVAL);
  };
  soon.cancel = () => {
    clearTimeout(timer);
    timer = null;
  };
  return soon;
}
