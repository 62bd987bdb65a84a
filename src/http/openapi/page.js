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
  if (found.anyOf) return found.anyOf.map((one) => shown(api, one)).join(" or ");
  if (found.enum) return found.enum.join(" | ");
  if (found.type === "array") return `array of ${shown(api, found.items ?? {})}`;
  if (found.additionalProperties?.type || found.additionalProperties?.$ref) {
    return `object of ${shown(api, found.additionalProperties)}`;
  }
  return found.name || found.format || [found.type].flat().filter(Boolean).join(" or ") || "any";
};

const row = (table, cells) => {
  const line = table.insertRow();
  for (const [index, cell] of cells.entries()) {
    const place = line.insertCell();
    if (index === 0) place.append(make("code", cell));
    else place.textContent = cell;
    if (index > 1) place.className = "note";
  }
};

const fields = (api, schema, word) => {
  let found = resolve(api, schema);
  if (found.type === "array" && found.items) found = resolve(api, found.items);
  if (!found.properties) return make("p", shown(api, schema));
  const table = make("table");
  for (const [name, one] of Object.entries(found.properties)) {
    row(table, [name, shown(api, one), found.required?.includes(name) ? word : ""]);
  }
  return table;
};

// The named shapes with fields that a schema is made of, each once.
const within = (api, schema, found = new Map()) => {
  const { anyOf, properties, items, additionalProperties } = resolve(api, schema);
  for (const one of [...(anyOf ?? []), ...Object.values(properties ?? {}), items, additionalProperties]) {
    if (!one || typeof one !== "object") continue;
    const part = resolve(api, one);
    if (found.has(part.name)) continue;
    if (part.name && part.properties) found.set(part.name, one);
    within(api, one, found);
  }
  return found;
};

// A schema's fields, and below them those of the shapes that it is made of.
const shape = (api, schema, word) => {
  const top = schema.type === "array" ? schema.items : schema;
  const parts = within(api, top);
  parts.delete(resolve(api, top).name);
  const tables = [...parts].flatMap(([name, one]) => [make("h4", name), fields(api, one, word)]);
  return [fields(api, schema, word), ...tables];
};

const parameters = (api, list) => {
  const table = make("table");
  for (const one of list) row(table, [one.name, shown(api, one.schema), one.description ?? `in the ${one.in}`]);
  return table;
};

const pretty = (text) => {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
};

const attempt = (method, path, operation) => {
  const form = make("form");
  const inputs = (operation.parameters ?? []).map((parameter) => {
    const label = make("label", parameter.name);
    const example = parameter.schema?.examples?.[0] ?? parameter.schema?.default ?? "";
    const input = make("input", undefined, { name: parameter.name, placeholder: example });
    label.append(input);
    return { parameter, input, label };
  });
  if (inputs.length > 0) {
    const together = make("div", undefined, { class: "fields" });
    together.append(...inputs.map((one) => one.label));
    form.append(together);
  }
  const media = operation.requestBody?.content["application/json"];
  const body = media && make("textarea", JSON.stringify(media.example ?? {}, null, 2), { "aria-label": "Body" });
  if (body) form.append(body);
  const answer = make("pre", "", { "aria-live": "polite" });
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
    const token = document.getElementById("token").value.trim();
    const headers = token && operation.security.length > 0 ? { Authorization: `Bearer ${token}` } : {};
    answer.textContent = "…";
    try {
      const response = await fetch(target, { method: method.toUpperCase(), headers, body: body?.value });
      answer.textContent = `${response.status} ${target}\n\n${pretty(await response.text())}`;
    } catch (error) {
      answer.textContent = String(error);
    }
  });
  return form;
};

// Text with `code` in it.
const prose = (name, text, attributes) => {
  const element = make(name, undefined, attributes);
  for (const [index, piece] of text.split("`").entries()) element.append(index % 2 ? make("code", piece) : piece);
  return element;
};

const title = (name) => name[0].toUpperCase() + name.slice(1);

const anchor = (name) => `section-${name.replaceAll(" ", "-")}`;

const part = (title, ...content) => [make("h3", title), ...content];

const inside = (api, method, path, operation) => {
  const body = make("div", undefined, { class: "body" });
  if (operation.parameters?.length) body.append(...part("Parameters", parameters(api, operation.parameters)));
  const media = operation.requestBody?.content["application/json"];
  if (media) body.append(...part("Body", ...shape(api, media.schema, "required")));
  const success = Object.entries(operation.responses).find(([status, one]) => status < 300 && one.content)?.[1].content;
  for (const [kind, one] of Object.entries(success ?? {})) {
    const isJson = kind === "application/json";
    body.append(...part("Answer", ...(isJson ? shape(api, one.schema, "always") : [make("p", kind)])));
  }
  const statuses = make("table");
  for (const [status, one] of Object.entries(operation.responses)) row(statuses, [status, one.description]);
  body.append(...part("Statuses", statuses));
  if (!operation.responses["101"]) body.append(...part("Try it", attempt(method, path, operation)));
  return body;
};

const show = (api, method, path, operation) => {
  const id = operation.operationId;
  const details = make("details", undefined, { id, "data-text": `${method} ${path} ${operation.summary}`.toLowerCase() });
  const summary = make("summary");
  const credentials = operation.security.map((one) => Object.keys(one).join("")).join(" or ");
  summary.append(
    make("span", method.toUpperCase(), { class: `method ${method}` }),
    make("code", path),
    prose("span", operation.summary, { class: "what" }),
    make("span", credentials || "public", { class: "lock" }),
  );
  details.append(summary);
  details.addEventListener("toggle", () => {
    if (details.open && details.childElementCount === 1) details.append(inside(api, method, path, operation));
  });
  return details;
};

const filterBy = (text) => {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  for (const section of document.querySelectorAll("section")) {
    let left = 0;
    for (const one of section.querySelectorAll("details")) {
      one.hidden = !words.every((word) => one.dataset.text.includes(word));
      left += one.hidden ? 0 : 1;
    }
    section.hidden = left === 0;
  }
};

const main = async () => {
  const place = document.getElementById("operations");
  const api = await (await fetch("/v1/openapi.json")).json();
  const sections = new Map();
  for (const { name, description } of api.tags ?? []) {
    const section = make("section", undefined, { id: anchor(name) });
    section.append(make("h2", title(name)), prose("p", description, { class: "about" }));
    sections.set(name, section);
  }
  for (const [path, item] of Object.entries(api.paths)) {
    for (const [method, operation] of Object.entries(item)) {
      const name = operation.tags[0] ?? "other";
      if (!sections.has(name)) {
        const section = make("section", undefined, { id: anchor(name) });
        section.append(make("h2", title(name)));
        sections.set(name, section);
      }
      sections.get(name).append(show(api, method, path, operation));
    }
  }
  place.replaceChildren(prose("p", api.info.description, { class: "about" }), ...sections.values());
  place.removeAttribute("aria-busy");
  for (const [name, section] of sections) {
    const link = make("a", title(name), { href: `#${anchor(name)}` });
    link.append(make("span", String(section.querySelectorAll("details").length)));
    document.getElementById("sections").append(link);
  }
  document.getElementById("filter").addEventListener("input", (event) => filterBy(event.target.value));
  const wanted = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (wanted) {
    if (wanted.localName === "details") wanted.open = true;
    wanted.scrollIntoView();
  }
};

main().catch((error) => {
  document.getElementById("operations").textContent = `The document cannot be read: ${error}`;
});
