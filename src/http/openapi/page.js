// Shows the OpenAPI document: operations by section, their fields and errors, and a form to try each.
"use strict";

const make = (name, text, attributes = {}) => {
  const element = document.createElement(name);
  if (text !== undefined) element.textContent = text;
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
};

const resolve = (api, schema) => {
  const name = schema?.$ref?.split("/").pop();
  return name ? { name, ...api.components.schemas[name] } : (schema ?? {});
};

const shown = (api, schema) => {
  const found = resolve(api, schema);
  if (found.enum) return found.enum.join(" | ");
  if (found.type === "array") return `array of ${shown(api, found.items ?? {})}`;
  return found.name ?? found.format ?? [found.type].flat().filter(Boolean).join(" or ") ?? "any";
};

const fields = (api, schema) => {
  let found = resolve(api, schema);
  if (found.type === "array" && found.items) found = resolve(api, found.items);
  if (!found.properties) return make("p", shown(api, schema));
  const table = make("table");
  for (const [name, one] of Object.entries(found.properties)) {
    const row = table.insertRow();
    row.insertCell().append(make("code", name));
    row.insertCell().textContent = shown(api, one);
    row.insertCell().textContent = found.required?.includes(name) ? "always" : "";
  }
  return table;
};

const attempt = (method, path, operation) => {
  const form = make("form");
  form.append(make("h3", "Try it"));
  const inputs = (operation.parameters ?? []).map((parameter) => {
    const label = make("label", `${parameter.name} `);
    const input = make("input", undefined, { name: parameter.name });
    label.append(input);
    form.append(label, make("br"));
    return { parameter, input };
  });
  const media = operation.requestBody?.content["application/json"];
  const body = media && make("textarea", JSON.stringify(media.example ?? {}, null, 2), { "aria-label": "Body" });
  if (body) form.append(body);
  const token = operation.security.length
    ? make("input", undefined, { placeholder: "access token", "aria-label": "Access token" })
    : null;
  if (token) form.append(token);
  const answer = make("pre", "");
  form.append(make("button", "Send", { type: "submit" }), answer);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    let target = `/v1${path}`;
    const query = new URLSearchParams();
    for (const { parameter, input } of inputs) {
      if (parameter.in === "path") target = target.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
      else if (input.value) query.append(parameter.name, input.value);
    }
    if (query.size) target += `?${query}`;
    const headers = token?.value ? { Authorization: `Bearer ${token.value}` } : {};
    try {
      const response = await fetch(target, { method: method.toUpperCase(), headers, body: body?.value });
      const text = await response.text();
      let pretty = text;
      try {
        pretty = JSON.stringify(JSON.parse(text), null, 2);
      } catch {
        // Not JSON: shown as it came.
      }
      answer.textContent = `${response.status} ${target}\n${pretty}`;
    } catch (error) {
      answer.textContent = String(error);
    }
  });
  return form;
};

const show = (api, method, path, operation) => {
  const details = make("details", undefined, { "data-text": `${method} ${path} ${operation.summary}`.toLowerCase() });
  const summary = make("summary");
  summary.append(make("b", method.toUpperCase()), make("code", path), make("span", operation.summary));
  details.append(summary);
  details.addEventListener("toggle", () => {
    if (details.childElementCount > 1) return;
    const body = make("div", undefined, { class: "body" });
    const credentials = operation.security.map((one) => Object.keys(one).join("")).join(" or ");
    body.append(make("p", credentials ? `Needs: ${credentials}` : "Public"));
    const media = operation.requestBody?.content["application/json"];
    if (media) body.append(make("h3", "Body"), fields(api, media.schema));
    const success = operation.responses["200"]?.content?.["application/json"];
    if (success) body.append(make("h3", "Answer"), fields(api, success.schema));
    body.append(make("h3", "Statuses"));
    const table = make("table");
    for (const [status, one] of Object.entries(operation.responses)) {
      const row = table.insertRow();
      row.insertCell().textContent = status;
      row.insertCell().textContent = one.description;
    }
    body.append(table, attempt(method, path, operation));
    details.append(body);
  });
  return details;
};

const main = async () => {
  const place = document.getElementById("operations");
  const api = await (await fetch("/v1/openapi.json")).json();
  const sections = new Map();
  for (const [path, item] of Object.entries(api.paths)) {
    for (const [method, operation] of Object.entries(item)) {
      const name = operation.tags[0] ?? "other";
      if (!sections.has(name)) sections.set(name, make("section"));
      const section = sections.get(name);
      if (!section.childElementCount) section.append(make("h2", name));
      section.append(show(api, method, path, operation));
    }
  }
  place.replaceChildren(...sections.values());
  place.removeAttribute("aria-busy");
  document.getElementById("filter").addEventListener("input", (event) => {
    const words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const one of place.querySelectorAll("details")) {
      one.hidden = !words.every((word) => one.dataset.text.includes(word));
    }
  });
};

main().catch((error) => {
  document.getElementById("operations").textContent = `The document cannot be read: ${error}`;
});
