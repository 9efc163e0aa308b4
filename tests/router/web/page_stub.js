// As much of a browser as the page's script uses. What was fetched is in `sent`; the next answer is `pieces` with `status`.
class Element {
  constructor() {
    Object.assign(this, { value: "", checked: false, disabled: false, title: "", className: "", children: [], listeners: {} });
    this.classList = { add: (name) => { this.className += " " + name; } };
  }
  addEventListener(type, listener) { this.listeners[type] = listener; }
  append(...children) { this.children.push(...children); }
  replaceChildren() { this.children = []; }
  setAttribute() {}
  focus() {}
  scrollIntoView() {}
  get text() {
    return (this.textContent || "") + this.children.map((child) => (typeof child === "string" ? child : child.text)).join("");
  }
}

const elements = new Proxy({}, { get: (made, id) => (made[id] ??= new Element()) });
const sent = [];
let pieces = [];
let status = 200;
let hangs = false;  // the answer does not end by itself
let milliseconds = 0;

globalThis.document = {
  getElementById: (id) => elements[id],
  createElement: () => new Element(),
};
globalThis.performance = { now: () => (milliseconds += 10) };
globalThis.TextDecoderStream = class {};
globalThis.AbortController = class {
  signal = {};
  abort() { this.signal.onabort?.(Object.assign(new Error("stopped"), { name: "AbortError" })); }
};
globalThis.fetch = async (url, { body, headers, signal } = {}) => {
  sent.push({ url, headers, body: body && JSON.parse(body) });
  if (url === "v1/models") return { json: async () => ({ data: [{ id: "nano" }] }) };
  const rest = [...pieces];
  const read = async () => {
    if (rest.length) return { done: false, value: rest.shift() };
    if (hangs) await new Promise((resolve, reject) => { signal.onabort = reject; });
    return { done: true };
  };
  return { ok: status === 200, status, json: async () => ({ error: { message: "temperature: must be from 0 to 100" } }),
           body: { pipeThrough: () => ({ getReader: () => ({ read }) }) } };
};
