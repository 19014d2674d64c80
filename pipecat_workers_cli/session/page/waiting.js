// Waits that have a limit, for whatever opens a call.

/** Settles as `promise`, or rejects with `late()` after `ms`. */
export function within(promise, ms, late) {
  let timer;
  const limit = new Promise((_, reject) => {
    timer = setTimeout(() => reject(late()), ms);
  });
  return Promise.race([promise, limit]).finally(() => clearTimeout(timer));
}

/** Asks the server, with the page token; an answer that is late or none at all throws. */
export function ask(path, token, ms, options) {
  const headers = { "Content-Type": "application/json" };
  if (token) headers.Authorization = `Bearer ${token}`;
  const signal = AbortSignal.timeout(ms);
  return fetch(new URL(path, document.baseURI), { headers, signal, ...options });
}
