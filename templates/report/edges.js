const nodeOf = (name) => name.replace(/\.[qkv]$/, '');
const readBy = (name) => ({ q: 'queries', k: 'keys', v: 'values' })[(name.match(/\.([qkv])$/) || [])[1]] || '';
const labelOf = (node) => (/^a/.test(node) ? node.slice(1) : node);

function levelOf(node, layers) {
  if (node === 'input') return -1;
  if (node === 'logits') return layers;
  return Number(node.match(/\d+/)[0]) + (node[0] === 'm' ? 0.5 : 0);
}

function drawEdges() {
  if (!data.circuit || !data.circuit.edges.length) return;
  const { edges } = data.circuit;
  const nodes = [...new Set(edges.flatMap((edge) => [edge.source, nodeOf(edge.destination)]))];
  const layers = 1 + Math.max(...nodes.map((node) => Math.floor(levelOf(node, 1e6))).filter((level) => level < 1e6));
  const levels = [...new Set(nodes.map((node) => levelOf(node, layers)))].sort((a, b) => b - a);
  const [wide, step, left, top] = [78, 40, 250, 26];
  // MLPs, and what is at the ends, have a column of their own, and then each head and each group
  const parts = [...new Set(nodes.filter((node) => node[0] === 'a').map((node) => node.split('.')[1]))];
  parts.sort((a, b) => b.charCodeAt(0) - a.charCodeAt(0) || a.localeCompare(b, 'en', { numeric: true }));
  const places = {};
  nodes.forEach((node) => {
    const column = node[0] === 'a' ? 1 + parts.indexOf(node.split('.')[1]) : 0;
    places[node] = [left + wide * column, top + step * levels.indexOf(levelOf(node, layers))];
  });
  const svg = drawing('svg', { width: left + wide * (parts.length + 1), height: top + step * (levels.length - 1) + 30 });
  levels.forEach((level, line) => {
    const word = { [-1]: 'tokens', [layers]: '' }[level] ?? (Number.isInteger(level) ? `layer ${level}` : '');
    svg.append(drawing('text', { x: 4, y: top + step * line + 4, class: 'soft' }, word));
  });
  const strongest = Math.max(...edges.map((edge) => Math.abs(edge.score)));
  [...edges].reverse().forEach((edge) => {
    const [[x, y], [u, v]] = [places[edge.source], places[nodeOf(edge.destination)]];
    const share = Math.abs(edge.score) / strongest;
    const bend = (y - v) / 2;
    const out = Math.min(150, 14 + (y - v) / 5); // within a column, around what lies between
    const line = drawing('path', {
      d: x === u
        ? `M ${x - 10} ${y} C ${x - 10 - out} ${y}, ${u - 10 - out} ${v}, ${u - 10} ${v}`
        : `M ${x} ${y - 9} C ${x} ${y - 9 - bend}, ${u} ${v + 9 + bend}, ${u} ${v + 9}`,
      fill: 'none',
      stroke: edge.score < 0 ? 'rgb(24, 90, 188)' : 'rgb(190, 60, 30)',
      'stroke-width': 1 + 6 * share,
      opacity: 0.3 + 0.6 * share,
      'data-edge': `${edge.source} ${edge.destination}`,
    });
    const how = readBy(edge.destination);
    svg.append(tipped(line, `${labelOf(edge.source)} to ${how ? `the ${how} of ` : ''}${labelOf(nodeOf(edge.destination))}: ${edge.score.toFixed(4)}`));
  });
  nodes.forEach((node) => {
    const [x, y] = places[node];
    const label = labelOf(node);
    const width = 12 + 7 * label.length;
    svg.append(
      drawing('rect', { x: x - width / 2, y: y - 10, width, height: 20, rx: /^[il]/.test(node) ? 2 : 9, fill: '#fff', stroke: node[0] === 'm' ? '#888' : '#1b1f24', 'data-node': node }),
      drawing('text', { x, y: y + 4, 'text-anchor': 'middle' }, label),
    );
  });
  document.querySelector('#edges .scroll').append(svg);
}

function drawSaliency() {
  if (!data.saliency) return;
  const rows = [['gradient × embedding', data.saliency.gradient_x_input], ['norm of the gradient', data.saliency.norm]].map(([name, values]) => {
    const largest = Math.max(...values.map(Math.abs)) || 1;
    return [name, values.map((value) => {
      const made = cell(0.9 * Math.abs(value) / largest, value.toFixed(2), String(value));
      if (value < 0) made.style.background = `rgba(190, 60, 30, ${0.9 * -value / largest})`;
      return made;
    })];
  });
  grid(document.querySelector('#saliency table'), data.texts, rows);
}

drawSaliency();
drawEdges();
