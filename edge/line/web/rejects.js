// The newest rejected parts: pictures with their heat maps. New ones appear by themselves, unless somebody looks at the pictures:
// then they are announced, and come when asked for, so that nothing moves under a finger.

import { each, element, find, mark, say, sayIfAny, terms } from "./dom.js";
import { ask } from "./live.js";
import { count, figure, moment, score, short } from "./words.js";

const MOST = 500;
const STEP = 60;
const MOVED_MS = 3000;

const section = find("#rejects");
const gallery = find(".gallery", section);
const filter = find("#filter");
const fresh = find(".fresh", section);
const more = find(".more", section);
const dialog = find("#large");

let shown = [];
let waiting = null;
let limit = STEP;
let seen = "";
let opened = null;
let movedAt = -Infinity;

const keyOf = ({ detector, record }) => `${detector} ${record.id} ${record.taken_at}`;

/**
 * Bring the gallery up to date, if there may be other rejects than when it was last.
 *
 * @param at the service's time
 */
export async function showRejects(report, at) {
  const names = report.detectors.map(({ name }) => name);
  each(filter, ["", ...names, ...(filter.value && !names.includes(filter.value) ? [filter.value] : [])], String, (name) => {
    const option = element("option", "", name || "all detectors");
    option.value = name;
    return option;
  }, () => {});
  // Where as many are removed as come, their number says nothing: so each minute it is asked in any case.
  const counts = report.detectors.map(({ name, recorded, status }) => `${name} ${recorded} ${status?.rejects}`);
  const stand = [Math.floor(at.getTime() / 60_000), ...counts].join();
  if (waiting && !isLookedAt()) put(waiting);
  if (stand !== seen && (await load())) seen = stand;
}

/**
 * @param asked somebody asked for it: it is shown at once
 * @returns whether the service answered; where it did not, it is asked again with the next news of the line
 */
async function load(asked = false) {
  const chosen = filter.value;
  let said;
  try {
    ({ said } = await ask(`api/rejects?detector=${encodeURIComponent(chosen)}&limit=${limit}`));
  } catch {
    seen = "";
    return false;
  }
  if (chosen !== filter.value) return true; // Another answer is on its way.
  const known = new Set(shown.map(keyOf));
  const others = said.filter((reject) => !known.has(keyOf(reject))).length;
  if (asked || !shown.length || !others || !isLookedAt()) put(said, asked || !shown.length ? "" : "new");
  else announce(said, others);
  return true;
}

function isLookedAt() {
  const scrolledInto = gallery.getBoundingClientRect().top < 0;
  return scrolledInto || dialog.open || find(":focus-visible", gallery) || performance.now() - movedAt < MOVED_MS;
}

function announce(rejects, others) {
  waiting = rejects;
  sayIfAny(fresh, `${count(others)} new ${others === 1 ? "reject" : "rejects"}`);
}

function put(rejects, className = "new") {
  shown = rejects;
  waiting = null;
  sayIfAny(fresh, "");
  each(gallery, rejects, keyOf, (reject) => made(reject, className), () => {});
  const whose = filter.value ? ` of ${filter.value}` : "";
  sayIfAny(find(".empty", section), rejects.length ? "" : `No rejected part${whose} is recorded.`);
  more.hidden = rejects.length < limit || limit >= MOST;
}

function made(reject, className) {
  const { detector, record } = reject;
  const open = element("button", "reject", picture(reject, true));
  open.type = "button";
  open.append(
    element("span", "line", element("b", "", detector)),
    element("span", "line", element("span", "defect", record.defect || "rejected"), element("span", "score", scored(record))),
    element("span", "line", element("time", "", moment(new Date(record.taken_at)))),
  );
  open.onclick = () => enlarge(reject);
  return element("li", className, open);
}

/** The picture of a part, and its heat map over it: small ones are fetched when they come into sight. */
function picture({ detector, heat, record }, lazy, withHeat = heat) {
  const stack = element("span", "stack");
  const image = (path, className, told) => {
    const made = element("img", className);
    made.alt = told;
    made.decoding = "async";
    if (lazy) made.loading = "lazy";
    made.onerror = () => stack.classList.add("missing");
    made.src = path;
    stack.append(made);
    return made;
  };
  const part = image(`api/images/${record.image_sha256}`, "part", `Part rejected by ${detector}`);
  part.onload = () => {
    stack.style.aspectRatio = `${part.naturalWidth} / ${part.naturalHeight}`;
    stack.classList.toggle("tall", part.naturalHeight > part.naturalWidth);
  };
  if (withHeat) image(`api/heat/${record.image_sha256}/${record.model}`, "heat", "Heat map: bright is where it differs");
  return element("span", "frame", stack);
}

const scored = ({ score: found, threshold }) =>
  found === null ? "" : threshold === null ? score(found) : `${score(found)} > ${score(threshold)}`;

function enlarge(reject) {
  opened = keyOf(reject);
  const { detector, heat, record } = reject;
  say(find("h2", dialog), `${record.defect || "Rejected"}, by ${detector}`);
  const views = [element("figure", "", picture(reject, false, false), element("figcaption", "", "Picture"))];
  if (heat) views.push(element("figure", "hot", picture(reject, false), element("figcaption", "", "Heat map over it")));
  find(".views", dialog).replaceChildren(...views);
  terms(find(".known", dialog), [
    ["taken", moment(new Date(record.taken_at))],
    ["score", record.score === null ? "–" : score(record.score)],
    ["rejected above", record.threshold === null ? "–" : score(record.threshold)],
    ["defect", record.defect || "not named"],
    ["brand", record.brand || "–"],
    ["model", record.model ? short(record.model) : "–"],
    ["judged in", `${figure(record.ms)} ms`],
    ["encoder", count(record.tick)],
    ["labelled", record.label || "–"],
  ]);
  const file = find(".file", dialog);
  file.href = `api/images/${record.image_sha256}`;
  file.download = `${detector}-${record.id}.png`;
  const place = shown.findIndex((other) => keyOf(other) === opened);
  find(".newer", dialog).disabled = place <= 0;
  find(".older", dialog).disabled = place < 0 || place === shown.length - 1;
  if (!dialog.open) dialog.showModal();
}

function step(by) {
  const next = shown[shown.findIndex((other) => keyOf(other) === opened) + by];
  if (next) enlarge(next);
}

filter.onchange = () => {
  limit = STEP;
  load(true);
};
more.onclick = () => {
  limit = Math.min(MOST, limit + 2 * STEP);
  load(true);
};
fresh.onclick = () => {
  put(waiting);
  section.scrollIntoView();
};
gallery.onpointermove = () => {
  movedAt = performance.now();
};
find("#heat").onchange = ({ target }) => gallery.classList.toggle("hot", target.checked);
find(".newer", dialog).onclick = () => step(-1);
find(".older", dialog).onclick = () => step(1);
dialog.onkeydown = ({ key }) => {
  if (key === "ArrowLeft") step(-1);
  if (key === "ArrowRight") step(1);
};
dialog.onclick = ({ target }) => {
  if (target === dialog) dialog.close();
};
