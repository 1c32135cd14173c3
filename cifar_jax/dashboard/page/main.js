// The page: asks what changed, keeps the choices in the address, draws.
'use strict';

const POLL = 2000, HIDDEN_POLL = 15000, PATIENCE = 20000; // ms
const snapshot = find('snapshot');
let known = { runs: new Map(), studies: new Map(), defaults: {}, neutral: [], columns: {}, t: [], folders: [], missing: [] }; // until the first answer
let choices = parseChoices(location.hash);
let view = null, offset = 0;
const colors = new Colors();

const page = {
  isLive: !snapshot,
  set(changed) {
    choices = { ...choices, ...changed };
    history.replaceState(null, '', formatChoices(choices));
    draw();
  },
  redraw: () => draw(),
  open: run => page.set({ run: choices.run === run.id ? '' : run.id }),
  close: () => page.set({ run: '' }),
  point: run => {
    plot.highlight(run);
    mark(run);
  },
  sort: column => {
    const { column: sorted, descending } = parseSort(choices.sort);
    const first = known.columns[column] ? '-' : '';
    page.set({ sort: column === sorted ? (descending ? column : `-${column}`) : `${first}${column}` });
  },
  drawRuns: (runs, on) => {
    const drawn = new Set(view.drawn.map(run => run.id));
    for (const run of runs) on ? drawn.add(run.id) : drawn.delete(run.id);
    page.set({ draw: [...drawn].join('.') || 'none' });
  },
  drawAll: view => page.set({ draw: view.drawn.length === view.readable.length ? 'none' : view.readable.map(run => run.id).join('.') }),
};

const table = new RunTable(page);
const detail = new Detail(page);
const studyView = new StudyView(page);
const plot = new CurvePlot(find('plot'), () => innerWidth < 640 ? 260 : Math.max(280, Math.min(460, innerHeight * .45)), {
  zoomed: range => page.set({ zoom: range ? range.map(value => +value.toPrecision(4)).join('_') : '' }),
  pointed: run => mark(run),
  chosen: run => page.open(run),
});

function mark(run) {
  for (const row of find('table').tBodies[0].rows) row.classList.toggle('strong', Boolean(run) && row.dataset.run === run.id);
  for (const chip of find('legend').children) chip.classList.toggle('strong', Boolean(run) && chip.dataset.run === run.id);
}

function zoomOf(text) {
  const [low, high] = text.split('_').map(Number);
  return text && low < high ? [low, high] : null;
}

function draw() {
  const isStudies = choices.view === 'studies';
  find('runs-view').hidden = isStudies;
  find('studies-view').hidden = !isStudies;
  const where = known.folders.join(', ');
  find('title').textContent = where || 'Runs';
  document.title = where ? `${where} · runs` : 'Runs';
  refill(find('views'), [choice('view', [['runs', `runs ${known.runs.size}`], ['studies', `studies ${known.studies.size}`]], choices.view, value => page.set({ view: value }))]);
  drawStates();
  find('notice').hidden = !known.missing.length;
  find('notice').textContent = `Not there (any more): ${known.missing.join(', ')}`;
  view = arrange(known, choices);
  if (isStudies) studyView.draw(known, choices);
  else drawRuns();
  detail.draw(known, choices.run);
}

function drawStates() {
  const counts = new Map();
  for (const run of known.runs.values()) counts.set(run.state, (counts.get(run.state) ?? 0) + 1);
  const order = ['training', 'finished', 'stopped', 'damaged'];
  const shown = order.filter(state => counts.has(state)).map(state => {
    const condition = `state=${state}`;
    const on = choices.filter.split(/\s+/).includes(condition);
    const others = choices.filter.split(/\s+/).filter(word => word && !word.startsWith('state=')).join(' ');
    return make('button', { type: 'button', 'aria-pressed': String(on), 'data-key': condition, on: { click: () => page.set({ view: 'runs', filter: on ? others : `${others} ${condition}`.trim() }) } },
      make('span', { class: `state ${state}` }, make('i'), `${counts.get(state)} ${state}`));
  });
  refill(find('states'), shown);
}

function drawRuns() {
  if (document.activeElement !== find('filter')) find('filter').value = choices.filter;
  const group = find('group');
  if (document.activeElement !== group) {
    const options = [...GROUPS, ...differing([...known.runs.values()], known.defaults).map(key => [key, key])];
    if (choices.group && !options.some(([value]) => value === choices.group)) options.push([choices.group, choices.group]);
    group.replaceChildren(...options.map(([value, text]) => make('option', { value }, text)));
    group.value = choices.group;
  }
  refill(find('columns').querySelector('.menu'), columnMenu(view, choices, page));
  drawPlotBar();
  colors.keep([...new Set(view.drawn.map(view.colorKey))]);
  const color = run => colors.of(view.colorKey(run));
  plot.draw(view.drawn, {
    metric: choices.metric in METRICS ? choices.metric : 'accuracy', x: choices.x, log: choices.log === '1', color, zoom: zoomOf(choices.zoom),
    show: { train: choices.train === '1', val: choices.val === '1' },
  });
  refill(find('legend'), view.drawn.map(run => make('button', {
    type: 'button', 'data-run': run.id, 'data-key': `legend:${run.id}`, title: run.path,
    on: { click: () => page.open(run), mouseenter: () => page.point(run), mouseleave: () => page.point(null), focus: () => page.point(run), blur: () => page.point(null) },
  }, swatch(color(run)), make('span', {}, run.name))));
  table.draw(known, choices, view, color);
  const hidden = known.runs.size - view.runs.length;
  find('empty').textContent = !known.runs.size && known.version ? 'No run is here yet; one appears when it begins.' : hidden ? `${hidden} of ${known.runs.size} runs do not pass the filter.` : '';
}

function drawPlotBar() {
  const rate = choices.metric === 'rate';
  const drawn = view.drawn.length < view.readable.length ? `${view.drawn.length} of ${view.readable.length} runs drawn` : '';
  refill(find('plot-bar'), [
    choice('metric', Object.entries(METRICS).map(([key, each]) => [key, each.name]), choices.metric, value => page.set({ metric: value })),
    choice('by', [['epoch', 'by epoch'], ['time', 'by time']], choices.x, value => page.set({ x: value, zoom: '' })),
    ...(rate ? [] : [
      checkbox('validation', choices.val === '1', on => page.set({ val: on ? '1' : '0' })),
      checkbox('training (dashed)', choices.train === '1', on => page.set({ train: on ? '1' : '0' })),
    ]),
    checkbox('log', choices.log === '1', on => page.set({ log: on ? '1' : '0' })),
    ...(choices.zoom ? [make('button', { type: 'button', 'data-key': 'whole', on: { click: () => page.set({ zoom: '' }) } }, 'whole range')] : []),
    ...(choices.draw ? [make('button', { type: 'button', 'data-key': 'first', on: { click: () => page.set({ draw: '' }) } }, `first ${MOST_DRAWN}`)] : []),
    make('span', { class: 'soft' }, drawn),
  ]);
}

async function poll() {
  let told = null, problem = 'The server does not answer; what is shown is the last it said.';
  try {
    const answer = await fetch(`changes?since=${encodeURIComponent(known.version ?? '')}`, { cache: 'no-store', signal: AbortSignal.timeout(PATIENCE) });
    told = await answer.json();
    if (told.error) { problem = told.error; told = null; }
  } catch { /* asked again below */ }
  if (told) {
    const changed = told.all || told.runs.length || told.studies.length || told.gone.length || String(told.missing) !== String(known.missing);
    known = absorb(known, told);
    offset = told.now - Date.now() / 1000;
    if (changed) draw();
    if (told.all) performance.mark('drawn');
  }
  find('status').classList.toggle('bad', !told);
  find('status').textContent = told ? 'live' : problem;
  setTimeout(poll, document.hidden ? HIDDEN_POLL : POLL);
}

find('filter').addEventListener('input', event => page.set({ filter: event.target.value }));
find('group').addEventListener('change', event => page.set({ group: event.target.value }));
find('reset').addEventListener('click', () => { find('filter').value = ''; page.set({ ...DEFAULTS, view: choices.view }); });
addEventListener('hashchange', () => { choices = parseChoices(location.hash); draw(); });
addEventListener('keydown', event => { if (event.key === 'Escape') { choices.run ? page.close() : find('columns').removeAttribute('open'); } });
addEventListener('click', event => { if (!event.target.closest('#columns') && event.target.isConnected) find('columns').removeAttribute('open'); });
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => draw());
setInterval(() => {
  for (const each of document.querySelectorAll('.eta')) each.textContent = etaText(Number(each.dataset.ends), Date.now() / 1000 + offset);
}, 1000);

if (snapshot) {
  const told = JSON.parse(snapshot.textContent);
  choices = { ...choices, ...(location.hash.length > 1 ? {} : told.choices ?? {}) };
  known = absorb(known, told);
  find('status').textContent = `as it was at ${new Date(told.now * 1000).toLocaleString()}`;
  offset = told.now - Date.now() / 1000;
  draw();
} else poll();
