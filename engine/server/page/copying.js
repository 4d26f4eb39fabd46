/** The panel beside a picture: what makes it, in three languages, to be copied. */

import { element } from './dom.js';

const LANGUAGES = { curl: 'HTTP', python: 'Python', smalltalk: 'Smalltalk' };
const CHOSEN = 'language-chosen';
let chosen = 'curl';

export class CopyPanel {
  constructor(container) {
    this.code = {};
    this.id = container.dataset.of;
    this.tabs = Object.entries(LANGUAGES).map(([language, name]) => this.tab(language, name));
    this.text = element('code');
    this.shown = element(
      'pre', { role: 'tabpanel', tabIndex: 0, id: `${this.id}-code`, 'aria-label': 'What makes this picture' },
      this.text);
    this.button = element('button', { type: 'button', className: 'copier', textContent: 'Copy' });
    this.button.addEventListener('click', () => this.copy());
    const list = element('div', { role: 'tablist', 'aria-label': 'Language' }, ...this.tabs);
    list.addEventListener('keydown', (event) => this.move(event));
    container.append(element('div', { className: 'tabs' }, list, this.button), this.shown);
    document.addEventListener(CHOSEN, () => this.draw());
    this.draw();
  }

  /** Show code by language: `curl`, `python` and `smalltalk`. */
  show(code) {
    this.code = code;
    this.draw();
  }

  tab(language, name) {
    const tab = element('button', {
      type: 'button', role: 'tab', textContent: name, 'data-language': language, 'aria-controls': `${this.id}-code`,
    });
    tab.addEventListener('click', () => choose(language));
    return tab;
  }

  move(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    const at = this.tabs.indexOf(document.activeElement);
    const next = this.tabs[(at + step + this.tabs.length) % this.tabs.length];
    next.focus();
    choose(next.dataset.language);
  }

  draw() {
    for (const tab of this.tabs) {
      const isChosen = tab.dataset.language === chosen;
      tab.setAttribute('aria-selected', String(isChosen));
      tab.tabIndex = isChosen ? 0 : -1;
    }
    this.text.textContent = this.code[chosen] ?? '';
    this.button.disabled = !(chosen in this.code);
  }

  async copy() {
    try {
      await navigator.clipboard.writeText(this.code[chosen]);
      this.button.textContent = 'Copied';
    } catch { // no clipboard outside of HTTPS and this machine: what is selected can be copied by hand
      getSelection().selectAllChildren(this.text);
      this.button.textContent = 'Selected';
    }
    setTimeout(() => { this.button.textContent = 'Copy'; }, 1500);
  }
}

function choose(language) {
  chosen = language;
  document.dispatchEvent(new Event(CHOSEN));
}
