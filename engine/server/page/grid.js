/** A table of shaded cells with labels, through which the arrow keys move. */

import { onColours, shade } from './colour.js';
import { element } from './dom.js';

const MOVES = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

/** Replace a table's content.
 *
 * `columns` are labels; `rows` are pairs of a label and its cells `{share, text, told}`, of which
 * `told` is what `tell` is called with when the cell is pointed at, clicked, or moved to; a cell may
 * be null. */
export function fill(table, { columns, rows, tell, choose, columnTitles = [] }) {
  const heads = columns.map((label, index) => element(
    'th', { scope: 'col', title: columnTitles[index] ?? '' }, element('span', { textContent: label })));
  const lines = rows.map(([label, cells], row) => element(
    'tr', {}, element('th', { scope: 'row', textContent: label }),
    ...cells.map((cell, column) => made(cell, `${row},${column}`))));
  const kept = table.dataset.at;
  const hadFocus = table.contains(document.activeElement);
  table.replaceChildren(
    ...(table.caption ? [table.caption] : []),
    element('thead', {}, element('tr', {}, element('td'), ...heads)),
    element('tbody', {}, ...lines));
  table.rowsOfCells = lines.map((line) => [...line.cells].slice(1));
  table.cellsTold = rows.map(([, cells]) => cells);
  table.tell = tell;
  table.choose = choose;
  const [row, column] = (kept ?? '0,0').split(',').map(Number);
  const first = table.rowsOfCells[row]?.[column] ?? table.rowsOfCells[0]?.[0];
  if (first) first.tabIndex = 0;
  if (hadFocus) first?.focus({ preventScroll: true });
  listen(table);
}

function made(cell, at) {
  const td = element('td', { tabIndex: -1 });
  td.dataset.at = at;
  if (cell === null) return td;
  td.textContent = cell.text;
  td.dataset.share = cell.share;
  shade(td, cell.share);
  return td;
}

function listen(table) {
  if (table.dataset.listens) return;
  table.dataset.listens = 'yes';
  table.addEventListener('mouseover', (event) => told(table, event.target));
  table.addEventListener('focusin', (event) => told(table, event.target));
  table.addEventListener('click', (event) => {
    const cell = event.target.closest('td[data-at]');
    if (!cell) return;
    moveTo(table, cell);
    table.choose?.(content(table, cell));
  });
  table.addEventListener('keydown', (event) => {
    const cell = event.target.closest('td[data-at]');
    const move = MOVES[event.key];
    if (!cell || !(move || event.key === 'Enter')) return;
    event.preventDefault();
    if (!move) { table.choose?.(content(table, cell)); return; }
    const [row, column] = cell.dataset.at.split(',').map(Number);
    const next = table.rowsOfCells[row + move[0]]?.[column + move[1]];
    if (next) moveTo(table, next);
  });
  onColours(() => table.rowsOfCells.flat().forEach((cell) => {
    if (cell.dataset.share !== undefined) shade(cell, Number(cell.dataset.share));
  }));
}

function content(table, cell) {
  const [row, column] = cell.dataset.at.split(',').map(Number);
  return table.cellsTold[row][column]?.told;
}

function told(table, target) {
  const cell = target.closest('td[data-at]');
  const known = cell && content(table, cell);
  if (known !== undefined && known !== null) table.tell?.(known);
}

function moveTo(table, cell) {
  table.rowsOfCells.flat().forEach((each) => { each.tabIndex = -1; });
  table.dataset.at = cell.dataset.at;
  cell.tabIndex = 0;
  cell.focus();
}
