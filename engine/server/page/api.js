/** Requests to this server, and its replies; what it refuses is an ApiError with its own words. */

import { askForToken, authorization } from './token.js';

const random = () => [...crypto.getRandomValues(new Uint8Array(12))]
  .map((byte) => byte.toString(16).padStart(2, '0')).join('');

const SESSION = `page-${random()}`; // the hooks that others registered do not act on the page

export class ApiError extends Error {}

/** A request of the API, as it is sent and as it is shown to be copied. */
export const post = (path, body) => ({ method: 'POST', path, body });
export const get = (path) => ({ method: 'GET', path });

export const newRequestId = () => `page-${random()}`;

/** The JSON reply to a request. */
export async function call(request, options) {
  return (await send(request, options)).json();
}

/** The events of a streamed reply, as they come. */
export async function* events(request, options) {
  const response = await send(request, options);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (text + value).split('\n');
    text = lines.pop();
    for (const line of lines) {
      if (!line.startsWith('data: ') || line === 'data: [DONE]') continue;
      const event = JSON.parse(line.slice('data: '.length));
      if (event.error) throw new ApiError(event.error.message);
      yield event;
    }
  }
}

/** Forget what the server kept of a capture: the page has its numbers. */
export function forget(captureId) {
  send({ method: 'DELETE', path: `/v1/activations/${encodeURIComponent(captureId)}` })
    .catch(() => {}); // over its budget the server has forgotten it by itself
}

async function send(request, { signal, requestId } = {}) {
  const headers = { 'X-Session-Id': SESSION, ...authorization() };
  if (requestId) headers['X-Request-Id'] = requestId;
  if (request.body) headers['Content-Type'] = 'application/json';
  const response = await fetch(request.path, {
    method: request.method, headers, signal, body: request.body && JSON.stringify(request.body),
  }).catch((error) => {
    if (error.name === 'AbortError') throw error;
    throw new ApiError(`No answer from ${location.origin}: is the server still running?`);
  });
  if (response.ok) return response;
  const told = await response.json().then((body) => body.error.message)
    .catch(() => `${response.status} ${response.statusText}`);
  if (response.status === 401 && await askForToken(told)) return send(request, { signal, requestId });
  throw new ApiError(told);
}
