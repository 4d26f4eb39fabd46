/** Which model is looked into: the loaded ones, or how to load one. */

import { call, get, post } from './api.js';
import { element, find } from './dom.js';
import { Task } from './task.js';

const WAIT = 1000; // milliseconds between two looks at a server that loads

export class Models {
  /** `use` is called with the entry of the model to look into. */
  constructor(use) {
    this.use = use;
    this.section = find('#no-model');
    this.task = new Task(find('.task', this.section));
    this.select = find('#models select');
    this.select.addEventListener('change', () => this.choose(this.select.value));
    find('form', this.section).addEventListener('submit', (event) => {
      event.preventDefault();
      this.load(new FormData(event.target).get('path'));
    });
  }

  /** Ask which models there are, and begin with the one that was loaded last. */
  async find(options) {
    let health = await call(get('/health'), options);
    while (health.status === 'loading') {
      find('#facts').textContent = 'The server is loading a model …';
      await new Promise((resolve) => { setTimeout(resolve, WAIT); });
      health = await call(get('/health'), options);
    }
    const { data } = await call(get('/v1/models'), options);
    this.entries = data;
    this.section.hidden = data.length > 0;
    find('#pictures').hidden = data.length === 0;
    find('#models').hidden = data.length < 2;
    if (data.length === 0) {
      find('#facts').textContent = `The server, version ${health.version}, is ready, and has no model.`;
      return;
    }
    this.select.replaceChildren(...data.map(({ id }) => element('option', { value: id, textContent: id })));
    this.choose(health.model);
  }

  choose(id) {
    this.select.value = id;
    const entry = this.entries.find((each) => each.id === id);
    find('#facts').replaceChildren(...facts(entry));
    this.use(entry);
  }

  load(path) {
    return this.task.run(`loading ${path}`, async (options) => {
      await call(post('/v1/models/load', { model_path: path }), options);
      await this.find(options);
    });
  }
}

function facts(entry) {
  const told = [
    entry.architecture,
    `${entry.layers} layers`,
    entry.heads && `${entry.heads} heads of ${entry.head_dim}`,
    entry.hidden_size && `hidden size ${entry.hidden_size}`,
    entry.vocab_size && `${entry.vocab_size} tokens`,
    entry.quantization,
  ].filter(Boolean);
  return [element('b', { textContent: entry.id }), ` · ${told.join(' · ')}`];
}
