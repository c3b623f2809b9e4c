// The page at /: a search box, the chosen titles and the recommendations for them. The choices are kept only in
// this page's memory and are sent in the body of each request.

const K = 10;
const MATCHES = 8;
const PAUSE_MS = 120; // between the last key and the search
const RETRY_MS = 1000; // if the service is not ready yet, or busy

const element = (id) => document.getElementById(id);
const [search, matches, chosenList, recommendations] = ["search", "matches", "chosen", "recommendations"].map(element);

const chosen = new Map(); // item id -> title, in the order chosen
const unwanted = new Set(); // ids of items marked "Not for me"
let options = []; // items in the list of matches
let active = -1; // index of the match that Enter chooses
let token = "";
let shown = ""; // the version that the facts below are about
let timer = 0;
const running = new Map(); // kind of request -> the AbortController of the running one

// ---------------------------------------------------------------- requests to the service

/** Return the decoded response, or null after an error or if a newer request of the same kind replaced this one. */
async function ask(kind, path, body) {
  running.get(kind)?.abort();
  const controller = new AbortController();
  running.set(kind, controller);
  const headers = { accept: "application/json" };
  if (body) headers["content-type"] = "application/json";
  if (token) headers.authorization = `Bearer ${token}`;
  try {
    const reply = await fetch(path, {
      method: body ? "POST" : "GET",
      headers,
      body: body && JSON.stringify(body),
      signal: controller.signal,
    });
    const found = await reply.json();
    if (!reply.ok) {
      element("token-form").hidden = reply.status !== 401;
      if (reply.status === 503) setTimeout(refresh, RETRY_MS);
      throw new Error(found.detail ?? `The service answered with status ${reply.status}.`);
    }
    element("token-form").hidden = true;
    complain("");
    return found;
  } catch (error) {
    if (error.name !== "AbortError") {
      complain(error instanceof TypeError ? "The service cannot be reached." : error.message);
    }
    return null;
  } finally {
    if (running.get(kind) === controller) running.delete(kind);
  }
}

function complain(text) {
  const alert = element("alert");
  alert.textContent = text;
  alert.hidden = !text;
}

// ---------------------------------------------------------------- the search box

function close() {
  matches.hidden = true;
  search.setAttribute("aria-expanded", "false");
  mark(-1);
}

/** Make the match at this place the one that Enter chooses; -1 for none. */
function mark(place) {
  active = place;
  [...matches.children].forEach((option, number) => {
    option.setAttribute("aria-selected", String(number === place));
    if (number === place) option.scrollIntoView({ block: "nearest" });
  });
  if (place < 0) search.removeAttribute("aria-activedescendant");
  else search.setAttribute("aria-activedescendant", `match-${place}`);
}

async function look() {
  const query = search.value.trim();
  if (!query) {
    running.get("search")?.abort();
    close();
    return;
  }
  const found = await ask("search", `/v1/items?limit=${MATCHES}&query=${encodeURIComponent(query)}`);
  if (!found) return;
  options = found.items.filter((item) => !chosen.has(item.item_id));
  matches.replaceChildren(...options.map(option));
  matches.hidden = options.length === 0;
  search.setAttribute("aria-expanded", String(options.length > 0));
  mark(-1);
  announce(options.length ? `${count(options.length, "match", "matches")}; choose with the arrow keys.` : "No title matches.");
}

function option(item, place) {
  const line = node("li", item.title);
  line.id = `match-${place}`;
  line.setAttribute("role", "option");
  line.setAttribute("aria-selected", "false");
  if (item.features.length) line.append(node("small", words(item.features)));
  // pointerdown comes before the search box loses the focus, a click comes after.
  line.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    take(item);
  });
  return line;
}

function take(item) {
  close();
  search.value = "";
  choose(item);
}

search.addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(look, PAUSE_MS);
});
search.addEventListener("blur", close);
search.addEventListener("keydown", (event) => {
  const open = !matches.hidden;
  const last = options.length - 1;
  if (event.key === "ArrowDown") {
    if (open) mark(active < last ? active + 1 : 0);
    else look();
  } else if (event.key === "ArrowUp" && open) mark(active > 0 ? active - 1 : last);
  else if (event.key === "Enter" && open) take(options[Math.max(active, 0)]);
  else if (event.key === "Escape") {
    if (open) close();
    else search.value = "";
  } else return;
  event.preventDefault();
});

// ---------------------------------------------------------------- the chosen titles

function choose(item) {
  chosen.set(item.item_id, item.title);
  unwanted.delete(item.item_id);
  refresh();
}

function showChosen() {
  chosenList.replaceChildren(
    ...[...chosen].map(([itemId, title]) => {
      const line = node("li", title);
      line.append(
        button("Remove", `Remove ${title}`, () => {
          chosen.delete(itemId);
          search.focus();
          refresh();
        }),
      );
      return line;
    }),
  );
  element("nothing-chosen").hidden = chosen.size > 0;
  element("clear").hidden = chosen.size === 0;
  element("recommendations-heading").textContent = chosen.size ? "For you" : "Popular";
}

element("clear").addEventListener("click", () => {
  chosen.clear();
  unwanted.clear();
  search.focus();
  refresh();
});
element("diversity").addEventListener("input", refresh);

// ---------------------------------------------------------------- the recommendations

async function refresh() {
  showChosen();
  const answer = await ask("recommendations", "/v1/recommendations", {
    history: [...chosen.keys()].map((itemId) => ({ item_id: itemId })),
    exclude: [...unwanted],
    k: K,
    diversity: Number(element("diversity").value),
  });
  if (!answer) return;
  const focused = document.activeElement?.closest("#recommendations");
  recommendations.replaceChildren(...answer.recommendations.map(recommended));
  // The focused button no longer exists, so the list gets the focus.
  if (focused) recommendations.focus();
  const titles = count(answer.recommendations.length, "recommendation", "recommendations");
  const known = chosen.size - answer.unknown.length;
  announce(known ? `${titles} for ${count(known, "title", "titles")}.` : `${titles} of popular titles.`);
  showUnknown(answer.unknown);
  showModel(answer.model);
}

/** Name the chosen titles that the version does not know. */
function showUnknown(itemIds) {
  const left = itemIds.map((itemId) => chosen.get(itemId) ?? itemId);
  element("unknown").textContent = left.length ? `Not in this version, so left out: ${left.join("; ")}.` : "";
  element("unknown").hidden = left.length === 0;
}

function recommended(item) {
  const line = node("li");
  line.append(node("h3", item.title));
  const actions = node("div");
  actions.className = "actions";
  actions.append(
    button("Like", `I like ${item.title}`, () => choose(item)),
    button("Not for me", `${item.title} is not for me`, () => {
      unwanted.add(item.item_id);
      refresh();
    }),
  );
  line.append(actions);
  if (item.reasons.length) {
    const reasons = node("ul");
    reasons.className = "reasons";
    reasons.setAttribute("aria-label", `Why ${item.title}`);
    reasons.append(...item.reasons.map(reason));
    line.append(reasons);
  }
  return line;
}

const KINDS = { popularity: "its popularity", other: "everything else" };

function reason({ kind, title, share }) {
  const bar = node("div");
  bar.className = "bar";
  bar.setAttribute("aria-hidden", "true");
  const filled = node("span");
  filled.style.width = `${100 * share}%`; // the content security policy allows it through the object model
  bar.append(filled);
  const line = node("li");
  const percent = share < 0.01 ? "under 1" : Math.round(100 * share);
  line.append(bar, node("span", `${percent} % ${KINDS[kind] ?? title}`));
  return line;
}

// ---------------------------------------------------------------- the model that answered

async function showModel(model) {
  element("model").textContent = `version ${model.version} (round ${model.round}, ${model.sha256.slice(0, 12)})`;
  if (`${model.version} ${model.sha256}` === shown) return;
  const facts = await ask("model", "/v1/model");
  if (!facts) return;
  shown = `${facts.version} ${facts.sha256}`;
  const entries = {
    Model: facts.model_name,
    Version: `${facts.version}, round ${facts.round} of job ${facts.job_id}`,
    "SHA-256": facts.sha256,
    Items: `${facts.items} of ${facts.dims} dims`,
    Committed: facts.committed_at,
    "Decided by": facts.decided_by && `${facts.decided_by}, ${facts.decided_at}`,
    Reason: facts.reason,
    Privacy: facts.privacy && `epsilon ${facts.privacy.epsilon}, delta ${facts.privacy.delta} for each ${facts.privacy.unit}`,
    "Ledger entry": facts.ledger_entry,
  };
  const present = Object.entries(entries).filter(([, value]) => value !== null && value !== undefined && value !== "");
  element("facts").replaceChildren(...present.flatMap(([name, value]) => [node("dt", name), node("dd", value)]));
  element("gates").hidden = facts.gates.length === 0;
  element("gates").tBodies[0].replaceChildren(
    ...facts.gates.map((gate) => {
      const row = node("tr");
      row.append(node("td", gate.gate), node("td", gate.required), node("td", gate.observed));
      return row;
    }),
  );
}

element("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  token = element("token").value.trim();
  refresh();
});

// ---------------------------------------------------------------- helpers

function node(name, text) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  return made;
}

function button(text, label, onClick) {
  const made = node("button", text);
  made.type = "button";
  made.setAttribute("aria-label", label);
  made.addEventListener("click", onClick);
  return made;
}

function announce(text) {
  element("status").textContent = text;
}

function count(number, one, many) {
  return `${number} ${number === 1 ? one : many}`;
}

/** Return "Comedy, 1995" for "genres:Comedy" and "year:1995". */
function words(features) {
  return features.map((feature) => feature.slice(feature.indexOf(":") + 1)).join(", ");
}

refresh();
