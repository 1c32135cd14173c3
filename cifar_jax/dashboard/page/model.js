// What is shown, without any drawing: runs as they are told, the choices in the address, columns,
// filters, order and groups. Needs no browser.
'use strict';

const DEFAULTS = {
  view: 'runs', filter: '', group: '', sort: '-val_accuracy', columns: '', metric: 'accuracy', x: 'epoch',
  train: '1', val: '1', log: '0', draw: '', run: '', study: '', objective: '', against: '', trials: 'number', zoom: '',
};
const USUAL = [
  'run', 'state', 'data', 'val_accuracy', 'val_loss', 'test_accuracy', 'train_accuracy', 'parameters',
  'macs', 'seconds', 'seed', 'tags',
];
const MOST_DRAWN = 30; // runs, where none were chosen
const MOST_OPTIONS = 6; // that differ, where no columns were chosen
const TEXTS = new Set(['run', 'state', 'data', 'data_fingerprint', 'split_note', 'tags', 'study', 'path', 'problem']);

// The choices in an address, those that are left out as in DEFAULTS.
function parseChoices(hash) {
  const given = new URLSearchParams(hash.replace(/^#/, ''));
  return Object.fromEntries(Object.entries(DEFAULTS).map(([key, usual]) => [key, given.get(key) ?? usual]));
}

function formatChoices(choices) {
  const given = new URLSearchParams();
  for (const [key, usual] of Object.entries(DEFAULTS)) if (choices[key] !== usual) given.set(key, choices[key]);
  const text = given.toString();
  return text ? `#${text}` : '#';
}

// Runs and studies by id; `told` is an answer of the server.
function absorb(known, told) {
  const fresh = told.all ? { runs: new Map(), studies: new Map() } : known;
  const constants = told.all ? told : known;
  for (const run of told.runs) fresh.runs.set(run.id, run);
  for (const study of told.studies) fresh.studies.set(study.id, study);
  for (const id of told.gone) { fresh.runs.delete(id); fresh.studies.delete(id); }
  const { defaults, neutral, columns, t, folders } = constants;
  return { ...fresh, defaults, neutral, columns, t, folders, version: told.version, now: told.now, missing: told.missing };
}

// Options whose values are not the same in all runs, those with the fewest values first.
function differing(runs, defaults) {
  const read = runs.filter(run => run.options);
  const keys = new Set(read.flatMap(run => Object.keys(run.options)));
  const counts = [...keys].map(key => [key, new Set(read.map(run => String(option(run, key, defaults)))).size]);
  return counts.filter(([, count]) => count > 1).sort((a, b) => a[1] - b[1] || (a[0] < b[0] ? -1 : 1)).map(([key]) => key);
}

function option(run, key, defaults) {
  if (!run.options) return null;
  return key in run.options ? run.options[key] : defaults[key] ?? null;
}

// The value of a column for a run; null where it has none.
function valueOf(run, column, defaults) {
  if (column === 'run') return run.name;
  if (column === 'state') return run.state;
  if (column === 'data') return run.data || null;
  if (column === 'path' || column === 'problem' || column === 'study') return run[column] ?? null;
  const measured = run.row[column];
  return measured !== undefined ? measured : option(run, column, defaults);
}

function isText(column, values) {
  return TEXTS.has(column) || values.some(value => value !== null && typeof value !== 'number');
}

// Words that all must occur, and conditions such as val_accuracy>70% or state!=finished.
function parseFilter(text) {
  const parts = text.match(/(?:[^\s"]|"[^"]*")+/g) || [];
  return parts.map(part => {
    const found = /^([\w.]+)(>=|<=|!=|=|>|<)(.+)$/.exec(part);
    if (!found) return { word: part.replaceAll('"', '').toLowerCase() };
    const column = { accuracy: 'val_accuracy', loss: 'val_loss', lr: 'optimizer.learning_rate' }[found[1]] ?? found[1];
    const value = found[3].replaceAll('"', '');
    const number = value.trim() === '' ? NaN : value.endsWith('%') ? parseFloat(value) / 100 : Number(value);
    return { column, sign: found[2], value: value.toLowerCase(), number };
  });
}

function passes(run, conditions, defaults) {
  return conditions.every(({ word, column, sign, value, number }) => {
    if (word !== undefined) {
      const texts = [run.name, run.state, run.data, run.row.tags, ...Object.values(run.options ?? {})];
      return texts.some(text => String(text ?? '').toLowerCase().includes(word));
    }
    const own = valueOf(run, column, defaults);
    if (own === null || own === undefined) return sign === '!=';
    const numeric = typeof own === 'number' && !Number.isNaN(number);
    const words = column === 'tags' ? String(own).toLowerCase().split(' ') : [String(own).toLowerCase()];
    const same = numeric ? own === number : words.includes(value);
    switch (sign) {
      case '=': return same;
      case '!=': return !same;
      case '>': return numeric && own > number;
      case '<': return numeric && own < number;
      case '>=': return numeric && own >= number;
      default: return numeric && own <= number;
    }
  });
}

// null comes last, whatever the direction.
function compare(a, b, descending) {
  const none = value => value === null || value === undefined || Number.isNaN(value);
  if (none(a) || none(b)) return none(a) - none(b);
  const order = typeof a === 'number' && typeof b === 'number' ? a - b : String(a).localeCompare(String(b), 'en', { numeric: true });
  return descending ? -order : order;
}

function parseSort(sort) {
  return sort.startsWith('-') ? { column: sort.slice(1), descending: true } : { column: sort, descending: false };
}

// Runs on different data, whose numbers cannot be compared, do not mix.
function ordered(items, sort, value) {
  const { column, descending } = parseSort(sort);
  const keyed = items.map(item => ({ item, data: value(item, 'data'), key: value(item, column), name: value(item, 'run') }));
  keyed.sort((a, b) => compare(a.data, b.data) || compare(a.key, b.key, descending) || compare(a.name, b.name));
  return keyed.map(each => each.item);
}

// Groups in the order of their first runs: { key, label, runs }.
function grouped(runs, by, defaults, studies) {
  const groups = new Map();
  // The same seed again tells nothing new: as for compare, the first by its path counts.
  const system = run => `${run.data}|${run.system}`, seedOf = run => `${system(run)}|${run.row.seed}`, first = new Map();
  for (const run of runs) if (run.state === 'finished' && !(first.get(seedOf(run))?.path < run.path)) first.set(seedOf(run), run);
  for (const run of runs) {
    let key = valueOf(run, by, defaults), label = null;
    if (by === 'seeds') { key = first.get(seedOf(run)) === run ? system(run) : run.id; label = ''; } // others have numbers of other epochs
    if (by === 'study') { key = run.study ?? ''; label = studies.get(run.study)?.name ?? 'no study'; }
    if (by === 'folder') { key = run.path.replace(/[/\\][^/\\]*$/, ''); }
    key = key === null || key === undefined || key === '' ? 'none' : String(key);
    if (!groups.has(key)) groups.set(key, { key, label: label ?? key, runs: [] });
    groups.get(key).runs.push(run);
  }
  for (const group of groups.values()) if (by === 'seeds') group.label = commonName(group.runs.map(run => run.name));
  return [...groups.values()];
}

function commonName(names) {
  if (names.length === 1) return names[0];
  let length = 0;
  while (length < names[0].length && names.every(name => name[length] === names[0][length])) length += 1;
  let name = names[0].slice(0, length);
  if (!/[/_-]$/.test(name) && names.some(each => /[^/_-]/.test(each[length] ?? '/'))) name = name.replace(/[^/_-]*$/, '');
  return name.replace(/[/_-]*(seed)?[/_-]*$/, '') || names[0];
}

// The two-sided 95 % quantile of Student's t for n values: from the table, beyond it by its series.
function quantile(n, t) {
  const z = 1.959964, degrees = n - 1;
  return t[n - 2] ?? z + (z ** 3 + z) / (4 * degrees) + (5 * z ** 5 + 16 * z ** 3 + 3 * z) / (96 * degrees ** 2);
}

// n, mean, standard deviation (n - 1) and the 95 % interval of the mean; t are its quantiles.
function summarize(values, t) {
  const found = values.filter(value => typeof value === 'number' && Number.isFinite(value));
  const n = found.length;
  if (!n) return null;
  const mean = found.reduce((sum, value) => sum + value, 0) / n;
  if (n < 2) return { n, mean, sd: null, half: null };
  const sd = Math.sqrt(found.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (n - 1));
  return { n, mean, sd, half: (quantile(n, t) * sd) / Math.sqrt(n) };
}

// The columns that are shown and can be: { shown, possible }.
function columnsOf(runs, choices, known) {
  const options = differing(runs, known.defaults);
  const base = [...new Set([...USUAL, ...Object.keys(known.columns), 'study', 'path', 'problem'])];
  const filled = column => runs.some(run => { const value = valueOf(run, column, known.defaults); return value !== null && value !== undefined && value !== ''; });
  const own = options.filter(key => !base.includes(key));
  const usual = USUAL.filter(filled);
  usual.splice(usual.indexOf('tags') < 0 ? usual.length : usual.indexOf('tags'), 0, ...own.filter(key => !known.neutral.includes(key)).slice(0, MOST_OPTIONS));
  const chosen = choices.columns ? choices.columns.split(',').filter(Boolean) : usual;
  const shown = ['run', ...chosen.filter(column => column !== 'run')];
  return { shown, possible: [...shown, ...[...base.filter(filled), ...own].filter(column => !shown.includes(column))] };
}

function duration(seconds) {
  const whole = Math.round(seconds);
  const two = number => String(number).padStart(2, '0');
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`;
  return `${Math.floor(whole / 3600)} h ${two(Math.floor((whole % 3600) / 60))} min`;
}

function short(value) {
  if (Number.isInteger(value)) return value.toLocaleString('en');
  const size = Math.abs(value);
  return size >= 1e-4 && size < 1e6 ? String(+value.toPrecision(5)) : value.toExponential(2);
}

// Whether a number is a part of 1, which people read in percent.
function isShare(column) {
  return column.endsWith('accuracy') || column.endsWith('_map');
}

function cellText(column, value) {
  if (value === null || value === undefined) return '';
  if (typeof value !== 'number') return String(value);
  if (isShare(column)) return `${(100 * value).toFixed(2)} %`;
  if (column.endsWith('loss')) return value.toFixed(4);
  if (column === 'seconds') return duration(value);
  if (column === 'seed') return String(value);
  if (column === 'images_per_second') return Math.round(value).toLocaleString('en');
  return short(value);
}

// 'mean ± sd' of a column over some runs, or the value that all have.
function summaryText(column, values, t) {
  const present = values.filter(value => value !== null && value !== undefined && value !== '');
  const distinct = [...new Set(present.map(String))];
  if (distinct.length === 1 && present.length === values.length) return { text: cellText(column, present[0]), title: '' };
  const found = isText(column, present) || column === 'seed' ? null : summarize(present, t);
  if (!found) {
    const text = column === 'seed' ? distinct.sort((a, b) => a - b).join(' ') : distinct.join(', ');
    return { text: text.length > 40 ? `${distinct.length} values` : text, title: text };
  }
  const fewer = found.n < values.length ? ` (n ${found.n})` : '';
  if (found.sd === null) return { text: `${cellText(column, found.mean)}${fewer}`, title: `of one of ${values.length} runs` };
  const percent = isShare(column);
  const [scale, digits] = percent ? [100, 2] : [1, 4];
  const write = value => column === 'seconds' ? duration(value) : percent || column.endsWith('loss') ? (scale * value).toFixed(digits) : short(value);
  const unit = percent ? ' %' : '';
  return {
    text: `${write(found.mean)} ± ${write(found.sd)}${unit}${fewer}`,
    title: `mean ± standard deviation of ${found.n} runs; 95 % interval of the mean: ${write(found.mean - found.half)} to ${write(found.mean + found.half)}${unit}`,
  };
}

function epochsDone(run) {
  return run.curves ? run.curves.epoch.at(-1) ?? 0 : 0;
}

// When a run that trains will be through, in seconds since 1970 by the server's clock; or null.
function endsAt(run) {
  if (run.state !== 'training' || !run.pace) return null;
  return run.updated + run.pace * Math.max(run.total - epochsDone(run), 0);
}

// Seconds trained at the end of each epoch.
function elapsed(curves) {
  let sum = 0;
  return curves.epoch_seconds.map(seconds => (sum += seconds ?? 0));
}

// Best so far over trials in their order; those without a number change nothing.
function bestSoFar(values, highest) {
  let best = null;
  return values.map(value => {
    if (typeof value === 'number' && (best === null || (highest ? value > best : value < best))) best = value;
    return best;
  });
}

// Which of some pairs no other one beats in one number without losing in the other; `highest`: whether
// the highest is the best, of either number.
function frontOf(pairs, highest) {
  const signs = highest.map(each => each ? 1 : -1);
  const scored = pairs.map((pair, index) => ({ index, first: signs[0] * pair[0], second: signs[1] * pair[1] }));
  scored.sort((a, b) => b.first - a.first || b.second - a.second);
  const found = pairs.map(() => false);
  let last = null;
  for (const each of scored) {
    if (last && each.second <= last.second && !(each.first === last.first && each.second === last.second)) continue;
    found[each.index] = true;
    last = each;
  }
  return found;
}

// The complete trials whose results can be compared: of an evolution those of the last stage, since
// the networks of another one are trained for longer or for less.
function comparable(study, trials) {
  const complete = trials.filter(trial => trial.state === 'complete');
  if (study.kind !== 'evolve') return complete;
  const stage = trial => Number(trial['param.stage'] ?? 0);
  const last = complete.reduce((most, trial) => Math.max(most, stage(trial)), 0);
  return complete.filter(trial => stage(trial) === last);
}

// The number of the trial whose folder a path leads into; null of a path elsewhere.
function trialOf(path) {
  const found = /.*[/\\]trials[/\\](\d+)(?:[/\\]|$)/.exec(path);
  return found ? Number(found[1]) : null;
}

// The state of a trial, of which the table of the study says only what its command knew last: if
// that was killed, nothing trains any more. `runs` are those of the trial.
function stateOfTrial(told, runs) {
  const are = state => runs.some(run => run.state === state);
  return told === 'running' && are('stopped') && !are('training') ? 'stopped' : told;
}

// [{ name, highest }] of a study; `columns` tell whether the highest is the best.
function objectivesOf(study, columns) {
  return study.objectives.filter(name => study.columns.includes(name)).map(name => ({ name, highest: Boolean(columns[name]) }));
}

if (typeof module !== 'undefined') {
  module.exports = {
    DEFAULTS, absorb, bestSoFar, cellText, columnsOf, commonName, comparable, differing, duration, endsAt, formatChoices, frontOf, grouped,
    objectivesOf, ordered, parseChoices, parseFilter, passes, stateOfTrial, summarize, summaryText, trialOf, valueOf,
  };
}
