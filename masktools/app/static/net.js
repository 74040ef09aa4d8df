/** Talking to the server: requests, refusals and events. Every address is relative to the page. */

const BASE = new URL('.', document.baseURI);

/** A request that the server refused, or that did not reach it. */
export class Refused extends Error {
  /**
   * @param {number} status 0 where no answer came
   * @param {{code?: string, message?: string, field?: string, hint?: string}} error
   */
  constructor(status, error) {
    super([error.message, error.hint].filter(Boolean).join(' ') || `The server answered ${status}.`);
    this.status = status;
    this.code = error.code;
    this.field = error.field;
  }
}

/** The full address of something of the server's. @param {string} path */
export function address(path) {
  return new URL(path, BASE).href;
}

/**
 * Ask the server; what comes back is a response that is fine.
 * @param {string} path
 * @param {{method?: string, json?: unknown, body?: BodyInit, headers?: Record<string, string>, signal?: AbortSignal}} [options]
 * @returns {Promise<Response>}
 */
export async function ask(path, { method = 'GET', json, body, headers = {}, signal } = {}) {
  const sent = { ...headers };
  if (method !== 'GET') sent['X-Masktools'] = '1';
  if (json !== undefined) sent['Content-Type'] = 'application/json';
  let response;
  try {
    response = await fetch(address(path), {
      method, headers: sent, signal, body: json === undefined ? body : JSON.stringify(json), credentials: 'same-origin',
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Refused(0, { message: 'The server does not answer. Is masktools still running?' });
  }
  if (response.ok) return response;
  throw new Refused(response.status, await reason(response));
}

/** @param {Response} response */
async function reason(response) {
  try {
    return (await response.json()).error ?? {};
  } catch {
    return {};
  }
}

/** Ask and read the JSON of the answer (null where there is none). @param {string} path @param {Parameters<typeof ask>[1]} [options] */
export async function askJson(path, options) {
  const response = await ask(path, options);
  const text = await response.text();
  return text ? JSON.parse(text) : null;
}

/**
 * Send a file and say how far it is; the browser never holds it whole.
 * @param {Blob} file
 * @param {string} name
 * @param {(share: number) => void} onProgress
 * @returns {{done: Promise<{id: string}>, cancel: () => void}}
 */
export function upload(file, name, onProgress) {
  const request = new XMLHttpRequest();
  const done = new Promise((resolve, reject) => {
    request.open('PUT', address(`api/recordings?name=${encodeURIComponent(name)}`));
    request.setRequestHeader('X-Masktools', '1');
    request.setRequestHeader('Content-Type', 'application/octet-stream');
    request.responseType = 'json';
    request.upload.onprogress = (event) => event.lengthComputable && onProgress(event.loaded / event.total);
    request.onload = () => {
      if (request.status < 300) resolve(request.response);
      else reject(new Refused(request.status, request.response?.error ?? {}));
    };
    request.onerror = () => reject(new Refused(0, { message: 'The file did not reach the server.' }));
    request.onabort = () => reject(new DOMException('cancelled', 'AbortError'));
    request.send(file);
  });
  return { done, cancel: () => request.abort() };
}

const KINDS = ['survey', 'damage', 'length', 'job', 'edits', 'recording', 'model', 'reset'];

/**
 * Listen to the server for as long as the page is open; a lost connection is taken up again.
 * @param {(kind: string, data: any) => void} heard
 * @param {(connected: boolean) => void} changed
 * @returns {() => void} ends it
 */
export function listen(heard, changed) {
  let source, timer, ended = false;
  const start = () => {
    source = new EventSource(address('api/events'));
    source.onopen = () => changed(true);
    source.onerror = () => {
      changed(false);
      if (source.readyState === EventSource.CLOSED && !ended) timer = setTimeout(start, 2000);
    };
    for (const kind of KINDS) source.addEventListener(kind, (event) => heard(kind, JSON.parse(event.data)));
  };
  start();
  return () => {
    ended = true;
    clearTimeout(timer);
    source.close();
  };
}
