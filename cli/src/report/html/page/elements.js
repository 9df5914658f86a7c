// Elements of the page. Texts come in as texts and are never read as markup. Colours of what is drawn on a canvas come
// from the style sheet, through an element that is asked for its colour.

const elements = (() => {
  /** An element with attributes (`class`, `onclick`, …) and children: elements, texts, or nothing. */
  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (value === true) element.setAttribute(name, "");
      else if (value !== false && value !== undefined) element.setAttribute(name, value);
    }
    return add(element, ...children);
  }

  /** Appends elements and texts; what is not there is left out. */
  function add(element, ...children) {
    element.append(...children.flat().filter((child) => child !== undefined && child !== null));
    return element;
  }

  /** As `add`, in place of what was there. */
  function refill(element, ...children) {
    element.replaceChildren();
    return add(element, ...children);
  }

  const byId = (id) => document.getElementById(id);

  /** How far a figure can be trusted: what stands before the reasons, with the whole phrase behind it. */
  function certainty(found) {
    const [word] = found.text.split(": ");
    return make("span", { class: `certainty grade-${found.grade}`, title: found.text }, word);
  }

  /** The whole phrase, under a table or plot. */
  function certaintyLine(found, label = "Certainty") {
    return make("p", { class: "certainty-line" }, `${label}: `, make("span", { class: `grade-${found.grade}` }, found.text), ".");
  }

  const empty = (text) => make("p", { class: "empty" }, text);

  /** Radio buttons that look like one control; `choose` gets the value. */
  function choice(label, options, value, choose) {
    const name = `choice-${label.replace(/\W+/g, "-")}`;
    const inputs = options.map((option) =>
      make("label", { class: "option" },
        make("input", { type: "radio", name, value: option.value, checked: option.value === value, onchange: () => choose(option.value) }),
        make("span", {}, option.label)));
    return make("fieldset", { class: "choice" }, make("legend", {}, label), ...inputs);
  }

  const SVG = "http://www.w3.org/2000/svg";

  /** A small curve of values, from the left to the right; it begins at `from`, as a share of the width. */
  function curve(values, from, label) {
    const [width, height] = [96, 20];
    const most = values.reduce((a, b) => Math.max(a, b), 1);
    const across = (at) => (from + (1 - from) * (values.length > 1 ? at / (values.length - 1) : 1)) * width;
    const points = values.map((value, at) => `${across(at).toFixed(1)},${(height - 1 - (value / most) * (height - 2)).toFixed(1)}`);
    const drawing = document.createElementNS(SVG, "svg");
    const line = document.createElementNS(SVG, "polyline");
    for (const [name, value] of Object.entries({ class: "curve", viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label })) drawing.setAttribute(name, value);
    line.setAttribute("points", points.join(" "));
    drawing.append(line);
    return drawing;
  }

  /** The last two parts of a path of names; `::` inside brackets parts nothing, and a qualified name stays whole. */
  function tail(name) {
    if (name.startsWith("<")) return name;
    const starts = [0];
    let depth = 0;
    for (let at = 0; at + 1 < name.length; at += 1) {
      if (name[at] === "<" || name[at] === "(") depth += 1;
      else if ((name[at] === ">" && name[at - 1] !== "-") || name[at] === ")") depth -= 1;
      else if (depth <= 0 && name[at] === ":" && name[at + 1] === ":" && name[at + 2] !== "<") starts.push(at + 2);
    }
    return name.slice(starts[Math.max(starts.length - 2, 0)]);
  }

  let probe;
  /** A colour of the style sheet, by the name of its variable, as a canvas takes it. */
  function colour(variable) {
    if (!probe) {
      probe = make("span", { hidden: true, "aria-hidden": "true" });
      document.body.append(probe);
    }
    probe.style.color = `var(${variable})`;
    return getComputedStyle(probe).color;
  }

  return { make, add, refill, byId, certainty, certaintyLine, empty, choice, colour, tail, curve };
})();
