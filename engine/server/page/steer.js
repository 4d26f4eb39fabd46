/** A text that is steered by a slider, beside the one that is not. */

import { call, forget } from './api.js';
import { CopyPanel } from './copying.js';
import { element, find, findAll } from './dom.js';
import { lastResidualOf, steeredOf } from './requests.js';
import { directedCode, scaledCode } from './snippets/steer.js';
import { Task } from './task.js';
import { base64, numbers } from './tensor.js';

/** Components that a scale is of use for. */
const SCALED = ['residual', 'attention', 'mlp', 'residual_mid', 'layernorm', 'head_output', 'mlp_hidden', 'value', 'query', 'key'];

export class Steer {
  constructor() {
    this.section = find('#steer');
    this.task = new Task(find('.task', this.section));
    this.copy = new CopyPanel(find('.copy', this.section));
    this.form = find('form', this.section);
    this.form.addEventListener('input', () => this.showForm());
    this.form.addEventListener('change', (event) => {
      if (event.target.type === 'range') this.run();
    });
    this.form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.run();
    });
  }

  use(model) {
    this.model = model;
    const { layer, component } = this.form.elements;
    layer.max = model.layers - 1;
    layer.value = Math.floor(model.layers / 3);
    component.replaceChildren(...SCALED.filter((name) => model.components.includes(name))
      .map((name) => element('option', { value: name, textContent: name })));
    component.value = 'mlp';
    this.showForm();
  }

  showForm() {
    const { elements } = this.form;
    for (const each of findAll('[data-kind]', this.form)) {
      each.hidden = each.dataset.kind !== elements.kind.value;
    }
    for (const name of ['layer', 'strength', 'factor']) {
      elements[`${name}-shown`].textContent = elements[name].value;
    }
  }

  async run() {
    const { elements } = this.form;
    const kind = elements.kind.value;
    const prompt = elements.prompt.value;
    const count = elements.count.valueAsNumber;
    const layer = elements.layer.valueAsNumber;
    await this.task.run('generating both texts', async (options) => {
      const direction = { from: elements.from.value, to: elements.to.value, layer, strength: elements.strength.valueAsNumber };
      const change = kind === 'direction' ? await this.addition(direction, options) : {
        layer_name: String(layer), component: elements.component.value,
        operation: 'scaling', factor: elements.factor.valueAsNumber,
      };
      const plain = await this.text(steeredOf(this.model.id, prompt, count, []), options);
      const request = steeredOf(this.model.id, prompt, count, [change]);
      const steered = await this.text(request, options);
      find('.plain', this.section).replaceChildren(...written(prompt, plain));
      find('.steered', this.section).replaceChildren(...written(prompt, steered));
      this.copy.show(kind === 'direction' ? directedCode(request, direction) : scaledCode(request));
    });
  }

  async text(request, options) {
    const reply = await call(request, options);
    forget(reply.capture_id);
    return reply.choices[0].text;
  }

  /** The direction between the ends of two texts, times its strength, as an intervention. */
  async addition({ from, to, layer, strength }, options) {
    const [start, end] = [await this.end(from, layer, options), await this.end(to, layer, options)];
    const value = start.map((number, index) => Math.fround(strength) * Math.fround(end[index] - number));
    return {
      layer_name: String(layer), component: 'residual', operation: 'addition',
      value: { shape: [value.length], data_base64: base64(value) },
    };
  }

  async end(text, layer, options) {
    const reply = await call(lastResidualOf(this.model.id, text, layer), options);
    forget(reply.capture_id);
    const [[record]] = Object.values(reply.activations);
    return numbers(record);
  }
}

function written(prompt, text) {
  return [element('span', { className: 'given', textContent: prompt }), element('b', { textContent: text })];
}
