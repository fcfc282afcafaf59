// Refreshes the page every five seconds, unless it is paused, hidden or being filled in; and copies texts.
'use strict';
const PERIOD = 5000;
const TIMEOUT = 4000;
let paused = false;
let running = false;

function isBusy() {
  const active = document.activeElement;
  return Boolean(active && active.closest('form')) || Boolean(String(getSelection()));
}

async function refresh() {
  if (paused || running || document.hidden) return;
  if (isBusy()) {
    show('Not refreshed while you select or fill in.');
    return;
  }
  running = true;
  try {
    const response = await fetch(location.href, { headers: { accept: 'text/html' }, signal: AbortSignal.timeout(TIMEOUT) });
    const next = new DOMParser().parseFromString(await response.text(), 'text/html').querySelector('main');
    const now = document.querySelector('main');
    if (!now || !next) throw new Error('no page');
    // The form keeps what somebody has chosen in it.
    const form = now.querySelector('form');
    now.replaceWith(next);
    if (form && next.querySelector('form')) next.querySelector('form').replaceWith(form);
    prepare();
    show('');
  } catch {
    show('The exporter does not answer; what is shown is old.');
  }
  running = false;
}

function show(text) {
  const place = document.querySelector('#refresh-state');
  if (place) place.textContent = text;
}

function prepare() {
  for (const button of document.querySelectorAll('button[data-copy]')) {
    button.hidden = false;
    button.onclick = async () => {
      try {
        await navigator.clipboard.writeText(button.dataset.copy);
        button.textContent = 'copied';
      } catch {
        button.textContent = 'not allowed here';
      }
    };
  }
}

const pause = document.querySelector('#pause');
if (pause) {
  paused = pause.dataset.paused === 'yes';
  pause.onclick = (event) => {
    event.preventDefault();
    paused = !paused;
    pause.textContent = paused ? 'Continue refreshing' : 'Pause refreshing';
    show(paused ? 'Paused.' : '');
  };
  setInterval(refresh, PERIOD);
}
prepare();
