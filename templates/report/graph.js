const graph = JSON.parse(document.getElementById('data').textContent);
const SVG = 'http://www.w3.org/2000/svg';
const [STEP, ROW, LEFT, LISTED, DRAWN] = [13, 22, 52, 12, 150];
const kinds = { 'cross layer transcoder': 'feature', 'mlp reconstruction error': 'error', embedding: 'embedding', logit: 'logit' };
const shown = (text) => text.replace(/\n/g, '⏎').replace(/ /g, '·');
const signed = (number) => `${number < 0 ? '−' : '+'}${Math.abs(number).toPrecision(3)}`;
const tokens = graph.metadata.prompt_tokens;
const nodes = new Map(graph.nodes.map((node) => [node.node_id, { ...node, kind: kinds[node.feature_type], inputs: [], outputs: [] }]));
graph.links.forEach(({ source, target, weight }) => {
  nodes.get(target).inputs.push({ node: nodes.get(source), weight });
  nodes.get(source).outputs.push({ node: nodes.get(target), weight });
});
const everything = [...nodes.values()];
everything.forEach(({ inputs, outputs }) => [inputs, outputs].forEach((edges) => edges.sort((a, b) => Math.abs(b.weight) - Math.abs(a.weight))));

function drawn(name, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, name);
  Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
  made.append(...children);
  return made;
}

function label(node) {
  if (node.kind === 'feature') {
    const index = node.index ?? node.node_id.split('_')[1]; // other programs' graphs have no index
    return `layer ${node.layer}, feature ${index}${node.clerp ? `: ${node.clerp}` : ''}`;
  }
  if (node.kind === 'error') return `layer ${node.layer}, not explained`;
  if (node.kind === 'embedding') return `token ${shown(tokens[node.ctx_idx])}`;
  return shown(node.clerp || node.node_id);
}

const place = (node) => (node.kind === 'embedding' ? `${label(node)} at ${node.ctx_idx}` : `${label(node)} at ${node.ctx_idx} ${shown(tokens[node.ctx_idx])}`);

// Rows: the embeddings lowest, then the layers that have nodes, the logits on top.
const layers = [...new Set(everything.filter((node) => node.kind === 'feature' || node.kind === 'error').map((node) => Number(node.layer)))].sort((a, b) => a - b);
const rows = ['embedding', ...layers, 'logit'];
const rowOf = (node) => (node.kind === 'embedding' || node.kind === 'logit' ? node.kind : Number(node.layer));
const cells = new Map();
everything.forEach((node) => {
  const key = `${rowOf(node)} ${node.ctx_idx}`;
  if (!cells.has(key)) cells.set(key, []);
  cells.get(key).push(node);
});
cells.forEach((cell) => cell.sort((a, b) => a.influence - b.influence));
const widths = tokens.map((text, position) => {
  const most = Math.max(1, ...rows.map((row) => (cells.get(`${row} ${position}`) ?? []).length));
  return Math.max(STEP * most, 7 * shown(text).length) + 14;
});
const starts = widths.map((_, position) => LEFT + widths.slice(0, position).reduce((sum, width) => sum + width, 0));
const height = ROW * rows.length + 16;
const width = LEFT + widths.reduce((sum, each) => sum + each, 0) + 8;
const yOf = (row) => 8 + ROW * (rows.length - 1 - rows.indexOf(row)) + ROW / 2;
cells.forEach((cell, key) => {
  const [row, position] = key.split(' ');
  cell.forEach((node, index) => {
    node.x = starts[position] + widths[position] / 2 + STEP * (index - (cell.length - 1) / 2);
    node.y = yOf(Number.isNaN(Number(row)) ? row : Number(row));
  });
});

function shape(node) {
  if (node.kind === 'feature') return drawn('circle', { cx: node.x, cy: node.y, r: 5 });
  const size = node.kind === 'error' ? 4.4 : 4.8;
  const square = { x: node.x - size, y: node.y - size, width: 2 * size, height: 2 * size };
  if (node.kind === 'error') square.transform = `rotate(45 ${node.x} ${node.y})`;
  return drawn('rect', square);
}

const edges = drawn('g');
const drawing = drawn('svg', { width, height: height + 26, viewBox: `0 0 ${width} ${height + 26}` });
rows.forEach((row, index) => {
  const top = yOf(row) - ROW / 2;
  if (index % 2) drawing.append(drawn('rect', { x: 0, y: top, width, height: ROW, class: 'band' }));
  drawing.append(drawn('text', { x: 6, y: yOf(row) + 4, class: 'soft' }, { embedding: 'tokens', logit: 'output' }[row] ?? `L${row}`));
});
tokens.forEach((text, position) => {
  drawing.append(
    drawn('line', { x1: starts[position], x2: starts[position], y1: 8, y2: height, class: 'column' }),
    drawn('text', { x: starts[position] + widths[position] / 2, y: height + 14, 'text-anchor': 'middle' }, shown(text)),
  );
});
drawing.append(edges);
everything.forEach((node) => {
  node.drawn = drawn('g', { class: `node ${node.kind}`, 'data-node': node.node_id, tabindex: 0, role: 'button', 'aria-label': place(node) }, drawn('title', {}, place(node)), shape(node));
  node.drawn.addEventListener('click', () => choose(node));
  node.drawn.addEventListener('keydown', (event) => { if (event.key === 'Enter' || event.key === ' ') { event.preventDefault(); choose(node); } });
  drawing.append(node.drawn);
});
document.getElementById('drawing').append(drawing);

function listed(table, found) {
  const rows_ = found.slice(0, LISTED).map(({ node, weight }) => {
    const row = document.createElement('tr');
    row.tabIndex = 0;
    row.dataset.node = node.node_id;
    row.insertCell().textContent = place(node);
    const cell = row.insertCell();
    cell.textContent = signed(weight);
    cell.className = weight < 0 ? 'against' : 'for';
    row.addEventListener('click', () => choose(node));
    row.addEventListener('keydown', (event) => { if (event.key === 'Enter') choose(node); });
    return row;
  });
  table.tBodies[0].replaceChildren(...rows_);
  if (!rows_.length) {
    const empty = table.tBodies[0].insertRow().insertCell();
    [empty.className, empty.textContent] = ['empty', 'nothing in this graph'];
  }
}

function described(node) {
  const parts = [`at ${node.ctx_idx} ${shown(tokens[node.ctx_idx])}`];
  if (node.activation != null) parts.push(`activation ${node.activation.toPrecision(4)}`);
  if (node.kind === 'logit') parts.push(`probability ${node.token_prob.toPrecision(3)}`);
  if (node.bias != null) parts.push(`${signed(node.bias)} of it from no node`);
  return parts.join(', ');
}

function choose(node) {
  everything.forEach((each) => each.drawn.classList.toggle('chosen', each === node));
  const visible = ({ node: other }) => !other.hidden;
  const [inputs, outputs] = [node.inputs.filter(visible), node.outputs.filter(visible)];
  const near = new Set([node, ...inputs.map((edge) => edge.node), ...outputs.map((edge) => edge.node)]);
  everything.forEach((each) => each.drawn.classList.toggle('faint', !near.has(each)));
  const strongest = Math.max(1e-9, ...[...inputs, ...outputs].map((edge) => Math.abs(edge.weight)));
  const line = (from, to, weight) => drawn('path', {
    d: `M ${from.x} ${from.y} C ${from.x} ${(from.y + to.y) / 2}, ${to.x} ${(from.y + to.y) / 2}, ${to.x} ${to.y}`,
    class: `edge ${weight < 0 ? 'against' : 'for'}`,
    'stroke-width': 0.6 + 3 * Math.abs(weight) / strongest,
    opacity: 0.2 + 0.7 * Math.abs(weight) / strongest,
  });
  edges.replaceChildren(
    ...inputs.slice(0, DRAWN).map((edge) => line(edge.node, node, edge.weight)),
    ...outputs.slice(0, DRAWN).map((edge) => line(node, edge.node, edge.weight)),
  );
  document.querySelector('#chosen h2').textContent = label(node);
  document.querySelector('#chosen p').textContent = described(node);
  listed(document.getElementById('inputs'), inputs);
  listed(document.getElementById('outputs'), outputs);
  node.drawn.scrollIntoView({ block: 'nearest', inline: 'center' });
  window.chosen = node;
}

const share = document.getElementById('share');
function show() {
  document.querySelector('output').textContent = Number(share.value).toFixed(2);
  everything.forEach((node) => {
    node.hidden = (node.kind === 'feature' || node.kind === 'error') && node.influence > Number(share.value);
    node.drawn.style.display = node.hidden ? 'none' : '';
  });
  choose(window.chosen && !window.chosen.hidden ? window.chosen : everything.find((node) => node.is_target_logit));
}
share.addEventListener('input', show);
const wanted = decodeURIComponent(window.location.hash.slice(1));
window.chosen = nodes.get(wanted);
show();
