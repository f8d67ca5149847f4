// Tabs, themes and figures of the report. A figure is drawn when it first comes near the window.
(() => {
  "use strict";

  const root = document.documentElement;
  const look = JSON.parse(document.getElementById("look").textContent);
  const touch = matchMedia("(pointer: coarse)").matches;
  const config = { responsive: true, displaylogo: false, displayModeBar: false };
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];

  // Figures

  const shown = new Set();
  for (const key of all(".legend [aria-pressed=true]")) shown.add(key.dataset.model);

  const visible = (trace) => !trace.meta || shown.has(trace.meta.method);

  /** What a script element holds, in the colours of the theme. */
  function coloured(text) {
    if (root.dataset.theme === "dark")
      for (const [light, dark] of Object.entries(look.dark)) text = text.replaceAll(light, dark);
    return JSON.parse(text);
  }

  function draw(plot) {
    const { data, layout } = coloured(plot.nextElementSibling.textContent);
    for (const trace of data) trace.visible = visible(trace);
    const template = coloured(JSON.stringify(look.template));
    template.layout.paper_bgcolor = "rgba(0,0,0,0)";
    const dragmode = touch ? false : "zoom"; // a finger scrolls the page
    return Plotly.react(plot, data, { ...layout, template, dragmode, autosize: true }, config);
  }

  const seen = new IntersectionObserver(
    (entries) => {
      for (const { isIntersecting, target } of entries) {
        if (!isIntersecting) continue;
        seen.unobserve(target);
        draw(target);
      }
    },
    { rootMargin: "300px" },
  );
  const drawn = () => all(".plot").filter((plot) => plot.data);

  function toggle(model) {
    if (!shown.delete(model)) shown.add(model);
    for (const key of all(".legend button"))
      key.ariaPressed = String(shown.has(key.dataset.model));
    for (const plot of drawn())
      if (plot.data.some((trace) => trace.meta))
        Plotly.restyle(plot, { visible: plot.data.map(visible) });
  }

  document.addEventListener("click", ({ target }) => {
    const key = target.closest(".legend button");
    if (key) toggle(key.dataset.model);
  });

  for (const choice of all("[data-choose]"))
    choice.addEventListener("change", () => {
      const panels = all(".panel", choice.closest(".chart"));
      for (const [i, panel] of panels.entries()) panel.hidden = i !== choice.selectedIndex;
    });

  // Tabs

  const panelOf = (tab) => document.getElementById(tab.getAttribute("aria-controls"));

  function open(tab) {
    for (const other of all("[role=tab]", tab.parentElement)) {
      const chosen = other === tab;
      other.ariaSelected = String(chosen);
      other.tabIndex = chosen ? 0 : -1;
      panelOf(other).hidden = !chosen;
    }
    // what was drawn before the window changed its width while the panel was hidden
    for (const plot of drawn()) if (panelOf(tab).contains(plot)) Plotly.Plots.resize(plot);
  }

  function keyOnTabs(event) {
    const tabs = all("[role=tab]", event.currentTarget);
    const at = tabs.indexOf(event.target);
    const [last, count] = [tabs.length - 1, tabs.length];
    const to = { ArrowRight: (at + 1) % count, ArrowLeft: (at + last) % count, Home: 0, End: last };
    if (!(event.key in to)) return;
    event.preventDefault();
    tabs[to[event.key]].focus();
    open(tabs[to[event.key]]);
  }

  /** Open the tabs around what the address of the page names, before `?`. */
  function openAddressed() {
    const [id] = location.hash.slice(1).split("?");
    const target = id && document.getElementById(decodeURIComponent(id));
    for (let at = target; at; at = at.parentElement) {
      const tab = at.role === "tabpanel" && document.getElementById(at.getAttribute("aria-labelledby"));
      if (tab) open(tab);
    }
  }

  for (const list of all("[role=tablist]")) {
    list.addEventListener("keydown", keyOnTabs);
    list.addEventListener("click", ({ target }) => {
      const tab = target.closest("[role=tab]");
      if (tab) open(tab);
    });
    open(list.querySelector("[role=tab]"));
  }
  openAddressed();
  window.addEventListener("hashchange", openAddressed);

  // Themes: the system's, until the reader chooses

  const system = matchMedia("(prefers-color-scheme: dark)");
  const button = document.getElementById("theme");

  function setTheme(theme) {
    root.dataset.theme = theme;
    button.textContent = theme === "dark" ? "Light theme" : "Dark theme";
    for (const plot of drawn()) draw(plot);
  }
  const followSystem = () => setTheme(system.matches ? "dark" : "light");
  system.addEventListener("change", followSystem);
  button.addEventListener("click", () => {
    system.removeEventListener("change", followSystem);
    setTheme(root.dataset.theme === "dark" ? "light" : "dark");
  });
  followSystem();

  for (const plot of all(".plot")) seen.observe(plot);
})();
