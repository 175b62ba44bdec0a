// A card for each detector.

import { drawn, each, element, find, mark, say, sayIfAny, terms } from "./dom.js";
import { count, figure, minute, moment, share, short } from "./words.js";

const MINUTES = 60;
const STEP = 4;
const REJECTS_HEIGHT = 32;
const IMAGES_HEIGHT = 14;

/** @param at the service's time */
export function showDetectors(report, at) {
  const section = find("#detectors");
  find(".empty", section).hidden = report.detectors.length > 0;
  each(find(".cards", section), report.detectors, ({ name }) => name, made, (card, detector) => {
    update(card, detector, since(report, detector), at);
  });
}

function made({ name }) {
  const card = element("li", "card");
  card.id = `detector-${name}`;
  const head = element("div", "head", element("h3", "", name), element("span", "presence"));
  const chart = element("figure", "trend", drawn("svg", {
    viewBox: `0 0 ${MINUTES * STEP} ${REJECTS_HEIGHT + IMAGES_HEIGHT}`, preserveAspectRatio: "none", role: "img",
  }), element("figcaption", "", element("span", "rejects"), element("span", "images")));
  chart.firstChild.append(drawn("path", { class: "rejects" }), drawn("path", { class: "images" }));
  card.append(head, element("p", "alert trouble"), element("p", "judges"), element("p", "model"), chart, element("dl"), element("p", "kept"));
  return card;
}

function update(card, detector, deployment, at) {
  const { connected, status } = detector;
  mark(card, "class", connected ? "card" : "card away");
  say(find(".presence", card), connected ? "here" : gone(detector, at));
  sayIfAny(find(".trouble", card), status?.trouble ?? "");
  say(find(".judges", card), status?.brand ? `Brand ${status.brand}` : "No brand runs");
  say(find(".model", card), model(status, deployment));
  drawTrend(find(".trend", card), detector.trend, at);
  terms(find("dl", card), [
    ["a second", status && connected ? figure(status.per_second) : "–"],
    ["99 % within", status?.images ? `${figure(status.p99_ms)} ms` : "–"],
    ["rejected", status ? share(status.rejects, status.images) : "–"],
    ["images", status ? count(status.images) : "–"],
    ["rejects", status ? count(status.rejects) : "–"],
    ["errors", status ? count(status.errors) : "–", status?.errors ? "bad" : ""],
  ]);
  const kept = `${count(detector.recorded)} recorded here`;
  say(find(".kept", card), status ? `${kept}, ${count(status.backlog)} yet to be sent` : kept);
}

function gone({ away_seconds: seconds, status }, at) {
  const left = minute(new Date(at.getTime() - seconds * 1000));
  return status ? `away since ${left}` : `not seen since ${left}`;
}

function model(status, deployment) {
  if (!status) return "Model not known";
  if (!status.model) return "No model: nothing is judged";
  const known = `Model ${short(status.model)}`;
  return deployment ? `${known}, ${deployment.name}, since ${moment(new Date(deployment.begun_at))} (${deployment.id})` : known;
}

/** The deployment by which a detector came to what it judges by now, as far as it is known here. */
function since(report, { name, status }) {
  const brought = ({ brand, sha256, detectors }) =>
    brand === status.brand && sha256 === status.model &&
    (["watching", "serving"].includes(detectors[name]?.state?.phase) || detectors[name]?.outcome?.state === "serving");
  return status ? report.deployments.findLast(brought) : undefined;
}

/** Rejects of each minute upwards, images of each minute downwards: the newest minute is on the right. */
function drawTrend(chart, trend, at) {
  const last = Math.floor(at.getTime() / 60000) * 60;
  const shown = trend.filter((minute) => minute.at > last - MINUTES * 60);
  const most = (name) => Math.max(0, ...shown.map((minute) => minute[name]));
  const [rejects, images] = [most("rejects"), most("images")];
  const bars = (name, height, top) => shown.map((minute) => {
    const left = (MINUTES - 1 - (last - minute.at) / 60) * STEP;
    const long = minute[name] ? Math.max(1, height * minute[name] / most(name)) : 0;
    return `M${left} ${REJECTS_HEIGHT}h${STEP - 1}v${top ? -long : long}h${1 - STEP}z`;
  }).join("");
  mark(find("path.rejects", chart), "d", bars("rejects", REJECTS_HEIGHT - 1, true));
  mark(find("path.images", chart), "d", bars("images", IMAGES_HEIGHT - 1, false));
  say(find("span.rejects", chart), `rejects ≤ ${count(rejects)}/min`);
  say(find("span.images", chart), `images ≤ ${count(images)}/min`);
  const sum = (name) => count(shown.reduce((total, minute) => total + minute[name], 0));
  mark(find("svg", chart), "aria-label", `In the last hour ${sum("rejects")} rejects of ${sum("images")} images`);
}
