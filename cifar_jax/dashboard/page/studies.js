// A study: how far it is, the best so far over its trials, and the table of them.
'use strict';

class StudyView {
  // `page`: { set(choices), open(run) }.
  constructor(page) {
    this.page = page;
    this.box = find('studies-view');
    this.chart = make('div', { class: 'plot' });
    this.plot = null;
    new ResizeObserver(() => { if (this.plot && this.chart.clientWidth) this.plot.setSize({ width: this.chart.clientWidth, height: 260 }); }).observe(this.chart);
  }

  draw(known, choices) {
    const studies = [...known.studies.values()];
    const study = known.studies.get(choices.study) ?? studies[0];
    if (!study) { this.told = ''; this.box.replaceChildren(make('p', { class: 'soft' }, 'There is no study in these folders.')); return; }
    const told = JSON.stringify([study, choices.objective, choices.trials, studies.map(each => each.name), isDark(), known.runs.size]);
    if (told === this.told) return;
    this.told = told;
    const objectives = objectivesOf(study, known.columns);
    const objective = objectives.find(each => each.name === choices.objective) ?? objectives[0] ?? null;
    const trials = study.trials.map(cells => Object.fromEntries(study.columns.map((column, index) => [column, cells[index]])));
    const counts = new Map(['complete', 'running', 'waiting', 'pruned', 'failed'].map(state => [state, 0]));
    for (const trial of trials) counts.set(trial.state, (counts.get(trial.state) ?? 0) + 1);
    const complete = comparable(study, trials), judged = new Set(complete);
    const earlier = complete.length < (counts.get('complete') ?? 0);
    const values = trials.map(trial => judged.has(trial) && objective && typeof trial[objective.name] === 'number' ? trial[objective.name] : null);
    const best = objective ? ordered(complete, `${objective.highest ? '-' : ''}${objective.name}`, (trial, column) => trial[column] ?? null)[0] : null;
    const tile = (value, name) => make('div', { class: 'card' }, make('b', {}, value), make('span', {}, name));
    const choose = (label, options, current, key) => options.length > 1 ? make('label', {}, `${label} `, this.select(options, current, value => this.page.set({ [key]: value }))) : null;
    const parameters = study.columns.filter(column => column.startsWith('param.'));
    const chosen = [choose('study', studies.map(each => [each.id, each.name]), study.id, 'study'), choose('objective', objectives.map(each => [each.name, each.name.replaceAll('_', ' ')]), objective?.name, 'objective')].filter(Boolean);
    refill(this.box, [
      chosen.length ? make('div', { class: 'bar' }, ...chosen) : null,
      make('h2', {}, study.name),
      make('p', { class: 'soft' }, [study.kind, study.space, study.path, study.test_looks].filter(Boolean).join(' · ')),
      study.problem ? make('p', { class: 'bad' }, study.problem) : null,
      make('div', { class: 'tiles' },
        best ? tile(cellText(objective.name, best[objective.name]), `best ${objective.name.replaceAll('_', ' ')}, trial ${best.number}${earlier ? ', of the last stage' : ''}`) : null,
        ...[...counts].filter(([, count]) => count).map(([state, count]) => tile(count.toLocaleString('en'), String(state)))),
      best && parameters.length ? make('p', { class: 'soft' }, `Best: ${parameters.filter(name => best[name] !== null).map(name => `${name.slice(6)} = ${this.cell(name, best[name])}`).join(', ')}`) : null,
      objective ? make('div', { class: 'card' }, make('b', {}, `${objective.name.replaceAll('_', ' ')} of each trial${earlier ? ' of the last stage' : ''}, and the best so far`), this.chart) : null,
      make('div', { class: 'card scroll' }, this.table(study, trials, choices, known)),
    ].filter(Boolean));
    if (objective) this.drawChart(trials, values, objective);
  }

  select(options, current, change) {
    const made = make('select', { 'data-key': 'select', on: { change: event => change(event.target.value) } }, ...options.map(([value, text]) => make('option', { value }, text)));
    made.value = current;
    return made;
  }

  cell(column, value) {
    if (column === 'number' || typeof value !== 'number') return String(value ?? '');
    return cellText(column, value);
  }

  drawChart(trials, values, objective) {
    this.plot?.destroy();
    this.plot = null;
    this.chart.replaceChildren();
    if (!values.some(value => value !== null)) { this.chart.append('No trial is complete yet.'); return; }
    const percent = objective.name.endsWith('accuracy');
    const axis = { stroke: cssColor('soft'), grid: { stroke: cssColor('line'), width: 1 }, ticks: { stroke: cssColor('line'), width: 1 }, font: '12px system-ui, sans-serif' };
    const text = value => value === null || value === undefined ? '' : percent ? cellText('accuracy', value) : short(value);
    const numbers = trials.map((trial, index) => typeof trial.number === 'number' ? trial.number : index);
    const data = uPlot.join([[numbers, values], [numbers, bestSoFar(values, objective.highest)]]);
    const tip = make('div', { class: 'tip', hidden: true });
    this.plot = new uPlot({
      width: Math.max(this.chart.clientWidth, 200), height: 260, legend: { show: false },
      scales: { x: { time: false, range: (_, low, high) => low === high ? [low - 1, high + 1] : [low, high] } },
      axes: [{ ...axis, size: 30, label: 'trial', labelSize: 16, labelFont: axis.font, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000] }, { ...axis, size: 58, values: (_, ticks) => ticks.map(tick => axisNumber(tick, percent)) }],
      series: [{}, { stroke: null, paths: () => null, points: { show: true, size: 6, fill: cssColor('mark'), stroke: cssColor('mark') } },
        { stroke: cssColor('good'), width: 2, spanGaps: true, paths: uPlot.paths.stepped({ align: 1 }), points: { show: false } }],
      hooks: { setCursor: [plot => {
        const { idx, left } = plot.cursor;
        tip.hidden = idx === null || idx === undefined || left < 0;
        if (tip.hidden) return;
        tip.textContent = `trial ${data[0][idx]}: ${text(data[1][idx]) || 'no value'}, best so far ${text(data[2][idx])}`;
        const right = left > plot.over.clientWidth / 2;
        tip.style.left = right ? 'auto' : `${left + 14}px`;
        tip.style.right = right ? `${plot.over.clientWidth - left + 14}px` : 'auto';
        tip.style.top = '6px';
      }] },
    }, data, this.chart);
    this.plot.over.append(tip);
  }

  table(study, trials, choices, known) {
    const { columns } = study;
    const texts = new Set(columns.filter(column => isText(column, trials.map(trial => trial[column]).filter(value => value !== null))));
    const runs = [...known.runs.values()].filter(run => run.study === study.id);
    const rows = ordered(trials, choices.trials, (trial, column) => trial[column] ?? null).map(trial => {
      const folder = `trials/${String(trial.number).padStart(5, '0')}/`;
      const own = runs.find(run => `${run.path.replaceAll('\\', '/')}/`.includes(folder));
      return make('tr', { 'data-run': own?.id, on: { click: () => { if (own) this.page.open(own); } } }, ...columns.map(column => {
        const text = this.cell(column, trial[column]);
        const cell = make('td', { class: texts.has(column) ? 'text' : null, title: texts.has(column) ? text : null });
        cell.append(column === 'state' ? make('span', { class: `state ${trial.state === 'running' ? 'training' : trial.state}` }, make('i'), text) : text);
        return cell;
      }));
    });
    const sorts = column => this.page.set({ trials: choices.trials === column ? `-${column}` : column });
    return make('table', {}, make('thead', {}, make('tr', {}, ...titles(columns, texts, choices.trials, sorts))), make('tbody', {}, ...rows));
  }
}
