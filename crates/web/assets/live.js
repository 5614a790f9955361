// Keeps a page current: replaces the parts that the server says have changed, and moves through the grid of tasks by
// keyboard. Without it every page reads and every form works; a reload is the update.
'use strict';

(() => {
  const source = document.body.dataset.live;
  const light = document.getElementById('live');
  const grid = document.getElementById('grid');
  let events = null;
  let waiting = {};
  let cells = {};
  let asked = false;

  function say(isLive) {
    if (!light) return;
    light.hidden = false;
    light.classList.toggle('lost', !isLive);
    const words = isLive ? 'live' : 'reconnecting';
    if (light.textContent !== words) light.textContent = words;
  }

  function draw() {
    asked = false;
    for (const [id, html] of Object.entries(waiting)) {
      const part = document.getElementById(id);
      // Whoever is within a part goes on undisturbed; it is replaced later.
      if (!part || part.contains(document.activeElement)) continue;
      part.innerHTML = html;
      delete waiting[id];
    }
    if (grid) {
      for (const [at, name] of Object.entries(cells)) {
        const cell = grid.children[at];
        if (cell) cell.className = cell.classList.contains('at') ? `${name} at` : name;
      }
    }
    cells = {};
  }

  function soon() {
    if (asked) return;
    asked = true;
    requestAnimationFrame(draw);
  }

  function open() {
    if (!source || events) return;
    events = new EventSource(source);
    events.onopen = () => say(true);
    events.onerror = () => {
      say(false);
      // A server that refuses is asked again, like one that is gone.
      if (events && events.readyState === EventSource.CLOSED) {
        events = null;
        setTimeout(open, 5000);
      }
    };
    events.addEventListener('parts', (event) => {
      Object.assign(waiting, JSON.parse(event.data));
      soon();
    });
    events.addEventListener('cells', (event) => {
      const told = JSON.parse(event.data);
      Object.assign(cells, told.cells);
      if (grid) grid.setAttribute('aria-label', told.label);
      soon();
    });
    events.addEventListener('over', () => {
      close();
      if (light) light.hidden = true;
    });
  }

  function close() {
    if (events) events.close();
    events = null;
  }

  document.addEventListener('visibilitychange', () => (document.hidden ? close() : open()));
  document.addEventListener('focusout', soon);
  open();

  if (!grid) return;
  const place = document.getElementById('at-cell');
  const per = Number(grid.dataset.per);
  const tasks = Number(grid.dataset.tasks);
  let at = -1;

  function columns() {
    return getComputedStyle(grid).gridTemplateColumns.split(' ').length;
  }

  function link(at) {
    return `${grid.dataset.list}?from=${at * per}&limit=${per}`;
  }

  function choose(next) {
    if (next < 0 || next >= grid.children.length) return;
    if (at >= 0) grid.children[at].classList.remove('at');
    at = next;
    const cell = grid.children[at];
    cell.classList.add('at');
    const first = at * per;
    const last = Math.min(first + per, tasks) - 1;
    const eighths = (letter) => Number((new RegExp(`${letter}(\\d)`).exec(cell.className) || [0, 0])[1]);
    const name = document.createElement('b');
    const number = (value) => value.toLocaleString('en');
    name.textContent = first === last ? `Task ${number(first)}` : `Tasks ${number(first)} to ${number(last)}`;
    const state = document.createElement('span');
    const [accepted, running] = [eighths('a'), eighths('r')];
    if (accepted === 8) state.textContent = 'accepted';
    else if (accepted || running) state.textContent = `${accepted} eighths accepted, ${running} running`;
    else state.textContent = 'ready';
    if (per === 1) state.textContent = accepted ? 'accepted' : running ? 'running' : 'ready';
    const list = document.createElement('a');
    list.href = link(at);
    list.textContent = 'List them';
    place.replaceChildren(name, state, list);
  }

  grid.addEventListener('click', (event) => {
    const index = Array.prototype.indexOf.call(grid.children, event.target);
    if (index >= 0) choose(index);
  });
  grid.addEventListener('keydown', (event) => {
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns(), ArrowUp: -columns() };
    if (event.key === 'Enter' && at >= 0) location.href = link(at);
    else if (event.key === 'Home') choose(0);
    else if (event.key === 'End') choose(grid.children.length - 1);
    else if (event.key in steps) choose(at < 0 ? 0 : at + steps[event.key]);
    else return;
    event.preventDefault();
  });
})();
