// A study: how far it is, the best so far over its trials, two of several objectives against each
// other, and the table of trials.
'use strict';

const HEIGHT = 260;

class StudyView {
  // `page`: { set(choices), open(run) }.
  constructor(page) {
    this.page = page;
    this.box = find('studies-view');
    this.chart = make('div', { class: 'plot' });
    this.frontChart = make('div', { class: 'plot' });
    this.plot = this.frontPlot = null;
    const resized = new ResizeObserver(() => {
      for (const [plot, { clientWidth: width }] of [[this.plot, this.chart], [this.frontPlot, this.frontChart]]) if (plot && width) plot.setSize({ width, height: HEIGHT });
    });
    resized.observe(this.chart);
    resized.observe(this.frontChart);
  }

  draw(known, choices) {
    const studies = [...known.studies.values()];
    const study = known.studies.get(choices.study) ?? studies[0];
    if (!study) { this.told = ''; this.box.replaceChildren(make('p', { class: 'soft' }, 'There is no study in these folders.')); return; }
    const runs = [...known.runs.values()].filter(run => run.study === study.id);
    const told = JSON.stringify([study, choices.objective, choices.against, choices.trials, studies.map(each => each.name), isDark(), runs.map(run => [run.id, run.path, run.state])]);
    if (told === this.told) return;
    this.told = told;
    const objectives = objectivesOf(study, known.columns);
    const objective = objectives.find(each => each.name === choices.objective) ?? objectives[0] ?? null;
    const others = objectives.filter(each => each !== objective);
    const against = others.find(each => each.name === choices.against) ?? others[0] ?? null;
    const trials = study.trials.map(cells => Object.fromEntries(study.columns.map((column, index) => [column, cells[index]])));
    const runsOf = new Map();
    for (const run of runs) runsOf.set(trialOf(run.path), [...runsOf.get(trialOf(run.path)) ?? [], run]);
    for (const trial of trials) trial.state = stateOfTrial(trial.state, runsOf.get(trial.number) ?? []);
    const judged = comparable(study, trials);
    const isPart = judged.length < trials.filter(trial => trial.state === 'complete').length;
    const chosen = [
      this.select('study', studies.map(each => [each.id, each.name]), study.id),
      this.select('objective', objectives.map(({ name }) => [name, titleOf(name)]), objective?.name),
      this.select('against', others.map(({ name }) => [name, titleOf(name)]), against?.name),
    ].filter(Boolean);
    refill(this.box, [
      chosen.length ? make('div', { class: 'bar' }, ...chosen) : null,
      make('h2', {}, study.name),
      make('p', { class: 'soft' }, [study.kind, study.space, study.path, study.test_looks].filter(Boolean).join(' · ')),
      study.problem ? make('p', { class: 'bad' }, study.problem) : null,
      ...this.standing(study, trials, judged, objective, isPart),
      objective ? make('div', { class: 'card' }, make('b', {}, `${titleOf(objective.name)} of each trial${isPart ? ' of the last stage' : ''}, and the best so far`), this.chart) : null,
      against ? make('div', { class: 'card' }, make('b', {}, `${titleOf(objective.name)} against ${titleOf(against.name)}, with a line through the trials that none beats in both`), this.frontChart) : null,
      make('div', { class: 'card scroll' }, this.table(study, trials, choices, runsOf)),
    ].filter(Boolean));
    if (objective) this.drawChart(trials, new Set(judged), objective);
    if (against) this.drawFront(judged, objective, against);
  }

  // A choice of which the address has the value under the name of its label; null where there is none.
  select(label, options, current) {
    if (options.length < 2) return null;
    const made = make('select', { 'data-key': `select:${label}`, on: { change: event => this.page.set({ [label]: event.target.value }) } }, ...options.map(([value, text]) => make('option', { value }, text)));
    made.value = current;
    return make('label', {}, `${label} `, made);
  }

  // How many trials are in each state, and the best of those that can be compared.
  standing(study, trials, judged, objective, isPart) {
    const counts = new Map(['complete', 'running', 'waiting', 'pruned', 'failed'].map(state => [state, 0]));
    for (const trial of trials) counts.set(trial.state, (counts.get(trial.state) ?? 0) + 1);
    const best = objective ? ordered(judged, `${objective.highest ? '-' : ''}${objective.name}`, (trial, column) => trial[column] ?? null)[0] : null;
    const parameters = study.columns.filter(column => column.startsWith('param.') && best && best[column] !== null);
    const tile = (value, name) => make('div', { class: 'card' }, make('b', {}, value), make('span', {}, name));
    return [
      make('div', { class: 'tiles' },
        best ? tile(cellText(objective.name, best[objective.name]), `best ${titleOf(objective.name)}, trial ${best.number}${isPart ? ', of the last stage' : ''}`) : null,
        ...[...counts].filter(([, count]) => count).map(([state, count]) => tile(count.toLocaleString('en'), String(state)))),
      parameters.length ? make('p', { class: 'soft' }, `Best: ${parameters.map(name => `${titleOf(name)} = ${this.cell(name, best[name])}`).join(', ')}`) : null,
    ];
  }

  cell(column, value) {
    if (column === 'number' || typeof value !== 'number') return String(value ?? '');
    return cellText(column, value);
  }

  drawChart(trials, judged, objective) {
    const values = trials.map(trial => judged.has(trial) && typeof trial[objective.name] === 'number' ? trial[objective.name] : null);
    this.plot?.destroy();
    this.plot = null;
    this.chart.replaceChildren();
    if (!values.some(value => value !== null)) { this.chart.append('No trial is complete yet.'); return; }
    const percent = isShare(objective.name);
    const text = value => value === null || value === undefined ? '' : percent ? cellText(objective.name, value) : short(value);
    const numbers = trials.map((trial, index) => typeof trial.number === 'number' ? trial.number : index);
    const data = uPlot.join([[numbers, values], [numbers, bestSoFar(values, objective.highest)]]);
    const tip = make('div', { class: 'tip', hidden: true });
    this.plot = new uPlot({
      width: Math.max(this.chart.clientWidth, 200), height: HEIGHT, legend: { show: false },
      scales: { x: PLACES },
      axes: axesOf('trial', true, percent),
      series: [{}, { stroke: null, paths: () => null, points: { show: true, size: 6, fill: cssColor('mark'), stroke: cssColor('mark') } },
        { stroke: cssColor('good'), width: 2, spanGaps: true, paths: uPlot.paths.stepped({ align: 1 }), points: { show: false } }],
      hooks: { setCursor: [plot => {
        const { idx, left } = plot.cursor;
        if (idx === null || idx === undefined || left < 0) { tip.hidden = true; return; }
        tip.textContent = `trial ${data[0][idx]}: ${text(data[1][idx]) || 'no value'}, best so far ${text(data[2][idx])}`;
        placeTip(tip, plot);
      }] },
    }, data, this.chart);
    this.plot.over.append(tip);
  }

  // One objective over another one, trial by trial.
  drawFront(judged, above, along) {
    this.frontPlot?.destroy();
    this.frontPlot = null;
    this.frontChart.replaceChildren();
    const trials = judged.filter(trial => [above, along].every(({ name }) => typeof trial[name] === 'number'));
    if (!trials.length) { this.frontChart.append('No trial is complete yet.'); return; }
    trials.sort((a, b) => a[along.name] - b[along.name]);
    const x = trials.map(trial => trial[along.name]), y = trials.map(trial => trial[above.name]);
    const best = frontOf(x.map((value, index) => [value, y[index]]), [along.highest, above.highest]);
    const only = chosen => y.map((value, index) => best[index] === chosen ? value : null);
    const axes = axesOf(titleOf(along.name), false, isShare(above.name));
    axes[0].values = (_, ticks) => ticks.map(tick => axisNumber(tick, isShare(along.name)));
    const points = (color, size) => ({ show: true, size, fill: cssColor(color), stroke: cssColor(color) });
    const tip = make('div', { class: 'tip', hidden: true });
    this.frontPlot = new uPlot({
      width: Math.max(this.frontChart.clientWidth, 200), height: HEIGHT, legend: { show: false },
      cursor: { points: { show: false }, drag: { x: false, y: false } },
      scales: { x: { time: false, range: (_, low, high) => {
        const margin = .04 * (high - low) || .1 * Math.abs(low) || 1;
        return [low - margin, high + margin];
      } } },
      axes,
      series: [{}, { stroke: null, paths: () => null, points: points('mark', 6) },
        // The best above that was reached with so much along, or with what is better than that.
        { stroke: cssColor('good'), width: 2, spanGaps: true, paths: uPlot.paths.stepped({ align: along.highest ? -1 : 1 }), points: points('good', 9) }],
      hooks: { setCursor: [plot => {
        const { left, top } = plot.cursor;
        tip.hidden = true;
        if (left < 0) return;
        const far = x.map((value, index) => Math.hypot(plot.valToPos(value, 'x') - left, plot.valToPos(y[index], 'y') - top));
        const index = far.indexOf(Math.min(...far));
        tip.textContent = `trial ${trials[index].number}: ${[above, along].map(({ name }) => `${titleOf(name)} ${cellText(name, trials[index][name])}`).join(', ')}`;
        placeTip(tip, plot);
      }] },
    }, [x, only(false), only(true)], this.frontChart);
    this.frontPlot.over.append(tip);
  }

  table(study, trials, choices, runsOf) {
    const { columns } = study;
    const texts = new Set(columns.filter(column => isText(column, trials.map(trial => trial[column]).filter(value => value !== null))));
    const rows = ordered(trials, choices.trials, (trial, column) => trial[column] ?? null).map(trial => {
      const run = runsOf.get(trial.number)?.[0];
      return make('tr', { 'data-run': run?.id, on: { click: () => { if (run) this.page.open(run); } } }, ...columns.map(column => {
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
