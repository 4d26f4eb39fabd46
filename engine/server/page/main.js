/** The page: a model, a text, and the pictures of what the model does with it. */

import { Attention } from './attention.js';
import { Component } from './component.js';
import { find } from './dom.js';
import { Lens } from './lens.js';
import { Models } from './model.js';
import { Prompt } from './prompt.js';
import { Steer } from './steer.js';
import { Sweep } from './sweep.js';
import { Task } from './task.js';

const component = new Component();
const attention = new Attention();
const lens = new Lens();
const steer = new Steer();
const sweep = new Sweep((layer, head) => attention.show(layer, head));
const prompt = new Prompt({
  looked: (text) => [component, attention, lens].forEach((picture) => picture.look(text)),
  live: (part) => [component, attention].forEach((picture) => picture.live(part)),
  watched: () => ({ component: component.watched, layer: attention.layer }),
});

const models = new Models((model) => {
  [component, attention, lens, steer, sweep].forEach((picture) => picture.use(model));
  prompt.use(model);
});
new Task(find('#problem')).run('asking the server', (options) => models.find(options));
