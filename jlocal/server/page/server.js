// What the server is doing: models, queue, rate.

let polling = 0;
let last = null; // the totals of the serverStatus before, and its time
let rate = { texts: 0, tokens: 0 };
let serverStatus = null;

async function readStatus() {
  clearTimeout(polling);
  if (!document.hidden) {
    try {
      serverStatus = await ask("status");
      const now = { time: performance.now(), texts: serverStatus.texts, tokens: serverStatus.tokens };
      if (last && now.texts >= last.texts) {
        const seconds = Math.max((now.time - last.time) / 1000, 0.001);
        rate = { texts: (now.texts - last.texts) / seconds, tokens: (now.tokens - last.tokens) / seconds };
      }
      last = now;
    } catch {
      serverStatus = null;
      last = null;
    }
    showStatus();
  }
  polling = setTimeout(readStatus, element("server").open ? 1000 : 5000);
}

function showStatus() {
  const waits = serverStatus ? serverStatus.models.reduce((sum, model) => sum + model.queued_inputs, 0) : 0;
  const pulse = element("pulse");
  pulse.className = serverStatus ? (waits || rate.texts > 0 ? "busy" : "ready") : "away";
  element("to-server").setAttribute("aria-label", `Server: ${pulse.className}`);
  if (element("server").open) fillServer(waits);
}

function fillServer(waits) {
  const title = make("h2", "", "Server");
  title.id = "server-title";
  const shown = make("div", "", "");
  const parts = [title];
  if (!serverStatus) {
    parts.push(make("p", "wrong", "It does not answer. It may have been stopped."));
  } else {
    parts.push(make("p", "", `jlocal ${plain(serverStatus.version)}`));
    const facts = make("dl", "facts", "");
    const fact = (name, value) => facts.append(make("dt", "", name), make("dd", "", value));
    const both = (amount) =>
      `${counted(Math.round(amount.texts), "text")}, ${counted(Math.round(amount.tokens), "token")}`;
    fact("Waiting", waits ? counted(waits, "text") : "nothing");
    fact("Each second", both(rate));
    fact("Computed", both(serverStatus));
    const models = make("ul", "models", "");
    for (const model of serverStatus.models) {
      const item = make("li", model.loaded ? "loaded" : "", "");
      const about = [
        model.loaded ? "loaded" : "loaded when it is needed",
        `${format(model.dimensions)} dimensions`,
        `${format(model.context)} tokens`,
      ];
      if (model.queued_tokens) about.push(`${format(model.queued_tokens)} tokens wait`);
      item.append(make("bdi", "name", plain(model.id)), make("span", "about", about.join(" · ")));
      models.append(item);
    }
    parts.push(facts, make("h3", "", "Models"), models);
  }
  shown.append(...parts);
  element("server").firstChild.replaceWith(shown);
}

function openServer() {
  const close = action("Close", () => element("server").close());
  element("server").replaceChildren(make("div", "", ""), close);
  element("server").showModal();
  showStatus();
  readStatus();
}
element("to-server").addEventListener("click", openServer);
document.addEventListener("visibilitychange", readStatus);
