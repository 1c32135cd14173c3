// Curves of several runs on one plot: zoom by dragging or pinching, values under the pointer.
'use strict';

const METRICS = {
  accuracy: { train: 'train_accuracy', val: 'val_accuracy', name: 'accuracy' },
  loss: { train: 'train_loss', val: 'val_loss', name: 'loss' },
  rate: { train: 'learning_rate', val: null, name: 'learning rate' },
};
const HUES = [205, 25, 145, 350, 275, 50, 180, 320, 95, 230];

const isDark = () => matchMedia('(prefers-color-scheme: dark)').matches;
const cssColor = name => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

// Ten hues that differ, then the same ones darker and lighter.
function colorOf(index) {
  const round = Math.floor(index / HUES.length) % 3;
  const lightness = isDark() ? [66, 82, 50][round] : [42, 60, 28][round];
  return `hsl(${HUES[index % HUES.length]} ${isDark() ? 75 : 72}% ${lightness}%)`;
}

// Colors stay with what they were given to, so that no curve changes its own while others come.
class Colors {
  constructor() { this.places = new Map(); }

  keep(keys) {
    const wanted = new Set(keys);
    for (const key of this.places.keys()) if (!wanted.has(key)) this.places.delete(key);
    const used = new Set(this.places.values());
    let next = 0;
    for (const key of keys) {
      if (this.places.has(key)) continue;
      while (used.has(next)) next += 1;
      used.add(next);
      this.places.set(key, next);
    }
  }

  of(key) { return this.places.has(key) ? colorOf(this.places.get(key)) : 'transparent'; }
}

// { data, series, unit } for uPlot: one x for all, and for each curve its values there, or null.
function curvesOf(runs, metric, x, show, color) {
  const { train, val } = METRICS[metric];
  const tables = [], series = [];
  const longest = Math.max(0, ...runs.map(run => elapsed(run.curves).at(-1) ?? 0));
  const [divisor, unit] = x === 'epoch' ? [1, 'epoch'] : longest < 180 ? [1, 'seconds'] : longest < 10800 ? [60, 'minutes'] : [3600, 'hours'];
  for (const run of runs) {
    const places = x === 'epoch' ? run.curves.epoch : elapsed(run.curves).map(value => value / divisor);
    const kinds = [['train', train], ['val', val]].filter(([kind, column]) => column && (show[kind] || !val));
    for (const [kind, column] of kinds) {
      // A time at which two epochs end to the digit is one place.
      const rows = new Map(places.map((place, index) => [place, run.curves[column][index]]));
      const sorted = [...rows].sort((a, b) => a[0] - b[0]);
      tables.push([sorted.map(row => row[0]), sorted.map(row => row[1])]);
      series.push({ run, kind, alone: kinds.length === 1, color: color(run) });
    }
  }
  return { data: tables.length ? uPlot.join(tables) : [[]], series, unit };
}

function axisNumber(value, percent) {
  if (value === null) return '';
  if (percent) return `${+(100 * value).toFixed(1)} %`;
  if (Math.abs(value) >= 1e4) return value.toLocaleString('en', { notation: 'compact', maximumSignificantDigits: 4 });
  return Math.abs(value) < 1e-3 && value !== 0 ? value.toExponential(0) : String(+value.toPrecision(4));
}

const WHOLE = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000]; // steps between marks of what is counted

// { x, y } of a plot: how axes look, and what stands at the marks of y.
function axesOf(label, counted, percent) {
  const line = { stroke: cssColor('line'), width: 1 };
  const axis = { stroke: cssColor('soft'), grid: line, ticks: line, font: '12px system-ui, sans-serif' };
  return [
    { ...axis, size: 30, label, labelSize: 16, labelFont: axis.font, labelGap: 0, incrs: counted ? WHOLE : undefined },
    { ...axis, size: 58, values: (_, ticks) => ticks.map(tick => axisNumber(tick, percent)) },
  ];
}

// The range of x, which is not a time of day; a single place stands in the middle.
const PLACES = { time: false, range: (_, low, high) => low === high ? [low - 1, high + 1] : [low, high] };

// Shows a tip on the side of the cursor that has more room.
function placeTip(tip, plot) {
  const { left } = plot.cursor, width = plot.over.clientWidth;
  const right = left > width / 2;
  tip.hidden = false;
  tip.style.left = right ? 'auto' : `${left + 14}px`;
  tip.style.right = right ? `${width - left + 14}px` : 'auto';
  tip.style.top = '6px';
}

class CurvePlot {
  // `hooks`: zoomed(range or null), pointed(run or null), chosen(run).
  constructor(box, height, hooks = {}) {
    this.box = box;
    this.height = height;
    this.hooks = hooks;
    this.plot = null;
    this.shape = '';
    this.zoom = null;
    this.tip = make('div', { class: 'tip', hidden: true });
    new ResizeObserver(() => this.resize()).observe(box);
    document.addEventListener('touchstart', event => {
      if (!box.contains(event.target)) this.plot?.setCursor({ left: -10, top: -10 });
    }, { passive: true });
  }

  resize() {
    const width = this.box.clientWidth;
    if (this.plot && width && width !== this.plot.width) this.plot.setSize({ width, height: this.height() });
  }

  draw(runs, { metric, x, show, log, color, zoom }) {
    const drawn = curvesOf(runs.filter(run => run.curves?.epoch.length), metric, x, show, color);
    this.series = drawn.series;
    this.metric = metric;
    this.unit = drawn.unit;
    this.data = drawn.data;
    this.zoom = zoom ?? null;
    this.box.classList.toggle('empty', !drawn.series.length);
    if (!drawn.series.length) {
      this.clear();
      this.box.replaceChildren(runs.length ? 'No epoch of these runs has ended yet.' : 'No run is chosen.');
      return;
    }
    const shape = JSON.stringify([metric, x, log, drawn.unit, isDark(), drawn.series.map(each => [each.run.id, each.kind, each.color])]);
    if (shape === this.shape) this.plot.setData(drawn.data, !this.zoom);
    else {
      this.clear();
      this.shape = shape;
      this.box.replaceChildren();
      this.plot = new uPlot(this.options(metric, log), drawn.data, this.box);
      this.plot.over.append(this.tip);
      this.touches(this.plot);
    }
    if (this.zoom) this.plot.setScale('x', { min: this.zoom[0], max: this.zoom[1] });
  }

  clear() {
    this.plot?.destroy();
    this.plot = null;
    this.shape = '';
  }

  options(metric, log) {
    const percent = metric === 'accuracy';
    const many = this.series.length > 24;
    return {
      width: Math.max(this.box.clientWidth, 200), height: this.height(), legend: { show: false },
      cursor: {
        focus: { prox: innerWidth < 640 ? 1000 : 40 }, // a finger is no fine pointer
        hover: { prox: (plot, index) => this.reach(plot, index) },
        drag: { x: true, y: false, setScale: true }, points: { size: 6 },
      },
      focus: { alpha: .18 },
      scales: {
        x: PLACES,
        y: log ? { distr: 3 } : { range: (_, low, high) => {
          const margin = (high - low) * .06 || Math.abs(high) * .1 || 1;
          return [Math.max(low - margin, low >= 0 ? 0 : -Infinity), percent ? Math.min(high + margin, 1) : high + margin];
        } },
      },
      axes: axesOf(this.unit, this.unit === 'epoch', percent),
      series: [{}, ...this.series.map(each => {
        const faint = each.kind === 'train' && !each.alone;
        const few = each.run.curves.epoch.length < 3;
        return {
          stroke: each.color, width: faint ? 1.2 : many ? 1.4 : 2, dash: faint ? [5, 4] : undefined, alpha: faint ? .8 : 1,
          spanGaps: true, points: { show: few, size: 6, fill: each.color },
        };
      })],
      hooks: {
        setCursor: [() => this.point()],
        setSeries: [(_, index) => this.focus(index)],
        setSelect: [plot => { if (plot.select.width > 0) this.zoomed([plot.posToVal(plot.select.left, 'x'), plot.posToVal(plot.select.left + plot.select.width, 'x')]); }],
        ready: [plot => {
          plot.over.addEventListener('dblclick', () => this.zoomed(null));
          plot.over.addEventListener('click', () => { if (this.near && !this.touched) this.hooks.chosen?.(this.near.run); });
        }],
      },
    };
  }

  // How far from the pointer a point of a curve may be, in pixels: beyond its end there is none.
  reach(plot, index) {
    const { run } = this.series[index - 1];
    const places = this.unit === 'epoch' ? run.curves.epoch : elapsed(run.curves);
    const [first, second] = [this.data[0][0], this.data[0].at(-1)].map(place => plot.valToPos(place, 'x'));
    const longest = this.unit === 'epoch' ? this.data[0].at(-1) - this.data[0][0] : Math.max(...this.series.map(each => elapsed(each.run.curves).at(-1)));
    const share = (places.at(-1) - places[0]) / (longest || 1) / Math.max(places.length - 1, 1);
    return Math.max(20, .6 * share * (second - first));
  }

  zoomed(range) {
    this.zoom = range;
    this.hooks.zoomed?.(range);
  }

  // uPlot says which curve is the nearest.
  focus(index) {
    this.near = index ? this.series[index - 1] : null;
    this.hooks.pointed?.(this.near?.run ?? null);
    this.point();
  }

  // Shows the curve of a run that is pointed at elsewhere.
  highlight(run) {
    if (!this.plot) return;
    const index = run ? this.series.findIndex(each => each.run.id === run.id && each.kind === 'val') : -1;
    const any = run && index < 0 ? this.series.findIndex(each => each.run.id === run.id) : index;
    this.plot.setSeries(any < 0 ? null : any + 1, { focus: true }, false);
  }

  point() {
    const { left, idxs } = this.plot?.cursor ?? {};
    const idx = this.near && idxs?.[this.series.indexOf(this.near) + 1];
    if (idx === null || idx === undefined || left < 0) { this.tip.hidden = true; return; }
    const { run } = this.near;
    const place = this.data[0][idx];
    const lines = this.series.map((each, index) => [each, this.data[index + 1][idx]]).filter(([each]) => each.run.id === run.id);
    const values = lines.filter(([, value]) => value !== null && value !== undefined).map(([each, value]) =>
      make('div', {}, `${this.metric === 'rate' ? 'learning rate' : each.kind === 'train' ? 'training' : 'validation'} ${this.metric === 'accuracy' ? cellText('accuracy', value) : this.metric === 'loss' ? value.toFixed(4) : short(value)}`));
    if (!values.length) { this.tip.hidden = true; return; }
    const head = make('b', {}, swatch(this.near.color), ` ${run.name}`);
    this.tip.replaceChildren(head, make('div', { class: 'soft' }, this.unit === 'epoch' ? `epoch ${place}` : `${+place.toPrecision(4)} ${this.unit}`), ...values);
    placeTip(this.tip, this.plot);
  }

  // One finger moves the cursor, two zoom.
  touches(plot) {
    let pinch = null;
    const at = touch => { const box = plot.over.getBoundingClientRect(); return [touch.clientX - box.left, touch.clientY - box.top]; };
    plot.over.addEventListener('touchstart', event => {
      this.touched = true;
      if (event.touches.length !== 2) return;
      const [a, b] = [...event.touches].map(touch => at(touch)[0]).sort((p, q) => p - q);
      pinch = [plot.posToVal(a, 'x'), plot.posToVal(b, 'x')];
    }, { passive: true });
    plot.over.addEventListener('touchmove', event => {
      if (event.touches.length === 1) {
        const [left, top] = at(event.touches[0]);
        plot.setCursor({ left, top });
      } else if (pinch) {
        event.preventDefault();
        const width = plot.over.clientWidth;
        const [a, b] = [...event.touches].map(touch => at(touch)[0]).sort((p, q) => p - q);
        const scale = (pinch[1] - pinch[0]) / Math.max(b - a, 10);
        const low = pinch[0] - a * scale;
        const range = [Math.max(low, this.data[0][0]), Math.min(low + width * scale, this.data[0].at(-1))];
        if (range[1] > range[0]) { plot.setScale('x', { min: range[0], max: range[1] }); this.zoom = range; }
      }
    }, { passive: false });
    plot.over.addEventListener('touchend', event => {
      if (pinch && event.touches.length < 2) { pinch = null; this.zoomed(this.zoom); }
    }, { passive: true });
  }
}
