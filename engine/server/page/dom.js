/** Elements of the page, made in one expression each. */

const SVG = 'http://www.w3.org/2000/svg';

export const find = (selector, within = document) => within.querySelector(selector);
export const findAll = (selector, within = document) => [...within.querySelectorAll(selector)];

/** An HTML element. Names with a dash, and `role`, are attributes; all others are properties. */
export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key.includes('-') || key === 'role') made.setAttribute(key, value);
    else made[key] = value;
  }
  made.append(...children);
  return made;
}

/** An SVG element. */
export function drawing(name, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** A bar as long as a share of the room for it; below 0 it has the other hue. */
export function bar(share) {
  const made = element('span', { className: share < 0 ? 'bar against' : 'bar', 'aria-hidden': true });
  made.style.setProperty('--length', `${100 * Math.abs(share)}%`);
  return element('span', { className: 'room' }, made);
}
