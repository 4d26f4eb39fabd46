/** Values and requests, written in the three languages that the page shows. */

import { hasToken } from '../token.js';

/** The request as a command line. */
export function curl({ method, path, body }) {
  const token = hasToken() ? ` \\\n  -H "Authorization: Bearer $NEUROSCOPE_TOKEN"` : '';
  const options = body?.stream ? '-sN' : '-s';
  if (!body) return `curl ${options} -X ${method} ${location.origin}${path}${token}`;
  const quoted = json(body).replaceAll("'", "'\\''");
  return `curl ${options} ${location.origin}${path}${token} \\\n`
    + `  -H 'Content-Type: application/json' -d '${quoted}'`;
}

/** JSON, a field a line. */
function json(body) {
  const fields = Object.entries(body).map(([key, value]) => `  ${JSON.stringify(key)}: ${JSON.stringify(value)}`);
  return `{\n${fields.join(',\n')}\n}`;
}

/** A value as a Python literal. */
export function python(value) {
  if (value === null) return 'None';
  if (value === true) return 'True';
  if (value === false) return 'False';
  if (Array.isArray(value)) return `[${value.map(python).join(', ')}]`;
  if (typeof value === 'object') {
    return `{${Object.entries(value).map(([key, each]) => `${python(key)}: ${python(each)}`).join(', ')}}`;
  }
  return JSON.stringify(value); // whose strings and numbers are Python's too
}

/** A call of the client's method `name` with the fields of a request, one a line. */
export function pythonCall(name, body) {
  const fields = Object.entries(body).filter(([key]) => key !== 'stream');
  return `client.${name}(\n${fields.map(([key, value]) => `        ${key}=${python(value)},\n`).join('')}    )`;
}

/** A Python program: imports, lines with a `client`, and lines behind it. */
export function pythonProgram(imports, within, behind = []) {
  return [
    ...[...imports, 'from bridge.client import LMStudioNeuroScopeClient'].sort(byKind),
    '',
    ...(hasToken() ? ['# the token is read from the environment variable NEUROSCOPE_TOKEN'] : []),
    `with LMStudioNeuroScopeClient(${python(location.origin)}) as client:`,
    ...within.map((line) => `    ${line}`),
    ...behind,
  ].join('\n');
}

const byKind = (one, other) => (
  one.includes('bridge') - other.includes('bridge') || (one < other ? -1 : 1));

/** A value as a Smalltalk expression. */
export function smalltalk(value) {
  if (value === null) return 'nil';
  if (typeof value === 'string') return `'${value.replaceAll("'", "''")}'`;
  if (Array.isArray(value)) return `{${value.map(smalltalk).join('. ')}}`;
  if (typeof value === 'object') return `(LMStudioRecord withAll: ${pairs(value)})`;
  return String(value);
}

/** Fields as an Array of associations. */
export const pairs = (fields) => (
  `{${Object.entries(fields).map(([key, value]) => `'${key}' -> ${smalltalk(value)}`).join('. ')}}`);

/** A component as a Smalltalk symbol: attention_pattern is #attentionPattern. */
export const symbol = (component) => `#${component.replace(/_(.)/g, (_, letter) => letter.toUpperCase())}`;

/** A Smalltalk expression, with a `client`, the `model`, and more temporaries. */
export function smalltalkProgram(model, temporaries, statements) {
  const token = hasToken() ? ["client token: 'the token of the server'"] : [];
  return `| ${['client', 'model', ...temporaries].join(' ')} |\n${[
    `client := LMStudioRESTClient baseUrl: ${smalltalk(location.origin)}`,
    ...token,
    `model := TransformerModel remote: client named: ${smalltalk(model)}`,
    ...statements,
  ].join('.\n')}`;
}
