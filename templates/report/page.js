const data = JSON.parse(document.getElementById('data').textContent);
const shown = (text) => text.replace(/\n/g, '⏎').replace(/ /g, '·');
const byLayer = (object) => Object.keys(object).map(Number).sort((a, b) => a - b);
const shade = (share) => `rgba(24, 90, 188, ${share})`;

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function tipped(target, text) {
  const tip = document.getElementById('tip');
  target.addEventListener('mousemove', (event) => {
    tip.textContent = text;
    tip.hidden = false;
    tip.style.left = `${event.pageX + 12}px`;
    tip.style.top = `${event.pageY + 12}px`;
  });
  target.addEventListener('mouseleave', () => { tip.hidden = true; });
  return target;
}

function cell(share, text, tip) {
  const made = element('td', { textContent: text, className: share > 0.55 ? 'dark' : '' });
  made.style.background = shade(share);
  return tipped(made, tip);
}

function grid(table, labels, rows) {
  const head = labels.map((label) => element('th', { textContent: shown(label) }));
  table.append(element('thead', {}, element('tr', {}, element('th'), ...head)));
  const lines = rows.map(([label, cells]) => element('tr', {}, element('th', { textContent: label }), ...cells));
  table.append(element('tbody', {}, ...lines));
}

function thumbnail(pattern) {
  const size = pattern.length;
  const canvas = element('canvas', { width: size, height: size });
  const context = canvas.getContext('2d');
  pattern.forEach((row, y) => row.forEach((share, x) => {
    context.fillStyle = shade(share);
    context.fillRect(x, y, 1, 1);
  }));
  return canvas;
}

function choose(layer, head, canvas) {
  document.querySelectorAll('#heads .chosen').forEach((each) => each.classList.remove('chosen'));
  canvas.classList.add('chosen');
  document.querySelector('figcaption').textContent = `Layer ${layer}, head ${head}`;
  const table = element('table');
  grid(table, data.texts, data.patterns[layer][head].map((row, query) => [
    shown(data.texts[query]),
    row.map((share, key) => cell(share, '', `${shown(data.texts[query])} looks at ${shown(data.texts[key])}: ${share}`)),
  ]));
  document.getElementById('pattern').replaceChildren(table);
}

function drawAttention() {
  const layers = byLayer(data.patterns);
  if (!layers.length) return;
  const heads = Math.max(...layers.map((layer) => data.patterns[layer].length));
  const container = document.getElementById('heads');
  container.style.gridTemplateColumns = `2rem repeat(${heads}, 34px)`;
  container.append('', element('span'), ...Array.from({ length: heads }, (_, head) => element('span', { textContent: head })));
  layers.forEach((layer) => {
    container.append(element('span', { textContent: layer }));
    data.patterns[layer].forEach((pattern, head) => {
      const canvas = tipped(thumbnail(pattern), `layer ${layer}, head ${head}`);
      canvas.dataset.head = `${layer}.${head}`;
      canvas.addEventListener('click', () => choose(layer, head, canvas));
      container.append(canvas);
    });
    for (let empty = data.patterns[layer].length; empty < heads; empty += 1) container.append(element('span'));
  });
  container.querySelector('canvas').click();
}

function drawLens() {
  const rows = byLayer(data.lens).reverse().map((layer) => [layer, data.lens[layer].map((top) => {
    const all = top.map(([text, probability]) => `${(100 * probability).toFixed(1).padStart(5)}%  ${shown(text)}`);
    return cell(top[0][1], shown(top[0][0]), all.join('\n'));
  })]);
  grid(document.querySelector('#lens table'), data.texts, rows);
}

function drawNorms() {
  const logarithms = data.norms.flat().map(Math.log);
  const [least, most] = [Math.min(...logarithms), Math.max(...logarithms)];
  const share = (norm) => (most === least ? 0 : 0.9 * (Math.log(norm) - least) / (most - least));
  const rows = data.norms.map((norms, row) => [
    row === 0 ? 'embedding' : row - 1,
    norms.map((norm) => cell(share(norm), norm.toFixed(1), String(norm))),
  ]);
  grid(document.querySelector('#norms table'), data.texts, rows.reverse());
}

function drawing(name, attributes, ...children) {
  const made = document.createElementNS('http://www.w3.org/2000/svg', name);
  Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
  made.append(...children);
  return made;
}

function drawCircuit() {
  if (!data.circuit) return;
  const { heads } = data.circuit;
  const wide = Math.max(56, Math.min(96, 1050 / data.texts.length));
  const [step, gap, left, right, bottom] = [18, 34, 60, 90, 46];
  const layers = [...new Set(heads.map((head) => head.layer))].sort((a, b) => b - a);
  const rows = {};
  const row = (head) => (rows[`${head.layer}.${head.position}`] ??= []);
  heads.forEach((head) => row(head).push(head));
  const tops = {};
  let height = 20;
  layers.forEach((layer) => {
    tops[layer] = height;
    const most = Math.max(...Object.values(rows).filter(([first]) => first.layer === layer).map((each) => each.length));
    height += step * (most - 1) + gap;
  });
  const x = (position) => left + position * wide + wide / 2;
  const y = (head) => tops[head.layer] + step * row(head).indexOf(head);
  const svg = drawing('svg', { width: left + data.texts.length * wide + right, height: height + bottom });
  data.texts.forEach((text, position) => {
    svg.append(
      drawing('line', { x1: x(position), x2: x(position), y1: 10, y2: height, stroke: '#e4e7ec' }),
      drawing('text', { x: x(position), y: height + 20, 'text-anchor': 'middle' }, shown(text)),
    );
  });
  layers.forEach((layer) => svg.append(drawing('text', { x: 4, y: tops[layer] + 4, class: 'soft' }, `layer ${layer}`)));
  const strongest = Math.max(...heads.map((head) => Math.abs(head.effect)));
  heads.forEach((head) => {
    const colour = `rgb(${head.effect > 0 ? '24, 90, 188' : '190, 60, 30'})`;
    const weight = Math.abs(head.effect) / strongest;
    const [from, to, level] = [x(head.source), x(head.position), y(head)];
    const path = from === to ? '' : `M ${from} ${level + 22} C ${from} ${level}, ${(from + to) / 2} ${level}, ${to - 8} ${level}`;
    const node = drawing(
      'g',
      { 'data-head': `${head.layer}.${head.head}` },
      drawing('path', { d: path, fill: 'none', stroke: colour, 'stroke-width': 1 + 3 * weight, opacity: 0.35 + 0.5 * head.attention }),
      drawing('circle', { cx: to, cy: level, r: 4 + 5 * weight, fill: colour }),
      drawing('text', { x: to + 12, y: level + 4 }, `${head.layer}.${head.head} ${head.effect > 0 ? '+' : '−'}${Math.abs(head.effect).toFixed(2)}`),
    );
    svg.append(tipped(node, `layer ${head.layer}, head ${head.head}: effect ${head.effect.toFixed(4)}\n${shown(data.texts[head.position])} looks at ${shown(data.texts[head.source])}: ${head.attention.toFixed(3)}`));
  });
  document.querySelector('#circuit .scroll').append(svg);
}

drawAttention();
drawLens();
drawNorms();
drawCircuit();
