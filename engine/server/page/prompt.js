/** The prompt: its tokens as exact pieces, the next ones, and a text that is generated from it. */

import { call, events } from './api.js';
import { CopyPanel } from './copying.js';
import { bar, element, find } from './dom.js';
import { generationOf, tokensOf } from './requests.js';
import { generationCode, tokensCode } from './snippets/prompt.js';
import { Task } from './task.js';
import { percent, visible } from './text.js';

export class Prompt {
  /** `looked` is called with each text to look into, `live` with each part of a text while it is
   * generated, and `watched` returns the component and the layer that it is to bring. */
  constructor({ looked, live, watched }) {
    this.section = find('#prompt');
    this.task = new Task(find('.task', this.section));
    this.copy = new CopyPanel(find('.copy', this.section));
    this.form = find('form', this.section);
    this.told = { looked, live, watched };
    const asked = new URLSearchParams(location.search).get('prompt');
    if (asked) this.form.elements.text.value = asked;
    this.form.addEventListener('submit', (event) => {
      event.preventDefault();
      if (event.submitter.value === 'generate') this.generate();
      else this.look(this.text);
    });
  }

  get text() {
    return this.form.elements.text.value;
  }

  use(model) {
    this.model = model;
    return this.look(this.text);
  }

  /** Show a text's tokens, and let the pictures look into it. */
  async look(text) {
    const request = tokensOf(this.model.id, text);
    const isDone = await this.task.run('reading the prompt', async (options) => {
      const reply = await call(request, options);
      this.showTokens(reply.texts[0], reply.tokens[0]);
      this.showNext(reply.top[0]);
      this.copy.show(tokensCode(request));
    });
    if (isDone) this.told.looked(text);
  }

  /** Generate a text, live, and look into the whole of it at its end, or where it was stopped. */
  async generate() {
    const { count, temperature } = this.form.elements;
    const prompt = this.text;
    const options = { max_tokens: count.valueAsNumber, temperature: temperature.valueAsNumber };
    const { component, layer } = this.told.watched();
    const request = generationOf(this.model.id, prompt, options, component, layer);
    let [written, own] = ['', 0];
    await this.task.run('generating', async (how, report) => {
      const { texts: [texts], tokens: [ids] } = await call(tokensOf(this.model.id, prompt), how);
      own = texts.length;
      this.showTokens(texts, ids);
      this.showNext([]);
      this.copy.show(generationCode(request));
      let done = 0;
      for await (const chunk of events(request, how)) {
        const [choice] = chunk.choices;
        if (choice.finish_reason) break;
        const pieces = choice.logprobs?.tokens ?? [];
        done += pieces.length;
        written += choice.text;
        this.addTokens(pieces);
        report({ done, total: options.max_tokens, unit: 'tokens' });
        this.told.live({
          texts: [...texts], records: Object.values(chunk.activations).flat(), isFirst: done === pieces.length,
        });
        texts.push(...pieces);
      }
    });
    if (written === '' || this.task.running) return; // nothing to see, or something newer
    const code = this.copy.code;
    await this.relook(prompt + written, own);
    this.copy.show(code); // which is what wrote the text
  }

  /** Look into a text as it reads, of which the tokens behind its own first ones were generated. */
  async relook(text, own) {
    const request = tokensOf(this.model.id, text);
    await this.task.run('reading the text', async (options) => {
      const reply = await call(request, options);
      this.showTokens(reply.texts[0], reply.tokens[0], own);
      this.showNext(reply.top[0]);
    });
    this.told.looked(text);
  }

  showTokens(texts, ids, ownCount = texts.length) {
    find('.tokens', this.section).replaceChildren(...texts.map((text, index) => piece(
      text, `position ${index}, token ${ids[index]}`, index >= ownCount)));
  }

  addTokens(texts) {
    find('.tokens', this.section).append(...texts.map((text) => piece(text, 'generated', true)));
  }

  showNext(top) {
    find('.next', this.section).replaceChildren(...top.map(({ text, id, probability }) => element(
      'li', { title: `token ${id}` },
      element('span', { className: 'piece', textContent: visible(text) }),
      bar(probability),
      element('span', { textContent: percent(probability) }))));
  }
}

function piece(text, title, isGenerated) {
  return element('li', { className: isGenerated ? 'piece generated' : 'piece', title, textContent: visible(text) });
}
