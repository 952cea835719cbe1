// What makes the pages nicer. Nothing needs it.
'use strict';
(() => {
  const all = (what, within = document) => [...within.querySelectorAll(what)];

  // The code beside the button.
  const copy = async (button) => {
    const code = button.parentElement.querySelector('code');
    const label = button.firstChild;
    button.said ??= label.nodeValue;
    try {
      await navigator.clipboard.writeText(code.textContent);
      label.nodeValue = 'Copied';
    } catch {
      // No clipboard without https.
      getSelection().selectAllChildren(code);
      label.nodeValue = 'Press Ctrl C';
    }
    button.ariaLive = 'polite';
    setTimeout(() => { label.nodeValue = button.said; }, 2000);
  };

  // What can't be undone waits until the text is typed.
  const guard = (input) => {
    const button = input.form?.querySelector('.danger');
    if (!button) return;
    const check = () => { button.disabled = input.value !== input.dataset.confirm; };
    input.addEventListener('input', check);
    check();
  };

  // How many rows of a list came, for who listens: never the list, and no more often than it can be listened to.
  const teller = (box) => {
    const line = document.getElementById(box.dataset.tell);
    if (!line) return () => {};
    const keys = (within) => all('tbody tr td:first-child a', within).map((link) => link.getAttribute('href'));
    let known = keys(box);
    let [count, isMore, told] = [0, false, 0];
    return (text) => {
      const now = keys(new DOMParser().parseFromString(text, 'text/html'));
      // The newest stand first; where none is known, more may have come than are shown.
      const old = now.findIndex((key) => known.includes(key));
      isMore ||= old < 0 && now.length >= Number(box.dataset.most);
      count += old < 0 ? now.length : old;
      known = now;
      if (!count || Date.now() - told < 10000) return;
      line.textContent = `${count}${isMore ? ' or more' : ''} new event${count > 1 ? 's' : ''}.`;
      [count, isMore, told] = [0, false, Date.now()];
    };
  };

  // A piece of a page, anew every so often, while somebody looks at it.
  const poll = (box) => {
    const tell = teller(box);
    const every = Math.max(1, Number(box.dataset.seconds) || 5) * 1000;
    let wait = every;
    let timer = 0;
    const again = () => {
      clearTimeout(timer);
      if (!document.hidden && box.isConnected) timer = setTimeout(ask, wait);
    };
    const ask = async () => {
      try {
        const answer = await fetch(box.dataset.poll, { headers: { Accept: 'text/html' }, redirect: 'manual', cache: 'no-store' });
        // Signed out: it won't get better by asking.
        if (answer.type === 'opaqueredirect' || [401, 403].includes(answer.status)) {
          document.removeEventListener('visibilitychange', again);
          return;
        }
        if (!answer.ok) throw answer.status;
        const text = await answer.text();
        tell(text);
        const chosen = getSelection();
        const isHeld = box.contains(document.activeElement) || !chosen.isCollapsed && box.contains(chosen.anchorNode);
        if (!isHeld && text !== box.last) {
          box.last = text;
          box.innerHTML = text;
          ready(box);
        }
        wait = every;
      } catch {
        wait = Math.min(wait * 2, 60000);
      }
      again();
    };
    document.addEventListener('visibilitychange', again);
    again();
  };

  // The numbers of a point of a chart, at once, where the browser would take its time.
  const tell = (hits) => {
    const plot = hits.closest('.plot');
    const tip = document.createElement('div');
    tip.className = 'tip';
    tip.hidden = true;
    plot.append(tip);
    all('title', hits).forEach((title) => {
      title.parentNode.tip = title.textContent;
      title.remove();
    });
    hits.addEventListener('pointerover', (event) => {
      tip.textContent = event.target.tip;
      tip.hidden = false;
      const box = plot.getBoundingClientRect();
      const at = event.target.getBoundingClientRect();
      const right = at.right - box.left + 8;
      const left = Math.max(0, at.left - box.left - tip.offsetWidth - 8);
      tip.style.left = `${right + tip.offsetWidth <= box.width ? right : left}px`;
    });
    hits.addEventListener('pointerleave', () => { tip.hidden = true; });
  };

  const ready = (within) => {
    all('.hits', within).forEach(tell);
    all('[data-copy]', within).forEach((button) => { button.hidden = false; });
    all('[data-confirm]', within).forEach(guard);
  };
  ready(document);
  all('[data-poll]').forEach(poll);

  // What is chosen in a filter holds at once; what is typed, when it is done.
  document.addEventListener('change', (event) => {
    const form = event.target.form;
    if (form?.matches('[data-auto]') && event.target.matches('select, [type=checkbox], [type=radio]')) form.requestSubmit();
  });
  // Fields left empty needn't stand in the address.
  document.addEventListener('formdata', ({ target, formData }) => {
    if (!target.matches('[data-auto]')) return;
    const sent = [...formData];
    sent.forEach(([name]) => formData.delete(name));
    sent.forEach(([name, value]) => { if (value) formData.append(name, value); });
  });

  const menus = () => all('details.menu[open]');
  document.addEventListener('click', (event) => {
    const button = event.target.closest('[data-copy]');
    if (button) copy(button);
    menus().forEach((menu) => { menu.open = menu.contains(event.target); });
  });
  document.addEventListener('keydown', (event) => {
    if (event.key === 'Escape') {
      menus().forEach((menu) => {
        menu.open = false;
        menu.querySelector('summary').focus();
      });
    } else if (event.key === '/' && !event.ctrlKey && !event.metaKey && !event.altKey && !event.target.closest('input, textarea, select')) {
      const field = document.querySelector('[data-search]');
      if (field) {
        event.preventDefault();
        field.focus();
      }
    }
  });

  // On a narrow screen they scroll sideways.
  all('.sections [aria-current]').forEach((link) => link.scrollIntoView({ block: 'nearest', inline: 'center' }));
})();
