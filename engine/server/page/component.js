/** The figure of a block, and how large the picked component is by layer and position. */

import { call, forget } from './api.js';
import { drawBlock, markBlock } from './block.js';
import { CopyPanel } from './copying.js';
import { find } from './dom.js';
import { fill } from './grid.js';
import { MOST, sometimes } from './live.js';
import { componentOf, WHOLE_MODEL } from './requests.js';
import { componentCode } from './snippets/component.js';
import { Task } from './task.js';
import { norms } from './tensor.js';
import { short, visible } from './text.js';

const HEADS_AND_WIDTH = [0, 2];
const NO_NORM = {
  attention_scores: 'A row for each query and a column for each key; the pattern that the softmax makes of it is drawn under Attention.',
  attention_pattern: 'A row for each query and a column for each key: it is drawn under Attention.',
  router_choice: 'The numbers of the experts that are chosen: not a vector.',
};
const PER_HEAD = ['query_pre_rope', 'key_pre_rope', 'query', 'key', 'value', 'head_output'];

/** The axes of an array without batch that a norm at a position is over; null if there is none. */
function axesOf(component) {
  if (component in NO_NORM) return null;
  if (component === 'expert_output') return [1, 2];
  return PER_HEAD.includes(component) ? HEADS_AND_WIDTH : [1];
}

export class Component {
  constructor() {
    this.section = find('#component');
    this.figure = find('#block');
    this.table = find('table', this.section);
    this.task = new Task(find('.task', this.section));
    this.copy = new CopyPanel(find('.copy', this.section));
    this.picked = 'residual';
    this.drawSoon = sometimes((texts) => {
      this.draw(texts, Math.max(0, texts.length - MOST));
      this.table.parentElement.scrollLeft = this.table.scrollWidth; // where the text grows
    });
    drawBlock(this.figure, (component) => this.pick(component));
  }

  use(model) {
    this.model = model;
    if (!model.components.includes(this.picked)) [this.picked] = model.components;
    markBlock(this.figure, model.components, this.picked);
  }

  pick(component) {
    this.picked = component;
    markBlock(this.figure, this.model.components, component);
    if (this.text) this.look(this.text);
  }

  /** The component that a generated text is to bring: one that has a norm. */
  get watched() {
    return axesOf(this.picked) ? this.picked : 'residual';
  }

  look(text) {
    this.text = text;
    this.drawSoon.cancel();
    const component = this.picked;
    const request = componentOf(this.model.id, text, component);
    return this.task.run(`capturing ${component}`, async (options) => {
      const reply = await call(request, options);
      forget(reply.capture_id);
      const records = Object.values(reply.activations).flat();
      this.copy.show(componentCode(request, axesOf(component)));
      this.describe(component, records);
      this.start(records);
      this.draw(reply.texts[0]);
    });
  }

  describe(component, records) {
    const layers = records.map((record) => record.layer);
    const [first] = records;
    const where = WHOLE_MODEL.includes(component) ? 'once in the model'
      : `in ${layers.length === this.model.layers ? `all ${layers.length}` : layers.length} layers`;
    const field = first.field_name?.replace(/\.\d+\./, '.N.');
    find('.title', this.section).textContent = component;
    find('.about', this.section).textContent = [
      where, `shape [${first.shape.join(', ')}]`, field && `TransformerLens: ${field}`, NO_NORM[component],
    ].filter(Boolean).join('; ');
  }

  /** The norms of a pass's records, by layer, from the first position on. */
  start(records) {
    this.rows = axesOf(records[0].component)
      ? records.map((record) => [record.layer, norms(record)]) : [];
  }

  /** Add those of one more pass of a text that is generated. */
  live({ texts, records, isFirst }) {
    this.task.cancel();
    const ours = records.filter(({ component }) => component === this.watched);
    if (isFirst) {
      this.describe(this.watched, ours);
      this.start(ours);
    } else ours.forEach((record, row) => this.rows[row][1].push(...norms(record)));
    this.drawSoon(texts);
  }

  /** Draw the table, from a position on. */
  draw(texts, from = 0) {
    const logarithms = this.rows.flatMap(([, values]) => values).map((norm) => Math.log(norm || 1e-9));
    const [least, most] = [Math.min(...logarithms), Math.max(...logarithms)];
    const share = (norm) => (most === least ? 0.5 : 0.05 + 0.95 * (Math.log(norm || 1e-9) - least) / (most - least));
    this.table.parentElement.hidden = this.rows.length === 0;
    fill(this.table, {
      columns: texts.slice(from).map(visible),
      columnTitles: texts.slice(from).map((_, index) => `position ${from + index}`),
      rows: [...this.rows].reverse().map(([layer, values]) => [
        layer ?? '', values.slice(from, texts.length).map((norm, index) => ({
          share: share(norm), text: short(norm), told: { layer, position: from + index, norm },
        }))]),
      tell: ({ layer, position, norm }) => {
        const where = layer === null ? '' : `, layer ${layer}`;
        find('.pointed', this.section).textContent = `${visible(texts[position])} at position ${position}${where}: norm ${norm.toPrecision(6)}`;
      },
    });
    this.table.tHead.rows[0].cells[0].textContent = this.rows.length > 1 ? 'layer' : '';
  }
}
