// The page to submit a job: checks the job file while it is written, keeps a list of the files that were dropped or chosen,
// and sends the form without losing either. Without it the form works as forms do.
'use strict';

(() => {
  const form = document.getElementById('submit');
  if (!form) return;
  const text = document.getElementById('job-file');
  const drop = document.getElementById('drop');
  const choose = document.getElementById('choose');
  const chosen = document.getElementById('chosen');
  const checked = document.getElementById('checked');
  const files = new Map();
  let named = null;
  let wait = 0;
  let asked = 0;

  function element(name, words, className) {
    const made = document.createElement(name);
    if (words !== undefined) made.textContent = words;
    if (className) made.className = className;
    return made;
  }

  // Line numbers, and the height of the text with them.
  function number(wrong) {
    const count = Math.max(text.value.split('\n').length, 18);
    text.rows = count;
    const lines = Array.from({ length: count }, (_, at) => {
      const line = element('li', String(at + 1));
      if (wrong.includes(at + 1)) line.className = 'bad';
      return line;
    });
    document.getElementById('lines').replaceChildren(...lines);
    if (wrong.length) text.setAttribute('aria-invalid', 'true');
    else text.removeAttribute('aria-invalid');
  }

  async function check() {
    const turn = (asked += 1);
    if (text.value.trim() === '') {
      named = null;
      document.getElementById('problems').replaceChildren();
      checked.textContent = 'checked as you type';
      number([]);
      list();
      return;
    }
    try {
      const answer = await fetch('/submit/check', { method: 'POST', body: text.value });
      const found = await answer.json();
      // A later answer may have come first.
      if (turn !== asked) return;
      if (!answer.ok) {
        checked.textContent = found.detail || 'not checked';
        return;
      }
      document.getElementById('problems').innerHTML = found.problems;
      checked.textContent = found.words;
      if (found.named) named = found.named;
      number(found.lines);
      list();
    } catch {
      if (turn === asked) checked.textContent = 'not checked: the coordinator does not answer';
    }
  }

  const isPattern = (path) => /[*?[]/.test(path);
  const base = (path) => path.split('/').pop();

  // Where a file stands beside the job file: as the job file names it, if one name fits.
  function placeOf(path) {
    const fit = (named || []).filter((one) => !isPattern(one) && base(one.replace(/^\.\//, '')) === base(path));
    if ((named || []).includes(path) || fit.length !== 1) return path;
    return fit[0].replace(/^\.\//, '');
  }

  function size(bytes) {
    for (const [unit, name] of [[2 ** 30, 'GiB'], [2 ** 20, 'MiB'], [2 ** 10, 'KiB']]) {
      if (bytes >= unit) return `${(bytes / unit).toFixed(1)} ${name}`;
    }
    return `${bytes} B`;
  }

  function row(path, words, button) {
    const line = element('li');
    const icon = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
    icon.setAttribute('class', 'ic');
    icon.setAttribute('aria-hidden', 'true');
    const use = document.createElementNS('http://www.w3.org/2000/svg', 'use');
    use.setAttribute('href', button ? '#i-file' : '#i-warn');
    icon.append(use);
    const right = element('span', words, 'faint');
    if (button) right.append(' ', button);
    line.append(icon, element('span', path), right);
    return line;
  }

  function held() {
    return Array.from(document.querySelectorAll('#held li'), (line) => line.dataset.path);
  }

  function list() {
    const rows = [];
    for (const [path, file] of files) {
      const button = element('button', 'Remove', 'btn quiet tiny');
      button.type = 'button';
      button.addEventListener('click', () => {
        files.delete(path);
        list();
      });
      rows.push(row(placeOf(path), size(file.size), button));
    }
    const here = new Set([...Array.from(files.keys(), placeOf), ...held()]);
    for (const path of named || []) {
      if (isPattern(path)) {
        if (here.size === 0) rows.push(row(path, 'choose the files', null));
      } else if (!here.has(path.replace(/^\.\//, ''))) rows.push(row(path, 'not chosen yet', null));
    }
    chosen.replaceChildren(...rows);
  }

  async function add(path, file) {
    if (path === 'job.toml' && text.value.trim() === '') {
      text.value = await file.text();
      await check();
      return;
    }
    files.set(path, file);
  }

  // The files of something that was dropped, with those of directories.
  async function dropped(entry, path) {
    if (entry.isFile) {
      await add(path, await new Promise((done, fail) => entry.file(done, fail)));
      return;
    }
    const reader = entry.createReader();
    for (;;) {
      const some = await new Promise((done, fail) => reader.readEntries(done, fail));
      if (some.length === 0) return;
      for (const one of some) await dropped(one, `${path}/${one.name}`);
    }
  }

  choose.addEventListener('change', async () => {
    for (const file of choose.files) await add(file.name, file);
    choose.value = '';
    list();
  });
  drop.addEventListener('dragover', (event) => {
    event.preventDefault();
    drop.classList.add('over');
  });
  drop.addEventListener('dragleave', () => drop.classList.remove('over'));
  drop.addEventListener('drop', async (event) => {
    event.preventDefault();
    drop.classList.remove('over');
    // They are gone after the first pause.
    const items = Array.from(event.dataTransfer.items, (item) => [item.webkitGetAsEntry(), item.getAsFile()]);
    for (const [entry, file] of items) {
      if (entry) await dropped(entry, entry.name);
      else if (file) await add(file.name, file);
    }
    list();
  });

  text.addEventListener('input', () => {
    number([]);
    clearTimeout(wait);
    wait = setTimeout(check, 250);
  });

  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    const button = event.submitter;
    if (button && button.getAttribute('aria-disabled') === 'true') return;
    const body = new FormData();
    body.append('job.toml', text.value);
    body.append('do', button ? button.value : 'check');
    const blobs = document.querySelector('#held textarea');
    const sent = new Set();
    for (const [path, file] of files) {
      sent.add(placeOf(path));
      body.append('files', file, placeOf(path));
    }
    // Of a file that was chosen anew the older one stays behind.
    const lines = blobs ? blobs.value.split('\n').filter((line) => line && !sent.has(line.slice(line.indexOf(' ') + 1))) : [];
    body.append('blobs', lines.join('\n'));
    const buttons = form.querySelectorAll('button.btn');
    buttons.forEach((one) => one.setAttribute('aria-busy', 'true'));
    checked.textContent = files.size ? 'sending' : 'checking';
    try {
      const answer = await fetch(form.action, { method: 'POST', body });
      if (answer.redirected) {
        location.href = answer.url;
        return;
      }
      const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
      for (const id of ['problems', 'outcome', 'held']) {
        const [part, told] = [document.getElementById(id), page.getElementById(id)];
        if (told && (id !== 'held' || told.childElementCount)) part.innerHTML = told.innerHTML;
        else if (id === 'outcome') part.replaceChildren();
      }
      const wrong = Array.from(page.querySelectorAll('#lines .bad'), (line) => Number(line.textContent));
      number(wrong);
      // What is here now is not sent again.
      for (const path of held()) {
        for (const [own] of files) if (placeOf(own) === path) files.delete(own);
      }
      checked.textContent = answer.ok ? 'checked' : 'see what is wrong below';
      list();
    } catch {
      checked.textContent = 'not sent: the coordinator does not answer';
    } finally {
      buttons.forEach((one) => one.removeAttribute('aria-busy'));
    }
  });

  checked.textContent = 'checked as you type';
  number([]);
  if (text.value.trim() !== '') check();
})();
