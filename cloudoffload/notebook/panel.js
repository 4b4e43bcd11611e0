// The live panel: draws the `view` that Python formats. Text is only ever set as text, never parsed as HTML.

function node(parent, tag, attributes = {}, text = "") {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.textContent = text;
  parent.appendChild(element);
  return element;
}

function frame(el) {
  const root = node(el, "div", { class: "cloudoffload-panel", role: "group" });
  const head = node(root, "div");
  const title = node(head, "b", { class: "cloudoffload-title" });
  const status = node(head, "b", { role: "status" });
  const bar = node(root, "div", { class: "cloudoffload-bar", role: "progressbar", "aria-valuemin": "0", "aria-valuemax": "100" });
  const fill = node(bar, "div");
  const figures = node(root, "dl");
  const message = node(root, "div", { class: "cloudoffload-message" });
  const table = node(root, "table", { "aria-label": "Work by provider" });
  return { root, title, status, bar, fill, figures, message, table };
}

function draw(parts, view) {
  const percent = Math.round(100 * view.fraction);
  parts.root.setAttribute("aria-label", view.title);
  parts.title.textContent = view.title;
  parts.status.textContent = `${view.mark} ${view.status}`;
  parts.status.dataset.status = view.status;
  parts.bar.setAttribute("aria-valuenow", String(percent));
  parts.bar.setAttribute("aria-label", "units done");
  parts.fill.style.width = `${percent}%`;
  parts.message.textContent = view.message;
  parts.figures.replaceChildren();
  for (const [name, text] of view.figures) {
    const pair = node(parts.figures, "div");
    node(pair, "dt", {}, name);
    node(pair, "dd", {}, text);
  }
  drawProviders(parts.table, view.providers);
}

function drawProviders(table, providers) {
  table.replaceChildren();
  table.hidden = providers.length === 0;
  const head = node(node(table, "thead"), "tr");
  for (const text of ["provider", "units", "calls", "cost", "share of calls"]) node(head, "th", { scope: "col" }, text);
  const body = node(table, "tbody");
  providers.forEach(([name, units, calls, usd, share], place) => {
    const row = node(body, "tr");
    node(row, "th", { scope: "row" }, name);
    for (const text of [units, calls, usd]) node(row, "td", {}, text);
    if (share === null) return;
    const cell = node(row, "td", { class: "cloudoffload-share" });
    const mark = node(cell, "span", { class: "cloudoffload-mark", "aria-hidden": "true" });
    mark.dataset.place = String(place % 4);
    mark.style.width = `${share}%`;
    node(cell, "span", {}, `${share} %`);
  });
}

function render({ model, el }) {
  const parts = frame(el);
  const update = () => draw(parts, model.get("view"));
  model.on("change:view", update);
  update();
  return () => model.off("change:view", update);
}

export default { render };
