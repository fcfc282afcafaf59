// Refreshes the page every five seconds, unless it is paused, hidden or being filled in; and copies texts.
'use strict';
const PERIOD = 5000;
let paused = false;

async function refresh() {
  const active = document.activeElement;
  if (paused || document.hidden || (active && active.closest('form')) || String(getSelection())) return;
  try {
    const response = await fetch(location.href, { headers: { accept: 'text/html' } });
    const next = new DOMParser().parseFromString(await response.text(), 'text/html');
    const [now, then] = ['main', 'main'].map((name, n) => (n ? next : document).querySelector(name));
    if (!now || !then) throw new Error('no page');
    // The form keeps what somebody has chosen in it.
    const form = now.querySelector('form');
    now.replaceWith(then);
    if (form && then.querySelector('form')) then.querySelector('form').replaceWith(form);
    prepare();
    state('');
  } catch {
    state('The exporter does not answer; what is shown is old.');
  }
}

function state(text) {
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
  };
  setInterval(refresh, PERIOD);
}
prepare();
