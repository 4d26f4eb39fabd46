/** Shades: the larger the share, the more of a hue; the text on it black or white, as is readable. */

const HUES = ['data', 'against'];
const dark = matchMedia('(prefers-color-scheme: dark)');

const known = new Map();
dark.addEventListener('change', () => known.clear());

/** Call a function whenever the colours change. */
export const onColours = (redraw) => dark.addEventListener('change', redraw);

/** A hue of the page, as red, green and blue from 0 to 255. */
export function rgb(name) {
  if (!known.has(name)) {
    const text = getComputedStyle(document.documentElement).getPropertyValue(`--${name}`);
    known.set(name, text.trim().match(/[0-9a-f]{2}/gi).map((part) => parseInt(part, 16)));
  }
  return known.get(name);
}

/** Shade a cell. Shares below 0 have the other hue. */
export function shade(cell, share) {
  const hue = HUES[share < 0 ? 1 : 0];
  const amount = Math.min(1, Math.abs(share));
  cell.style.setProperty('--share', `${(100 * amount).toFixed(1)}%`);
  cell.style.setProperty('--hue', `var(--${hue})`);
  cell.classList.toggle('on-dark', isDark(hue, amount));
}

function isDark(hue, amount) {
  const cell = rgb('cell');
  const mixed = rgb(hue).map((part, index) => amount * part + (1 - amount) * cell[index]);
  const [red, green, blue] = mixed.map((part) => (
    part <= 10 ? part / 3295 : ((part / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.179; // black and white are equally far
}
