/** Elements made in one call; text is always text. */

/**
 * Make an element.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Partial<Record<string, unknown>>} [parts] properties, or attributes where the name has a dash or is one of a few
 * @param {(Node | string | null | undefined)[]} inside
 * @returns {HTMLElementTagNameMap[T]}
 */
export function make(tag, parts = {}, ...inside) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(parts)) {
    if (name.startsWith('on')) made.addEventListener(name.slice(2), /** @type {EventListener} */ (value));
    else if (name.includes('-') || ['role', 'for', 'list'].includes(name)) made.setAttribute(name, String(value));
    else /** @type {any} */ (made)[name] = value;
  }
  made.append(.../** @type {(Node | string)[]} */ (inside.filter((one) => one !== null && one !== undefined)));
  return made;
}

/** A button. @param {string} text @param {() => unknown} act @param {Record<string, unknown>} [more] */
export function button(text, act, more = {}) {
  return make('button', { type: 'button', onclick: act, ...more }, text);
}

/** The element of a name, which is there. @param {string} id */
export function get(id) {
  return /** @type {HTMLElement} */ (document.getElementById(id));
}

/** The field of a name. @param {string} id */
export function input(id) {
  return /** @type {HTMLInputElement} */ (document.getElementById(id));
}
