/** The attention of a layer's heads: small multiples, and one of them large. */

import { call, forget } from './api.js';
import { onColours, rgb } from './colour.js';
import { CopyPanel } from './copying.js';
import { element, find } from './dom.js';
import { fill } from './grid.js';
import { MOST, sometimes } from './live.js';
import { attentionOf } from './requests.js';
import { attentionCode } from './snippets/attention.js';
import { Task } from './task.js';
import { patterns } from './tensor.js';
import { percent, visible } from './text.js';

export class Attention {
  constructor() {
    this.section = find('#attention');
    this.task = new Task(find('.task', this.section));
    this.copy = new CopyPanel(find('.copy', this.section));
    this.slider = find('input', this.section);
    this.output = find('output', this.section);
    this.head = null;
    this.drawSoon = sometimes((texts) => this.draw(texts));
    this.slider.addEventListener('input', () => { this.output.textContent = this.layer ?? ''; });
    this.slider.addEventListener('change', () => this.look(this.text));
    onColours(() => this.drawHeads());
  }

  /** The chosen layer, of those that have attention; null if none has. */
  get layer() {
    return this.layers[this.slider.valueAsNumber] ?? null;
  }

  use(model) {
    this.model = model;
    const absent = model.absent_layers.attention_pattern ?? [];
    this.layers = model.components.includes('attention_pattern')
      ? Array.from({ length: model.layers }, (_, layer) => layer).filter((layer) => !absent.includes(layer)) : [];
    this.slider.max = Math.max(0, this.layers.length - 1);
    this.slider.value = Math.floor(this.layers.length / 2);
    this.output.textContent = this.layer ?? '';
    this.section.hidden = this.layers.length === 0;
  }

  /** Show a head that another picture names. */
  show(layer, head) {
    this.slider.value = this.layers.indexOf(layer);
    this.output.textContent = layer;
    this.head = head;
    this.section.scrollIntoView();
    return this.look(this.text);
  }

  async look(text) {
    this.text = text;
    this.drawSoon.cancel();
    const { layer } = this;
    if (layer === null) return;
    const request = attentionOf(this.model.id, text, layer);
    await this.task.run(`capturing the attention of layer ${layer}`, async (options) => {
      const reply = await call(request, options);
      forget(reply.capture_id);
      const [[record]] = Object.values(reply.activations);
      this.copy.show(attentionCode(request, layer));
      this.start(record);
      this.draw(reply.texts[0]);
    });
  }

  start(record) {
    this.shownLayer = record.layer;
    this.heads = patterns(record);
    if (!(this.head in this.heads)) this.head = busiest(this.heads);
  }

  /** Add the row of one more pass of a text that is generated. */
  live({ texts, records, isFirst }) {
    this.task.cancel();
    const [record] = records.filter(({ component, layer }) => (
      component === 'attention_pattern' && (isFirst || layer === this.shownLayer)));
    if (!record) return;
    if (isFirst) this.start(record);
    else patterns(record).forEach((rows, head) => this.heads[head].push(...rows));
    this.drawSoon(texts);
  }

  draw(texts) {
    this.texts = texts;
    this.drawHeads();
    this.drawHead();
  }

  drawHeads() {
    if (!this.heads) return;
    const group = find('.heads', this.section);
    if (group.children.length !== this.heads.length) {
      group.replaceChildren(...this.heads.map((_, head) => this.button(head)));
    }
    this.heads.forEach((rows, head) => {
      const button = group.children[head];
      button.setAttribute('aria-pressed', String(head === this.head));
      paint(find('canvas', button), rows);
    });
  }

  button(head) {
    const made = element(
      'button', { type: 'button', 'aria-label': `head ${head}` },
      element('canvas'), element('span', { textContent: head }));
    made.addEventListener('click', () => {
      this.head = head;
      this.draw(this.texts);
    });
    return made;
  }

  drawHead() {
    const { head, texts, shownLayer } = this;
    const rows = this.heads[head].slice(0, texts.length);
    const first = Math.max(0, rows.length - MOST);
    find('.title', this.section).textContent = `Layer ${shownLayer}, head ${head}`;
    find('.shown', this.section).textContent = first === 0 ? ''
      : `Positions ${first} to ${rows.length - 1}; the squares above have all ${rows.length}.`;
    const columns = texts.slice(first, rows.length).map(visible);
    fill(find('table', this.section), {
      columns,
      columnTitles: columns.map((_, column) => `key position ${first + column}`),
      rows: columns.map((text, row) => [text, columns.map((_, column) => {
        const share = rows[first + row][first + column];
        return column > row ? null
          : { share, text: '', told: { query: first + row, key: first + column, share } };
      })]),
      tell: ({ query, key, share }) => {
        find('.pointed', this.section).textContent = `${visible(texts[query])} (${query}) attends to ${visible(texts[key])} (${key}): ${percent(share)}`;
      },
    });
  }
}

/** The head that attends most to anything but the first token, where attention that has nothing to
 * do is put. */
function busiest(heads) {
  const elsewhere = heads.map((rows) => rows.slice(1).reduce((sum, row) => sum + 1 - row[0], 0));
  return elsewhere.indexOf(Math.max(...elsewhere));
}

function paint(canvas, rows) {
  const size = rows.length;
  canvas.width = canvas.height = size;
  const [red, green, blue] = rgb('data');
  const image = new ImageData(size, size);
  rows.forEach((row, query) => row.forEach((share, key) => {
    if (key < size) image.data.set([red, green, blue, 255 * share], 4 * (query * size + key));
  }));
  canvas.getContext('2d').putImageData(image, 0, 0);
}
