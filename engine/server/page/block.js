/** The figure of a transformer block: each component is where it is read, and can be picked. */

import { drawing, findAll } from './dom.js';

const STREAM = 50; // x of the residual stream
const BRANCH = 160; // of what attention and the MLP compute
const LABELS = 232; // of the components of a branch

/** Boxes: [text, x of the middle, width, y of the middle]. */
const BOXES = [
  ['embed tokens', STREAM, 94, 20],
  ['norm', BRANCH, 128, 96],
  ['project to heads', BRANCH, 128, 148],
  ['rotate', BRANCH, 128, 232],
  ['query · key, mask', BRANCH, 128, 300],
  ['softmax', BRANCH, 128, 352],
  ['pattern × value', BRANCH, 128, 404],
  ['project back', BRANCH, 128, 456],
  ['norm', BRANCH, 128, 554],
  ['gate, up projection', BRANCH, 128, 626],
  ['activation × up', BRANCH, 128, 678],
  ['down projection', BRANCH, 128, 730],
  ['norm', STREAM, 94, 840],
  ['unembed', STREAM, 94, 900],
];

/** Components: [name, x of the dot, x of the label, y]. */
const POINTS = [
  ['embedding', STREAM, STREAM + 12, 50],
  ['layernorm', BRANCH, LABELS, 122],
  ['query_pre_rope', BRANCH, LABELS, 172],
  ['key_pre_rope', BRANCH, LABELS, 190],
  ['value', BRANCH, LABELS, 208],
  ['query', BRANCH, LABELS, 257],
  ['key', BRANCH, LABELS, 275],
  ['attention_scores', BRANCH, LABELS, 326],
  ['attention_pattern', BRANCH, LABELS, 378],
  ['head_output', BRANCH, LABELS, 430],
  ['attention', BRANCH, LABELS, 484],
  ['residual_mid', STREAM, STREAM + 12, 526],
  ['router', BRANCH, LABELS, 574],
  ['router_choice', BRANCH, LABELS, 590],
  ['expert_output', BRANCH, LABELS, 606],
  ['mlp_gate', BRANCH, LABELS, 652],
  ['mlp_hidden', BRANCH, LABELS, 704],
  ['mlp', BRANCH, LABELS, 758],
  ['residual', STREAM, STREAM + 12, 794],
  ['final_norm', STREAM, STREAM + 12, 867],
  ['logits', STREAM, STREAM + 12, 927],
];

const LINES = [
  `M${STREAM} 33V827`, `M${STREAM} 853V887`, `M${STREAM} 913V948`, // the stream, and the end
  `M${STREAM} 96H96`, `M${BRANCH} 109V500H${STREAM + 11}`, // attention
  `M${STREAM} 554H96`, `M${BRANCH} 567V772H${STREAM + 11}`, // the MLP
];
const SUMS = [500, 772];
const HEIGHT = 952;

/** Draw the figure into an SVG element. `pick` is called with the component that is chosen. */
export function drawBlock(svg, pick) {
  svg.setAttribute('viewBox', `0 0 360 ${HEIGHT}`);
  svg.replaceChildren(
    drawing('defs', {}, drawing(
      'marker', { id: 'tip', viewBox: '0 0 8 8', refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: 'auto' },
      drawing('path', { d: 'M0 0L8 4L0 8z', class: 'tip' }))),
    drawing('rect', { class: 'frame', x: 1, y: 68, width: 358, height: 744, rx: 6 }),
    drawing('text', { class: 'note', x: 350, y: 84, 'text-anchor': 'end' }, 'one layer'),
    ...LINES.map((d) => drawing('path', { class: 'line', d })),
    ...BOXES.map(box),
    ...SUMS.map((y) => drawing(
      'g', { class: 'sum' }, drawing('circle', { cx: STREAM, cy: y, r: 10 }),
      drawing('text', { x: STREAM, y: y + 4 }, '+'))),
    ...POINTS.map((each) => point(each, pick)));
}

/** Say which components the model has, and which is picked. */
export function markBlock(svg, components, picked) {
  for (const each of findAll('.point', svg)) {
    const { component } = each.dataset;
    each.setAttribute('aria-disabled', String(!components.includes(component)));
    each.setAttribute('aria-pressed', String(component === picked));
  }
}

function box([text, x, width, y]) {
  return drawing(
    'g', { class: 'box' },
    drawing('rect', { x: x - width / 2, y: y - 13, width, height: 26, rx: 4 }),
    drawing('text', { x, y: y + 4 }, text));
}

function point([name, dot, label, y], pick) {
  const lead = dot === BRANCH ? [drawing('path', { class: 'lead', d: `M${dot} ${y}H${label - 5}` })] : [];
  const made = drawing(
    'g', { class: 'point', role: 'button', tabindex: 0, 'data-component': name, 'aria-label': name },
    ...lead,
    drawing('rect', { class: 'field', x: label - 5, y: y - 8, width: name.length * 6.7 + 9, height: 16, rx: 3 }),
    drawing('circle', { cx: dot, cy: y, r: 4 }),
    drawing('text', { x: label, y: y + 4 }, name));
  const choose = () => { if (made.getAttribute('aria-disabled') !== 'true') pick(name); };
  made.addEventListener('click', choose);
  made.addEventListener('keydown', (event) => {
    if (event.key !== 'Enter' && event.key !== ' ') return;
    event.preventDefault();
    choose();
  });
  return made;
}
