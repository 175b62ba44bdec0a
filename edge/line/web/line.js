// The page of a production line: what its service says, as it says it.

import { showDeployments } from "./deployments.js";
import { showDetectors } from "./detectors.js";
import { find, mark, say, sayIfAny } from "./dom.js";
import { showGlance } from "./glance.js";
import { follow } from "./live.js";
import { showRejects } from "./rejects.js";
import { duration, moment } from "./words.js";

let heardAt = null;
let firstVersion = null;

function sayWhen() {
  say(find("#heard"), heardAt ? `heard ${duration(Math.round((Date.now() - heardAt) / 1000))} ago` : "");
}

async function show({ said, at, version }) {
  firstVersion ??= version;
  if (version !== firstVersion) location.reload(); // On a screen beside the line nobody does, when the edge server is upgraded.
  heardAt = Date.now();
  sayIfAny(find("#gone"), "");
  mark(document.body, "class", "live");
  say(find("#state"), "Live");
  sayWhen();
  find("#stand").hidden = false;
  showGlance(said, at);
  showDetectors(said, at);
  showDeployments(said);
  await showRejects(said, at);
}

function miss({ status }) {
  const since = heardAt ? ` What stands here is from ${moment(new Date(heardAt))}.` : "";
  const why = status === 403
    ? "This page may not look any more: open the address that 'cloudedge-edge line show' prints on the edge server."
    : `The line's service ${status ? `answers with an error (${status})` : "does not answer"}.${since} It is asked again all the time.`;
  mark(document.body, "class", "gone");
  say(find("#state"), "No answer");
  sayIfAny(find("#gone"), why);
}

say(find("#place"), location.host);
setInterval(sayWhen, 1000);
follow(show, miss);
