// Elements that are changed in place, so that focus, selection and what somebody has opened stay as they are.
// What comes from elsewhere only ever goes into texts and attributes' values.

const SVG = "http://www.w3.org/2000/svg";
const children = new WeakMap();

export const find = (selector, within = document) => within.querySelector(selector);

/** An element with a class, a text or elements in it. */
export function element(name, className = "", ...content) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...content);
  return made;
}

/** An element of a drawing. */
export function drawn(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

export function say(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

export function mark(target, name, value) {
  if (value === null) target.removeAttribute(name);
  else if (target.getAttribute(name) !== String(value)) target.setAttribute(name, value);
}

/** Say it, or hide what would be empty. */
export function sayIfAny(target, text) {
  target.hidden = !text;
  say(target, text);
}

/**
 * Have one child for each item, in their order; a child stays the same as long as its item's key does.
 *
 * @param make makes a child and returns it
 * @param update brings a child up to date with its item
 */
export function each(parent, items, keyOf, make, update) {
  const known = children.get(parent) ?? new Map();
  const kept = new Map(items.map((item) => [keyOf(item), known.get(keyOf(item)) ?? make(item)]));
  for (const [key, child] of known) if (!kept.has(key)) child.remove();
  let place = parent.firstElementChild;
  for (const item of items) {
    const child = kept.get(keyOf(item));
    if (child === place) place = place.nextElementSibling;
    else parent.insertBefore(child, place);
    update(child, item);
  }
  children.set(parent, kept);
}

/** Terms and what they are, as the children of a <dl>. */
export function terms(list, pairs) {
  each(
    list,
    pairs,
    ([term]) => term,
    ([term]) => element("div", "", element("dt", "", term), element("dd")),
    (child, [, text, className = ""]) => {
      say(child.lastChild, text);
      mark(child.lastChild, "class", className || null);
    },
  );
}
