// Asking the server. Its key, if it has one, stays in this tab.

const KEY = "jlocal-key";

class Problem extends Error {
  constructor(status, error = {}) {
    super(error.message || `the server answers with status ${status}`);
    this.name = "Problem";
    this.status = status;
    this.parameter = error.param ?? null;
  }
}

/** Ask a route, and again once there is a key that the server accepts. */
async function ask(route, fields, signal) {
  for (;;) {
    const used = sessionStorage.getItem(KEY);
    const headers = { "Content-Type": "application/json" };
    if (used) headers.Authorization = `Bearer ${used}`;
    const request = fields
      ? { method: "POST", headers, signal, body: JSON.stringify(fields) }
      : { headers, signal };
    const response = await fetch(route, request);
    if (response.ok) return response.json();
    if (response.status !== 401) {
      const answer = await response.json().catch(() => ({}));
      throw new Problem(response.status, answer.error);
    }
    if (sessionStorage.getItem(KEY) === used) await askForKey(Boolean(used));
    signal?.throwIfAborted();
  }
}

let asking = null;

/** Ask the person for the key, once for all requests that wait for it. */
function askForKey(wasWrong) {
  asking ??= new Promise((resolve) => {
    const dialog = element("key");
    const field = make("input", "", "");
    field.type = "password";
    field.autocomplete = "current-password";
    field.id = "key-field";
    const label = make("label", "", "Key");
    label.htmlFor = field.id;
    const use = make("button", "primary", "Continue");
    use.type = "button";
    const title = make("h2", "", "This server asks for its key");
    title.id = "key-title";
    const note = wasWrong
      ? "This is not the key of this server."
      : "It was set where the server was started. It is kept in this tab until the tab is closed.";
    dialog.replaceChildren(title, make("p", wasWrong ? "wrong" : "", note), label, field, use);
    const done = () => {
      if (!field.value) return;
      sessionStorage.setItem(KEY, field.value);
      asking = null;
      dialog.close();
      resolve();
    };
    use.addEventListener("click", done);
    field.addEventListener("keydown", (event) => event.key === "Enter" && done());
    // Without a key the page can do nothing.
    dialog.oncancel = (event) => event.preventDefault();
    if (!dialog.open) dialog.showModal();
    field.focus();
  });
  return asking;
}
