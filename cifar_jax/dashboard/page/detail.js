// One run: what it is, its curves, the images of its epochs, its epochs line by line, its options.
'use strict';

const LOG = ['epoch', 'step', 'train_loss', 'train_accuracy', 'val_loss', 'val_accuracy', 'learning_rate', 'images_per_second', 'epoch_seconds'];

class Detail {
  // `page`: { close(), isLive }.
  constructor(page) {
    this.page = page;
    this.id = '';
    this.steps = null;
    this.chosen = null; // the step whose images are shown; null: the newest
  }

  draw(known, id) {
    const box = find('detail');
    const run = id ? known.runs.get(id) : null;
    box.hidden = !id;
    if (!id) { this.id = ''; return; }
    if (id !== this.id) this.begin(box, id);
    if (!run) {
      this.parts.name.textContent = this.parts.name.textContent || 'This run';
      this.parts.problem.textContent = this.told !== null ? 'This run was deleted, moved or renamed; what is shown here is the last that was seen of it.' : 'There is no such run here.';
      if (this.told !== null) this.told = ''; // should it come back, all is drawn anew
      return;
    }
    const text = JSON.stringify([run, isDark()]);
    if (text === this.told) return;
    this.told = text;
    this.fill(run, known);
    if (run.images && this.page.isLive) this.fetchSteps(run);
  }

  begin(box, id) {
    this.id = id;
    this.told = null;
    this.steps = null;
    this.chosen = null;
    this.shownStep = null;
    const parts = this.parts = {
      name: make('h2', {}), state: make('p', {}), problem: make('p', { class: 'bad' }), facts: make('div', { class: 'pairs' }),
      accuracy: make('div', { class: 'plot' }), loss: make('div', { class: 'plot' }), images: make('div', { hidden: true }),
      log: make('div', { class: 'card log' }), options: make('div', { class: 'pairs' }), none: make('p', { class: 'soft' }),
    };
    const close = make('button', { type: 'button', 'aria-label': 'close', 'data-key': 'close', on: { click: () => this.page.close() } }, '✕');
    box.replaceChildren(
      make('div', { class: 'top' }, parts.name, close), parts.state, parts.problem,
      make('p', { class: 'soft' }, 'Validation solid, training dashed.'),
      make('div', { class: 'two' }, make('div', { class: 'card' }, make('b', {}, 'accuracy'), parts.accuracy), make('div', { class: 'card' }, make('b', {}, 'loss'), parts.loss)),
      parts.images, make('h3', {}, 'Log'), parts.log, make('h3', {}, 'Facts'), parts.facts, make('h3', {}, 'Options that are not the defaults'), parts.options, parts.none);
    box.scrollTop = 0;
    close.focus({ preventScroll: true });
    this.plots = ['accuracy', 'loss'].map(metric => [metric, new CurvePlot(parts[metric], () => 190)]);
  }

  fill(run, known) {
    const { parts } = this;
    const pairs = facts => facts.flatMap(([name, value]) => [make('span', {}, name.replaceAll('_', ' ')), make('span', {}, value)]);
    parts.name.textContent = run.name;
    parts.state.replaceChildren(stateBadge(run, known.now));
    parts.problem.textContent = run.problem ?? '';
    const row = Object.keys(run.row).filter(name => name !== 'run' && run.row[name] !== null && run.row[name] !== '');
    const facts = Object.entries(run.facts ?? {}).map(([name, value]) => [name, typeof value === 'number' ? short(value) : String(value)]);
    parts.facts.replaceChildren(...pairs([['folder', run.path], ...row.map(name => [name, cellText(name, run.row[name])]), ...facts]));
    for (const [metric, plot] of this.plots) plot.draw([run], { metric, x: 'epoch', show: { train: true, val: true }, color: () => cssColor('mark') });
    this.fillLog(run);
    const options = Object.entries(run.options ?? {}).map(([name, value]) => [name, value === null ? 'not there' : String(value)]);
    parts.options.replaceChildren(...pairs(options));
    parts.none.textContent = options.length ? '' : 'None, or they cannot be read.';
    if (!run.images) parts.images.hidden = true;
    else if (!this.page.isLive) {
      parts.images.hidden = false;
      parts.images.replaceChildren(make('h3', {}, 'Images'), make('p', { class: 'soft' }, `The live page shows them: python -m cifar_jax dashboard ${run.path}`));
    }
  }

  fillLog(run) {
    const { log } = this.parts;
    const ends = log.scrollHeight - log.scrollTop - log.clientHeight < 30;
    const text = (name, value) => name === 'epoch' ? `${value} of ${run.total}` : cellText(name, value) + (name === 'epoch_seconds' && value !== null ? ' s' : '');
    const lines = (run.curves?.epoch ?? []).map((_, index) => make('tr', {}, ...LOG.map(name => make('td', {}, text(name, run.curves[name][index])))));
    if (!lines.length) { log.replaceChildren('No epoch has ended yet.'); return; }
    log.replaceChildren(make('table', {}, make('thead', {}, make('tr', {}, ...LOG.map(name => make('th', { scope: 'col' }, name.replaceAll('_', ' '))))), make('tbody', {}, ...lines)));
    if (ends) log.scrollTop = log.scrollHeight;
  }

  async fetchSteps(run) {
    let told;
    try { told = await (await fetch(`steps/${run.id}`)).json(); } catch { return; }
    if (run.id !== this.id || !told.steps?.length) return;
    this.steps = told.steps;
    this.fillImages(run);
  }

  fillImages(run) {
    const { steps, parts } = this;
    const step = steps.find(each => each.step === this.chosen) ?? steps.at(-1);
    const shown = JSON.stringify([steps.length, step]);
    if (shown === this.shownStep) return;
    this.shownStep = shown;
    const epoch = step => { const place = run.curves.step.indexOf(step.step); return place < 0 ? `step ${step.step}` : `epoch ${run.curves.epoch[place]}`; };
    const source = (tag, index) => `image/${run.id}/${step.step}/${tag}/${index}`;
    const drawn = (tag, text) => step[tag] ? make('figure', {}, make('img', { class: 'drawn', src: source(tag, 0), alt: text }), make('figcaption', {}, text)) : null;
    const slider = make('input', { type: 'range', min: 0, max: steps.length - 1, 'aria-label': 'epoch', 'data-key': 'slider', on: { input: event => {
      const place = Number(event.target.value);
      this.chosen = place === steps.length - 1 ? null : steps[place].step;
      this.fillImages(run);
    } } });
    slider.value = steps.indexOf(step);
    const wrong = Array.from({ length: step.misclassified ?? 0 }, (_, index) => make('figure', {},
      make('img', { src: source('misclassified', index), alt: `misclassified image ${index + 1}`, loading: 'lazy' }), make('figcaption', {}, step.captions?.[index] ?? '')));
    parts.images.hidden = false;
    refill(parts.images, [
      make('h3', {}, `Misclassified images, ${epoch(step)}`), make('div', { class: 'bar' }, slider, make('span', { class: 'soft' }, `${steps.indexOf(step) + 1} of ${steps.length}`)),
      wrong.length ? make('div', { class: 'gallery' }, ...wrong) : make('p', { class: 'soft' }, 'None in this epoch.'),
      make('div', { class: 'two' }, drawn('confusion_matrix', 'Confusion matrix'), drawn('augmented_samples', 'Augmented samples')),
    ]);
  }
}
