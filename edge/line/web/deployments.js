// Deployments under way, and the last ones: at each detector the transfer in bytes, and the loading in steps.

import { each, element, find, mark, say, sayIfAny } from "./dom.js";
import { isOver } from "./glance.js";
import { count, duration, figure, moment, named, share, short, size } from "./words.js";

const FEW = 5;

const PHASES = {
  turn: "waits for its turn",
  away: "away: gets it when it is back",
  asked: "was asked",
  waiting: "was asked",
  transferring: "fetches it",
  loading: "loads it",
  watching: "judges by it, is watched",
  serving: "judges by it",
  failed: "failed",
  "rolled-back": "rolled back",
  unreachable: "was not reached",
  skipped: "left out",
};
const IDLE = ["turn", "away", "asked", "waiting", "unreachable", "skipped"];
const BAD = ["failed", "rolled-back", "unreachable"];

let all = false;

export function showDeployments(report) {
  const section = find("#deployments");
  const newestFirst = [...report.deployments].reverse();
  const shown = newestFirst.filter((deployment, place) => all || place < FEW || !isOver(deployment));
  find(".empty", section).hidden = newestFirst.length > 0;
  each(find(".list", section), shown, ({ id }) => id, made, update);
  const more = find(".more", section);
  const left = newestFirst.length - shown.length;
  sayIfAny(more, left ? `Show ${left} earlier` : "");
  more.onclick = () => {
    all = true;
    showDeployments(report);
  };
}

function made(deployment) {
  const title = element("span", "title", element("b"), " ", element("span", "model"));
  const summary = element("summary", "", title, element("span", "of"), element("span", "when"), element("span", "why"));
  const box = element("details", "deployment", summary, element("ul", "parts"));
  box.open = !isOver(deployment);
  return box;
}

function update(box, deployment) {
  const parts = Object.entries(deployment.detectors).map(([name, part]) => ({ name, part, phase: phaseOf(part) }));
  const judging = parts.filter(({ phase }) => phase === "watching" || phase === "serving").length;
  const bad = parts.filter(({ phase }) => BAD.includes(phase));
  const over = isOver(deployment);
  mark(box, "class", `deployment ${over ? (bad.length ? "bad" : "done") : "underway"}`);
  say(find("b", box), deployment.brand);
  say(find(".model", box), `${deployment.name} ${short(deployment.sha256)}`);
  const verb = over ? "" : deployment.stopped ? ", stopped" : ", under way";
  say(find(".of", box), `${judging} of ${parts.length} judge by it${verb}`);
  say(find(".when", box), `${moment(new Date(deployment.begun_at))} · ${deployment.id}`);
  const first = bad[0];
  const others = bad.length > 1 ? ` (and ${bad.length - 1} more)` : "";
  sayIfAny(find(".why", box), first ? `${named(first.name)} ${PHASES[first.phase]}${because(first.part)}${others}` : "");
  each(find(".parts", box), parts, ({ name }) => name, madePart, (row, one) => updatePart(row, one, deployment));
}

function phaseOf({ given, connected, state, outcome }) {
  // What the detector says itself is newer than what was concluded of it, or is the reason of that.
  if (state && ["failed", "rolled-back", "watching", "serving"].includes(state.phase)) return state.phase;
  if (outcome) return outcome.state;
  if (!given) return "turn";
  if (!connected) return "away";
  return state ? state.phase : "asked";
}

const because = ({ state, outcome }) => {
  const reason = outcome?.reason || state?.reason;
  return reason ? `: ${reason}` : "";
};

function madePart({ name }) {
  const who = element("div", "who", element("b", "", named(name)), " ", element("span", "tag"));
  return element("li", "", who, element("div", "phase"), bar("transfer"), bar("loading"), element("div", "note"));
}

function bar(name) {
  const track = element("div", "track", element("i"));
  mark(track, "role", "progressbar");
  mark(track, "aria-label", name);
  return element("div", `stream ${name}`, track, element("span"));
}

function updatePart(row, { part, phase }, deployment) {
  const { state } = part;
  sayIfAny(find(".tag", row), part.canary ? "canary" : "");
  // Where nothing came of it yet there is nothing to draw, unless it was on its way.
  const idle = IDLE.includes(phase) && !state?.transferred;
  mark(row, "class", [BAD.includes(phase) ? "bad" : phase, idle ? "idle" : ""].join(" ").trim());
  say(find(".phase", row), PHASES[phase]);

  const judges = phase === "watching" || phase === "serving";
  const here = judges || phase === "loading";
  const total = state?.transfer_total || deployment.size;
  const came = here ? total : (state?.transferred ?? 0);
  const took = state?.transfer_seconds ? ` in ${duration(state.transfer_seconds)}` : "";
  const bytes = came >= total ? `${size(total)}${took}` : came ? `${size(came)} of ${size(total)}` : "transfer";
  progress(find(".transfer", row), came, total, bytes);

  const steps = state?.load_total || 1;
  const done = judges ? steps : Math.min(state?.loaded ?? 0, steps);
  const loadTook = state?.load_seconds ? ` in ${duration(state.load_seconds)}` : "";
  const loading = judges ? `loaded${loadTook}` : done || phase === "loading" ? `step ${done} of ${steps}` : "loading";
  progress(find(".loading", row), done, steps, loading);

  say(find(".note", row), notes(part).join(" · "));
}

function progress(stream, done, whole, text) {
  const track = stream.firstChild;
  mark(track, "aria-valuemin", 0);
  mark(track, "aria-valuemax", whole);
  mark(track, "aria-valuenow", done);
  mark(track, "aria-valuetext", text);
  track.firstChild.style.width = `${whole ? (100 * done) / whole : 0}%`;
  track.classList.toggle("begun", done > 0);
  say(stream.lastChild, text);
}

function notes({ state, outcome }) {
  const found = [];
  const reason = outcome?.reason || state?.reason;
  if (reason) found.push(reason);
  if (state?.swap_gap_ms) found.push(`longest pause ${figure(state.swap_gap_ms)} ms`);
  if (state?.images) {
    const rejected = share(state.reject_rate, 1);
    const failed = state.error_rate ? `, ${share(state.error_rate, 1)} errors` : "";
    found.push(`${count(state.images)} images watched, ${rejected} rejected${failed}`);
  }
  return found;
}
