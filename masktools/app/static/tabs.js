/** The tabs of the page. */

/** @type {HTMLElement[]} */
const tabs = [];

/** The name of the tab that is shown. */
export function tabShown() {
  return tabs.find((tab) => tab.getAttribute('aria-selected') === 'true')?.getAttribute('aria-controls') ?? '';
}

/** @param {string} name of a panel */
export function showTab(name) {
  for (const tab of tabs) {
    const chosen = tab.getAttribute('aria-controls') === name;
    tab.setAttribute('aria-selected', String(chosen));
    tab.tabIndex = chosen ? 0 : -1;
    const panel = /** @type {HTMLElement} */ (document.getElementById(tab.getAttribute('aria-controls') ?? ''));
    panel.hidden = !chosen;
  }
}

export function startTabs() {
  tabs.push(.../** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll('[role=tab]')));
  tabs.forEach((tab, number) => {
    tab.addEventListener('click', () => showTab(tab.getAttribute('aria-controls') ?? ''));
    tab.addEventListener('keydown', (event) => {
      const way = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!way) return;
      event.preventDefault();
      const visible = tabs.filter((one) => !one.hidden);
      const next = visible[(visible.indexOf(tabs[number]) + way + visible.length) % visible.length];
      next.focus();
      next.click();
    });
  });
}
