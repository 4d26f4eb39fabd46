/** The logit lens: what each layer would say next at each position. */

import { call } from './api.js';
import { CopyPanel } from './copying.js';
import { find } from './dom.js';
import { fill } from './grid.js';
import { lensOf } from './requests.js';
import { lensCode } from './snippets/lens.js';
import { Task } from './task.js';
import { percent, visible } from './text.js';

export class Lens {
  constructor() {
    this.section = find('#lens');
    this.task = new Task(find('.task', this.section));
    this.copy = new CopyPanel(find('.copy', this.section));
  }

  use(model) {
    this.model = model;
  }

  look(text) {
    const request = lensOf(this.model.id, text);
    return this.task.run('reading the lens', async (options) => {
      const reply = await call(request, options);
      this.copy.show(lensCode(request));
      this.draw(reply);
    });
  }

  draw({ texts, layers }) {
    fill(find('table', this.section), {
      columns: texts.map(visible),
      columnTitles: texts.map((_, position) => `position ${position}`),
      rows: [...layers].reverse().map(({ layer, top }) => [layer, top.map((tokens, position) => ({
        share: tokens[0].probability, text: visible(tokens[0].text), told: { layer, position, tokens },
      }))]),
      tell: ({ layer, position, tokens }) => {
        const likely = tokens.map(({ text, probability }) => `${visible(text)} ${percent(probability)}`);
        find('.pointed', this.section).textContent = `After ${visible(texts[position])} (${position}), layer ${layer}: ${likely.join(', ')}`;
      },
    });
    find('table', this.section).tHead.rows[0].cells[0].textContent = 'layer';
  }
}
