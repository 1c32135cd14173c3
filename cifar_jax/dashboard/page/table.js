// The table of runs, or of groups of them, and the menus above it.
'use strict';

const GROUPS = [['', 'none'], ['seeds', 'seeds of a config'], ['data', 'data'], ['state', 'state'], ['study', 'study'], ['folder', 'folder'], ['tags', 'tags']];

// What the table shows and the plot draws: { runs, groups, columns, drawn, colorKey }.
function arrange(known, choices) {
  const conditions = parseFilter(choices.filter);
  const value = (run, column) => valueOf(run, column, known.defaults);
  const kept = [...known.runs.values()].filter(run => passes(run, conditions, known.defaults));
  const runs = ordered(kept, choices.sort, value);
  const columns = columnsOf(kept, choices, known);
  let groups = null;
  if (choices.group) {
    groups = grouped(runs, choices.group, known.defaults, known.studies);
    const { column } = parseSort(choices.sort);
    const key = (group, name) => {
      if (name === 'data') return value(group.runs[0], 'data');
      if (name === 'run') return group.label;
      const values = group.runs.map(run => value(run, name));
      return name === column && !isText(name, values.filter(each => each !== null)) ? summarize(values, known.t)?.mean ?? null : values[0];
    };
    groups = ordered(groups, choices.sort, key);
  }
  const place = new Map((groups ?? []).flatMap(group => group.runs.map(run => [run.id, group.key])));
  const inOrder = groups ? groups.flatMap(group => group.runs) : runs;
  const readable = inOrder.filter(run => run.curves);
  const chosen = choices.draw ? new Set(choices.draw.split('.')) : null;
  const drawn = chosen ? readable.filter(run => chosen.has(run.id)) : readable.slice(0, MOST_DRAWN);
  return { runs, groups, columns, drawn, readable, colorKey: run => place.get(run.id) ?? run.id };
}

class RunTable {
  // `page`: { sort(column), open(run), point(run), drawRuns(runs, on), drawAll(view), redraw() }.
  constructor(page) {
    this.page = page;
    this.open = new Set(); // groups whose runs are shown
  }

  draw(known, choices, view, color) {
    const { columns: { shown }, groups, runs } = view;
    const values = column => runs.map(run => valueOf(run, column, known.defaults)).filter(value => value !== null && value !== undefined);
    const texts = new Set(shown.filter(column => isText(column, values(column))));
    const all = make('input', { type: 'checkbox', 'aria-label': 'draw all or none', 'data-key': 'all', on: { change: () => this.page.drawAll(view) } });
    all.checked = view.drawn.length > 0 && view.drawn.length === view.readable.length;
    all.indeterminate = view.drawn.length > 0 && !all.checked;
    refill(find('table').tHead, [make('tr', {}, make('th', { scope: 'col' }, all), ...titles(shown, texts, choices.sort, column => this.page.sort(column)))]);
    const drawn = new Set(view.drawn.map(run => run.id));
    const look = { shown, texts, known, drawn, color, open: choices.run };
    const rows = [];
    let before = null;
    const part = data => { const other = before !== null && data !== before; before = data; return other ? ' other' : ''; };
    if (groups) {
      for (const group of groups) {
        if (choices.group === 'seeds' && group.runs.length === 1) {
          rows.push(this.row(group.runs[0], part(group.runs[0].data), look));
          continue;
        }
        rows.push(this.groupRow(group, part(group.runs[0].data), look));
        if (this.open.has(group.key)) for (const run of group.runs) rows.push(this.row(run, ' member', look));
      }
    } else for (const run of runs) rows.push(this.row(run, part(run.data), look));
    refill(find('table').tBodies[0], rows);
  }

  row(run, kind, { shown, texts, known, drawn, color, open }) {
    const made = make('tr', {
      class: `${kind}${run.id === open ? ' open' : ''}`, 'data-run': run.id,
      on: {
        click: event => { if (!event.target.closest('input')) this.page.open(run); },
        mouseenter: () => this.page.point(run), mouseleave: () => this.page.point(null),
      },
    }, make('td', {}, this.box([run], drawn, color, run.name)));
    for (const column of shown) {
      const value = valueOf(run, column, known.defaults);
      const cell = make('td', { class: texts.has(column) ? 'text' : null });
      if (column === 'run') cell.append(make('button', { type: 'button', class: 'name', title: run.path, 'data-key': `run:${run.id}` }, run.name));
      else if (column === 'state') cell.append(stateBadge(run, known.now));
      else if (column === 'study') cell.append(known.studies.get(run.study)?.name ?? '');
      else { cell.append(cellText(column, value)); if (texts.has(column)) cell.title = cell.textContent; }
      made.append(cell);
    }
    return made;
  }

  groupRow(group, kind, { shown, texts, known, drawn, color }) {
    const isOpen = this.open.has(group.key);
    const turn = () => { isOpen ? this.open.delete(group.key) : this.open.add(group.key); this.page.redraw(); };
    const made = make('tr', { class: `summary${kind}`, 'data-group': group.key, on: { click: event => { if (!event.target.closest('input')) turn(); } } },
      make('td', {}, this.box(group.runs, drawn, color, group.label)));
    for (const column of shown) {
      const cell = make('td', { class: texts.has(column) ? 'text' : null });
      const values = group.runs.map(run => valueOf(run, column, known.defaults));
      if (column === 'run') cell.append(make('button', { type: 'button', class: 'name', 'aria-expanded': String(isOpen), 'data-key': `group:${group.key}` }, `${isOpen ? '▾' : '▸'}\u00a0${group.label} (${group.runs.length})`));
      else {
        const names = column === 'study' ? values.map(id => known.studies.get(id)?.name ?? '') : values;
        const { text, title } = summaryText(column, names, known.t);
        cell.append(text);
        if (title) cell.title = title;
      }
      made.append(cell);
    }
    return made;
  }

  // A box that draws the curves of runs, in their color.
  box(runs, drawn, color, name) {
    const able = runs.filter(run => run.curves);
    const count = able.filter(run => drawn.has(run.id)).length;
    const box = make('input', { type: 'checkbox', 'aria-label': `draw ${name}`, disabled: !able.length, 'data-key': `draw:${runs[0].id}:${runs.length}`, on: { change: () => this.page.drawRuns(able, count < able.length) } });
    box.checked = count > 0 && count === able.length;
    box.indeterminate = count > 0 && !box.checked;
    return make('span', { class: 'pair' }, box, swatch(count ? color(runs[0]) : 'transparent'));
  }
}

// The menu of columns: which, and in which order.
function columnMenu(view, choices, page) {
  const { shown, possible } = view.columns;
  const set = columns => page.set({ columns: columns.filter(column => column !== 'run').join(',') || 'run' });
  const swap = (column, by) => {
    const place = shown.indexOf(column), other = place + by;
    if (place < 1 || other < 1 || other >= shown.length) return;
    const moved = [...shown];
    [moved[place], moved[other]] = [moved[other], moved[place]];
    set(moved);
  };
  return possible.filter(column => column !== 'run').map(column => {
    const on = shown.includes(column);
    const line = make('div', {}, checkbox(column, on, checked => set(checked ? [...shown, column] : shown.filter(each => each !== column))));
    if (on) line.append(
      make('button', { type: 'button', 'aria-label': `${column} to the left`, 'data-key': `left:${column}`, on: { click: () => swap(column, -1) } }, '←'),
      make('button', { type: 'button', 'aria-label': `${column} to the right`, 'data-key': `right:${column}`, on: { click: () => swap(column, 1) } }, '→'));
    return line;
  });
}
