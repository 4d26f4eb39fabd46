/** The numbers of a record that the API returned, float32 in base64. */

const PER_HEAD = new Set([
  'query_pre_rope', 'key_pre_rope', 'query', 'key', 'value', 'attention_scores', 'attention_pattern',
  'head_output',
]); // [batch, head, position, …]; all others are [batch, position, …]

/** All numbers, row-major. */
export function numbers(record) {
  const bytes = Uint8Array.from(atob(record.data_base64), (letter) => letter.charCodeAt(0));
  return new Float32Array(bytes.buffer);
}

/** Base64 of numbers, as a request takes it. */
export function base64(floats) {
  return btoa(Array.from(new Uint8Array(floats.buffer), (byte) => String.fromCharCode(byte)).join(''));
}

/** The Euclidean norm at each position, over all heads; masked scores count nothing. */
export function norms(record) {
  const data = numbers(record);
  const axis = PER_HEAD.has(record.component) ? 2 : 1;
  const positions = record.shape[axis];
  const width = record.shape.slice(axis + 1).reduce((product, length) => product * length, 1);
  const sums = new Float64Array(positions);
  data.forEach((number, index) => {
    if (number !== -Infinity) sums[Math.floor(index / width) % positions] += number * number;
  });
  return Array.from(sums, Math.sqrt);
}

/** The rows of each head of an attention pattern: heads × queries × keys. */
export function patterns(record) {
  const data = numbers(record);
  const [, heads, queries, keys] = record.shape;
  const row = (head, query) => data.subarray((head * queries + query) * keys).subarray(0, keys);
  return Array.from({ length: heads }, (_, head) => (
    Array.from({ length: queries }, (__, query) => row(head, query))));
}
