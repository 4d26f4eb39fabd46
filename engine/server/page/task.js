/** One piece of work of a section at a time: its progress, how to stop it, and what went wrong. */

import { ApiError, call, get, newRequestId } from './api.js';
import { element } from './dom.js';

const PATIENCE = 300; // milliseconds before progress is shown
const INTERVAL = 500; // between two looks at how far the server is

export class Task {
  constructor(container) {
    this.bar = element('progress', { max: 1 });
    this.told = element('span');
    this.stop = element('button', { type: 'button', textContent: 'Stop' });
    this.stop.addEventListener('click', () => this.cancel());
    this.doing = element('p', { className: 'doing', hidden: true }, this.bar, this.told, this.stop);
    this.error = element('p', { className: 'error', role: 'alert', hidden: true });
    this.container = container;
    this.running = null;
    container.append(this.doing, this.error);
  }

  /** Run work, in place of what runs. It is called with the options of a request and a function
   * that it may tell its progress; true if it came to its end. */
  async run(what, work) {
    this.cancel();
    const running = this.running = new AbortController();
    const requestId = newRequestId();
    this.error.hidden = true;
    this.bar.removeAttribute('value');
    this.told.textContent = what;
    this.container.setAttribute('aria-busy', 'true');
    const shown = setTimeout(() => { this.doing.hidden = false; }, PATIENCE);
    const report = (progress) => this.report(what, progress);
    const watch = setInterval(() => this.ask(requestId, report, running), INTERVAL);
    try {
      await work({ signal: running.signal, requestId }, report);
      return true;
    } catch (error) {
      if (!running.signal.aborted) this.fail(error);
      return false;
    } finally {
      clearTimeout(shown);
      clearInterval(watch);
      if (this.running === running) {
        this.running = null;
        this.doing.hidden = true;
        this.container.removeAttribute('aria-busy');
      }
    }
  }

  cancel() {
    this.running?.abort();
  }

  fail(error) {
    if (!(error instanceof ApiError)) console.error(error);
    this.error.textContent = error.message;
    this.error.hidden = false;
  }

  report(what, { done, total, unit }) {
    this.bar.value = done / total;
    this.told.textContent = `${what}: ${done} of ${total} ${unit}`;
  }

  /** Ask the server how far the job of a request is, of which its reply tells nothing. */
  async ask(requestId, report, running) {
    const { jobs } = await call(get('/v1/jobs')).catch(() => ({ jobs: [] }));
    const job = jobs.find((each) => each.request_id === requestId);
    if (job?.progress && this.running === running) report(job.progress);
  }
}
