/** The bearer token that the server may want: asked for once, kept until the tab is closed. */

import { find } from './dom.js';

const KEY = 'neuroscope-token';
let asking = null;

export const hasToken = () => sessionStorage.getItem(KEY) !== null;

/** The headers that carry the token: its UTF-8 bytes, as a header takes them. */
export function authorization() {
  const token = sessionStorage.getItem(KEY);
  if (token === null) return {};
  return { Authorization: `Bearer ${String.fromCharCode(...new TextEncoder().encode(token))}` };
}

/** Ask for the token, telling why; true once there is one, false if the user gives none. */
export function askForToken(reason) {
  asking ??= ask(reason).finally(() => { asking = null; });
  return asking;
}

function ask(reason) {
  const dialog = find('#token');
  find('.error', dialog).textContent = hasToken() ? reason : '';
  sessionStorage.removeItem(KEY);
  find('form', dialog).reset();
  dialog.returnValue = '';
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => {
      const given = find('input', dialog).value;
      const isGiven = dialog.returnValue === 'given' && given !== '';
      if (isGiven) sessionStorage.setItem(KEY, given);
      resolve(isGiven);
    }, { once: true });
  });
}
