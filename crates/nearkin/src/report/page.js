"use strict";

// Every text goes into the page as text: nothing here writes markup, but for the curves that the server of `watch` sends.
const element = (tag, properties, ...children) => {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
};

// Tables: a button in each head sorts the rows.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = element("button", { type: "button" }, head.textContent);
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const text = (row) => row.cells[column].textContent;
      const numeric = head.classList.contains("number");
      const order = (a, b) => (numeric ? parseFloat(text(a)) - parseFloat(text(b)) : text(a).localeCompare(text(b)));
      const rows = [...table.tBodies[0].rows].sort((a, b) => (down ? order(b, a) : order(a, b)));
      table.tBodies[0].append(...rows);
    });
  });
}

// The map: the pointer shows an item, a click or the keyboard chooses one.
const map = () => {
  const svg = document.getElementById("map-field");
  const { classes, places, points } = JSON.parse(document.getElementById("map-data").textContent);
  const [marks, tip, list, panel] = ["marks", "tip", "list", "panel"].map((id) => document.getElementById(`map-${id}`));
  const dots = [...document.getElementById("map-points").children];
  const named = (at) => ({ name: points[at][0], label: classes[points[at][1]], picture: points[at][2] });
  let chosen = -1;

  const picture = (at) => {
    const { name, picture } = named(at);
    return picture ? [element("img", { src: picture, alt: name })] : [];
  };
  const drawn = (tag, attributes) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    Object.entries(attributes).forEach(([name, value]) => made.setAttribute(name, value));
    return made;
  };
  const neighbor = ([other, cosine]) => {
    const { name, label } = named(other);
    const right = points[other][1] === points[chosen][1];
    const told = element("span", {}, name, element("br", {}), element("small", { className: right ? "right" : "wrong" }, `${right ? "✓" : "✗"} ${label} · ${cosine.toFixed(3)}`));
    const button = element("button", { type: "button" }, ...picture(other), told);
    button.addEventListener("click", () => {
      choose(other);
      // The button is gone with its list: the keyboard goes on in the new one.
      panel.querySelector("button")?.focus();
    });
    return element("li", {}, button);
  };
  const choose = (at) => {
    chosen = at;
    list.selectedIndex = at;
    const [x, y] = places[at];
    const near = points[at][3];
    const lines = near.map(([other]) => drawn("line", { x1: x, y1: y, x2: places[other][0], y2: places[other][1] }));
    marks.replaceChildren(...lines, drawn("circle", { cx: x, cy: y, r: 8 }));
    const { name, label } = named(at);
    const told = element("div", {}, element("strong", {}, name), element("br", {}), label);
    const heading = element("p", { className: "note" }, "Nearest neighbors, by cosine similarity:");
    panel.replaceChildren(element("div", { className: "chosen" }, ...picture(at), told), heading, element("ol", { className: "near" }, ...near.map(neighbor)));
  };
  const show = (at) => {
    const { name, label } = named(at);
    const [x, y] = places[at];
    tip.replaceChildren(...picture(at), element("strong", {}, name), element("br", {}), label);
    tip.hidden = false;
    // On the side of the item that has room.
    const scale = svg.clientWidth / svg.viewBox.baseVal.width;
    const [left, top] = [x * scale, y * scale];
    tip.style.left = `${left > svg.clientWidth / 2 ? Math.max(0, left - tip.offsetWidth - 12) : left + 12}px`;
    tip.style.top = `${top > svg.clientHeight / 2 ? Math.max(0, top - tip.offsetHeight - 12) : top + 12}px`;
  };
  const hide = () => { tip.hidden = true; };
  // The item nearest to the pointer, if one is within reach.
  const under = (event) => {
    const box = svg.getBoundingClientRect();
    const scale = svg.viewBox.baseVal.width / box.width;
    const [x, y] = [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
    let [best, least] = [-1, (16 * scale) ** 2];
    places.forEach(([px, py], at) => {
      const distance = (px - x) ** 2 + (py - y) ** 2;
      if (distance < least) [best, least] = [at, distance];
    });
    return best;
  };
  // The nearest item in a direction: what lies to its side counts twice.
  const toward = (dx, dy) => {
    let [best, least] = [chosen, Infinity];
    places.forEach(([px, py], at) => {
      const [x, y] = [px - places[chosen][0], py - places[chosen][1]];
      const [ahead, beside] = [x * dx + y * dy, Math.abs(x * dy - y * dx)];
      if (ahead > 0 && beside <= 2 * ahead && ahead + 2 * beside < least) [best, least] = [at, ahead + 2 * beside];
    });
    return best;
  };

  svg.addEventListener("pointermove", (event) => {
    const at = under(event);
    if (at < 0) hide(); else show(at);
  });
  svg.addEventListener("pointerleave", hide);
  svg.addEventListener("blur", hide);
  svg.addEventListener("click", (event) => {
    const at = under(event);
    if (at >= 0) choose(at);
  });
  svg.addEventListener("keydown", (event) => {
    const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const way = ways[event.key];
    if (!way) return;
    event.preventDefault();
    choose(chosen < 0 ? 0 : toward(...way));
    show(chosen);
  });
  list.append(...points.map(([name, label]) => element("option", {}, `${name} · ${classes[label]}`)));
  list.addEventListener("change", () => choose(list.selectedIndex));
  for (const button of document.querySelectorAll(".legend button")) {
    button.addEventListener("click", () => {
      const pressed = button.getAttribute("aria-pressed") !== "true";
      for (const other of document.querySelectorAll(".legend button")) other.setAttribute("aria-pressed", "false");
      button.setAttribute("aria-pressed", String(pressed));
      svg.classList.toggle("dimmed", pressed);
      dots.forEach((dot, at) => dot.classList.toggle("lit", pressed && points[at][1] === Number(button.dataset.class)));
    });
  }
};
if (document.getElementById("map-field")) map();

// While a run goes on: the curves anew whenever the journal has grown.
const watch = () => {
  let seen = "";
  const ask = async () => {
    const lead = document.getElementById("lead");
    try {
      const answer = await fetch(`/curves.json?seen=${seen}`);
      const news = await answer.json();
      if (news.error) throw new Error(news.error);
      lead.textContent = news.lead;
      if (news.curves) {
        seen = news.seen;
        document.getElementById("live").innerHTML = news.curves;
      }
    } catch (error) {
      lead.textContent = `No news from nearkin watch: ${error.message}`;
    }
    setTimeout(ask, 2000);
  };
  setTimeout(ask, 2000);
};
if (document.body.dataset.live === "yes") watch();
