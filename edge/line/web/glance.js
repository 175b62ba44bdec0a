// The line at a glance: a few figures, and what a person should look after.

import { each, element, find, mark, say } from "./dom.js";
import { count, duration, figure, named, share } from "./words.js";

const NOW_SECONDS = 5 * 60;

/** What a person should look after: who, and what it is. */
export function troubles(report) {
  const found = report.trouble ? [{ who: "edge server", what: report.trouble, link: "" }] : [];
  for (const detector of report.detectors) {
    const link = `#detector-${detector.name}`;
    if (!detector.connected) found.push({ who: detector.name, what: `has ${detector.status ? "been away" : "not been seen"} for ${duration(detector.away_seconds)}`, link });
    else if (detector.status?.trouble) found.push({ who: detector.name, what: detector.status.trouble, link });
  }
  return found;
}

/** @param at the service's time */
export function showGlance(report, at) {
  const here = report.detectors.filter((detector) => detector.connected);
  const away = report.detectors.length - here.length;
  const since = at.getTime() / 1000 - NOW_SECONDS;
  const minutes = report.detectors.flatMap((detector) => detector.trend).filter((minute) => minute.at >= since);
  const sum = (name) => minutes.reduce((total, minute) => total + minute[name], 0);
  const [images, rejects] = [sum("images"), sum("rejects")];
  const brands = [...new Set(here.map((detector) => detector.status?.brand).filter(Boolean))].sort();
  const underWay = report.deployments.filter((deployment) => !isOver(deployment)).length;
  const rate = here.reduce((total, detector) => total + (detector.status?.per_second ?? 0), 0);

  each(
    find("#glance .figures"),
    [
      ["Detectors here", `${here.length} of ${report.detectors.length}`, away ? `${away} away` : "", away ? "bad" : ""],
      ["Images a second", figure(rate), ""],
      ["Rejected now", share(rejects, images), images ? `${count(rejects)} of ${count(images)} in 5 minutes` : ""],
      ["Brand", brands.length > 2 ? `${brands.length} brands` : brands.join(", ") || "none", ""],
      ["Deployments under way", String(underWay), ""],
    ],
    ([name]) => name,
    ([name]) => element("li", "", element("span", "", name), element("b"), element("span")),
    ({ children: [, number, remark] }, [, text, more, className]) => {
      say(number, text);
      mark(number, "class", className || null);
      say(remark, more);
    },
  );
  const found = troubles(report);
  each(
    find("#glance .troubles"),
    found,
    ({ who, link }) => who + link,
    ({ who, link }) => {
      const name = element(link ? "a" : "b", "who", named(who));
      if (link) name.href = link;
      return element("li", "", name, " ", element("span"));
    },
    (child, { what }) => say(child.lastChild, what),
  );
  document.title = found.length ? `(${found.length}) Production line` : "Production line";
}

export const isOver = (deployment) => Object.values(deployment.detectors).every((part) => part.outcome);
