/** The sweep over all heads: how much each matters to an answer, and the circuit of those that do. */

import { events } from './api.js';
import { CopyPanel } from './copying.js';
import { bar, element, find } from './dom.js';
import { fill } from './grid.js';
import { sweepOf, verificationOf } from './requests.js';
import { sweepCode } from './snippets/sweep.js';
import { Task } from './task.js';
import { percent, signed } from './text.js';

export class Sweep {
  /** `show` is called with the layer and the head that is chosen. */
  constructor(show) {
    this.section = find('#sweep');
    this.task = new Task(find('.task', this.section));
    this.verifying = new Task(find('.verifying', this.section));
    this.copy = new CopyPanel(find('.copy', this.section));
    this.form = find('form', this.section);
    this.slider = find('[name=threshold]', this.section);
    this.show = show;
    this.form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.run();
    });
    this.slider.addEventListener('input', () => this.drawCircuit());
    find('[name=verify]', this.section).addEventListener('click', () => this.verify());
  }

  use(model) {
    this.model = model;
    this.section.hidden = !model.components.includes('head_output');
  }

  run() {
    const { method, ...task } = Object.fromEntries(new FormData(this.form));
    const request = sweepOf(this.model.id, task, method);
    return this.task.run('sweeping', async (options, report) => {
      for await (const event of events(request, options)) {
        if (event.type === 'progress') report(event);
        else {
          this.request = request;
          this.draw(event.result);
        }
      }
    });
  }

  draw({ layers, heads, effects, clean_score: clean, corrupted_score: corrupted }) {
    this.parts = effects.data.flatMap((row, index) => row.map((effect, column) => (
      { layer: layers[index], head: heads[column], effect })));
    const most = Math.max(...this.parts.map(({ effect }) => Math.abs(effect)));
    find('.scores', this.section).textContent = `Answer less distractor, in logits: ${signed(clean)} after the prompt, ${signed(corrupted)} after the corrupted one.`;
    fill(find('table', this.section), {
      columns: heads,
      columnTitles: heads.map((head) => `head ${head}`),
      rows: layers.map((layer, row) => [layer, heads.map((_, column) => {
        const part = this.parts[row * heads.length + column];
        return {
          share: most === 0 ? 0 : part.effect / most,
          text: Math.abs(part.effect) >= 0.005 ? signed(part.effect) : '', told: part,
        };
      })]).reverse(),
      tell: ({ layer, head, effect }) => {
        find('.pointed', this.section).textContent = `Layer ${layer}, head ${head}: ${signed(effect, 4)}`;
      },
      choose: ({ layer, head }) => this.show(layer, head),
    });
    find('table', this.section).tHead.rows[0].cells[0].textContent = 'layer, head';
    find('.found', this.section).hidden = false;
    this.drawCircuit();
  }

  /** The heads over the threshold, the largest effect first. */
  get circuit() {
    const least = this.slider.valueAsNumber;
    return this.parts.filter(({ effect }) => Math.abs(effect) >= least)
      .sort((one, other) => Math.abs(other.effect) - Math.abs(one.effect));
  }

  drawCircuit() {
    const { circuit } = this;
    find('.found output', this.section).textContent = `${this.slider.value} (${circuit.length} heads)`;
    find('.verified', this.section).textContent = '';
    find('[name=verify]', this.section).disabled = circuit.length === 0;
    const most = Math.max(...circuit.map(({ effect }) => Math.abs(effect)));
    find('.circuit', this.section).replaceChildren(...circuit.map(({ layer, head, effect }) => {
      const button = element('button', { type: 'button', textContent: `L${layer}H${head}`, title: 'Show its attention' });
      button.addEventListener('click', () => this.show(layer, head));
      return element(
        'li', {}, button, bar(effect / most), element('span', { textContent: signed(effect) }));
    }));
    this.copy.show(sweepCode(this.request, this.slider.value));
  }

  /** Ask whether the circuit's heads alone do what all heads do. */
  verify() {
    const { clean, corrupted, answer, distractor } = this.request.body;
    const request = verificationOf(this.model.id, { clean, corrupted, answer, distractor }, this.circuit);
    return this.verifying.run('verifying', async (options, report) => {
      for await (const event of events(request, options)) {
        if (event.type === 'progress') report(event);
        else this.drawVerified(event.result);
      }
    });
  }

  drawVerified({ model_score: model, circuit_score: circuit, empty_score: empty, faithfulness_share: share }) {
    find('.verified', this.section).textContent = `With all other heads at their mean: ${signed(circuit)} logits of the model's ${signed(model)}, ${signed(empty)} without any head${share === null ? '' : `; faithful to ${percent(share)}`}.`;
  }
}
