// Small makers of elements. Texts of files become text, never markup.
'use strict';

const find = id => document.getElementById(id);

// An element with attributes and children; strings are text.
function make(kind, attributes, ...children) {
  const made = document.createElement(kind);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (name === 'on') for (const [event, action] of Object.entries(value)) made.addEventListener(event, action);
    else if (value === true) made.setAttribute(name, '');
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter(child => child !== null && child !== undefined));
  return made;
}

function swatch(color) {
  const made = make('span', { class: 'swatch' });
  made.style.background = color;
  return made;
}

// Puts other children into an element; the focus stays on what has the same data-key.
function refill(parent, children) {
  const active = document.activeElement;
  const key = parent.contains(active) ? active.closest('[data-key]')?.dataset.key : null;
  parent.replaceChildren(...children);
  if (key) [...parent.querySelectorAll('[data-key]')].find(each => each.dataset.key === key)?.focus({ preventScroll: true });
}

// Buttons of which one is pressed.
function choice(label, options, current, choose) {
  return make('span', { class: 'choice', role: 'group', 'aria-label': label }, ...options.map(([value, text]) =>
    make('button', { type: 'button', 'aria-pressed': String(value === current), 'data-key': `${label}:${value}`, on: { click: () => choose(value) } }, text)));
}

function checkbox(text, checked, change) {
  const box = make('input', { type: 'checkbox', 'data-key': `box:${text}`, on: { change: event => change(event.target.checked) } });
  box.checked = checked;
  return make('label', {}, box, ` ${text}`);
}

// What a column is called; options keep the names by which they are set.
function titleOf(column) {
  return column.startsWith('param.') ? column.slice(6) : column.includes('.') ? column : column.replaceAll('_', ' ');
}

// Column titles, of which one sorts; `sorts(column)` is called with a click.
function titles(columns, texts, sort, sorts) {
  const { column: sorted, descending } = parseSort(sort);
  return columns.map(column => make('th', {
    class: texts.has(column) ? 'text' : null, scope: 'col',
    'aria-sort': column === sorted ? (descending ? 'descending' : 'ascending') : null,
  }, make('button', { type: 'button', 'data-key': `sort:${column}`, on: { click: () => sorts(column) } },
    titleOf(column) + (column === sorted ? (descending ? ' ▾' : ' ▴') : ''))));
}

function stateBadge(run, now) {
  const made = make('span', { class: `state ${run.state}` }, make('i'), run.state);
  if (run.curves && (run.state === 'training' || run.state === 'stopped')) {
    made.append(` ${epochsDone(run)} of ${run.total}`);
    const ends = endsAt(run);
    if (ends) made.append(make('span', { class: 'soft eta', 'data-ends': ends }, etaText(ends, now)));
  }
  if (run.problem) {
    made.title = run.problem;
    if (run.state !== 'damaged') made.append(make('span', { class: 'bad' }, 'damaged'));
  }
  return made;
}

function etaText(ends, now) {
  return ends > now ? `${duration(ends - now)} left` : 'any moment';
}
