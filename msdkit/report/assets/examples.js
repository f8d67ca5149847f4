// The browser of examples. What comes from data is set as text, never as HTML.
(() => {
  "use strict";

  const PAGE = 48; // cards in the document at once
  const TYPES = { u1: Uint8Array, u2: Uint16Array, f4: Float32Array };
  const ONE = 65535; // a probability of 1 as 16 bits hold it
  const STEPS = { ArrowRight: 1, j: 1, ArrowLeft: -1, k: -1 }; // keys from example to example

  const percent = (share) => `${Math.round(100 * share)} %`;
  const valued = ({ name, share }) => `${name} ${Number(share.toPrecision(4))}`;
  const hundredths = (number) => (Math.round(100 * number) / 100 + 0).toFixed(2); // no -0.00
  const clamp = (number, most) => Math.min(Math.max(number, 0), most);
  const counted = (count) => count.toLocaleString("en");

  /** An element; strings among its children become text, what is empty is left out. */
  function make(tag, className, ...children) {
    const node = document.createElement(tag);
    node.className = className;
    node.append(...children.flat(2).filter(Boolean));
    return node;
  }

  const block = (title, lines) => make("div", "", make("h6", "", title), lines);

  /** How far a key leads; nowhere with a modifier, which is the browser's. */
  const stepOf = (key, keys) => (key.ctrlKey || key.altKey || key.metaKey ? 0 : keys[key.key]);

  /** row -> the numbers of a stored column, which is decoded when first asked for. */
  function reader({ type, width, data }) {
    let values;
    return (row) => {
      values ??= new TYPES[type](Uint8Array.from(atob(data), (c) => c.charCodeAt(0)).buffer);
      return values.subarray(row * width, (row + 1) * width);
    };
  }

  /** row -> its only number; nothing where there is no column. */
  function single(column) {
    const read = column && reader(column);
    return read && ((row) => read(row)[0]);
  }

  /** {name: change(value)} */
  const mapped = (object, change) =>
    Object.fromEntries(Object.entries(object).map(([name, value]) => [name, change(value)]));

  /** The data of one data set: what is true of a row, and what each model answers to it. */
  class Data {
    constructor(stored) {
      Object.assign(this, stored);
      this.labels = stored.labels && this.#shares(stored.labels);
      this.saliency = mapped(stored.saliency, single);
      this.slices = mapped(stored.slices, (rows) => new Set(rows));
      this.models = stored.models.map((model) => this.#model(model));
      this.byName = new Map(this.models.map((model) => [model.name, model]));
      this.rows = stored.ids.map((_, row) => row);
    }

    /** row -> [{label, name, share}] */
    #shares({ classes, shares }) {
      const [labels, values] = [reader(classes), reader(shares)];
      const unit = shares.type === "u2" ? ONE : 1;
      const pair = (label, share) => ({ label, name: this.classes[label], share: share / unit });
      return (row) => Array.from(labels(row), (label, i) => pair(label, values(row)[i]));
    }

    #model(model) {
      const right = single(model.right);
      return {
        ...model,
        views: mapped(model.views, (view) => this.#shares(view)),
        right,
        isRight: right && ((row) => 2 * right(row) > model.seeds),
        loss: single(model.loss),
        divergence: single(model.divergence),
        weights: model.weights && reader(model.weights),
      };
    }

    /** The classes of a row's label; regression's targets; nothing where it is not known. */
    label(row) {
      const found = this.labels ? this.labels(row) : [];
      return this.task === "regression" ? found : found.filter(({ share }) => share > 0);
    }

    labelText(row) {
      const scored = ({ name, share }) => `${name} ${percent(share)}`;
      const text = { soft_target: scored, regression: valued }[this.task] ?? (({ name }) => name);
      return this.label(row).map(text).join(", ");
    }

    /** [modality, value] of what a row shows as a text ("string") or a picture ("number"). */
    shown(row, type) {
      const all = Object.entries(this.inputs).map(([modality, values]) => [modality, values[row]]);
      return all.filter(([, value]) => typeof value === type);
    }

    /** All that the search looks through. */
    words(row) {
      const texts = this.shown(row, "string").map(([, text]) => text);
      return [this.ids[row], this.labelText(row), ...texts].join("\n").toLowerCase();
    }

    dominant(row) {
      const nats = (modality) => this.saliency[modality](row);
      return Object.keys(this.saliency).reduce((a, b) => (nats(b) > nats(a) ? b : a));
    }

    /** The rows that pass the filters of a state, sorted as it says. */
    chosen(state) {
      const tests = this.#tests(state);
      const rows = this.rows.filter((row) => tests.every((test) => test(row)));
      const [kind, name] = state.sort.split(/:(.*)/s);
      if (kind) {
        const of = kind === "saliency" ? this.saliency[name] : this.byName.get(name)[kind];
        const keys = this.rows.map(of); // looked up once, not at each comparison
        rows.sort((a, b) => keys[b] - keys[a]);
      }
      return state.reverse ? rows.reverse() : rows;
    }

    #tests(state) {
      const tests = [];
      const wanted = state.q.toLowerCase().split(/\s+/).filter(Boolean);
      if (wanted.length) {
        this.searched ??= this.rows.map((row) => this.words(row));
        tests.push((row) => wanted.every((word) => this.searched[row].includes(word)));
      }
      if (state.label)
        tests.push((row) => this.label(row).some(({ label }) => label === Number(state.label)));
      if (state.dominant) tests.push((row) => this.dominant(row) === state.dominant);
      if (state.slice) tests.push((row) => this.slices[state.slice].has(row));
      for (const which of ["a", "b"]) {
        const [model, wish] = [this.byName.get(state[which]), state[`${which}_is`]];
        if (wish) tests.push((row) => model.isRight(row) === (wish === "right"));
      }
      return tests;
    }
  }

  /** Names, a bar of a share of its length, a figure; own: whether the label has it. */
  function line(names, share, figure, own = false) {
    const texts = names.map((name) => make("span", "", name));
    for (const text of texts) text.title = text.textContent; // where there is no room for all
    const track = make("span", "ex-track", make("span", ""));
    track.firstChild.style.width = `${100 * clamp(share, 1)}%`;
    track.ariaHidden = "true";
    return make("span", own ? "ex-line ex-own" : "ex-line", texts, track, make("span", "", figure));
  }

  /** ✓ or ✗, said in words to who listens. */
  function mark(right) {
    const node = make("em", right ? "ex-right" : "ex-wrong", right ? "✓ " : "✗ ");
    return Object.assign(node, { role: "img", ariaLabel: right ? "right:" : "wrong:" });
  }

  /** What a card and the details show of a row. */
  class Drawing {
    constructor(data) {
      this.data = data;
      const all = Object.values(data.saliency).flatMap((of) => data.rows.map(of));
      // few examples are far more salient than the rest: full bars begin at the 95th percentile
      this.full = all.sort((a, b) => a - b)[Math.floor(0.95 * (all.length - 1))] || 1;
    }

    pictures(row) {
      const images = this.data.shown(row, "number").map(([modality, place]) => {
        const src = `data:image/webp;base64,${this.data.pictures[place]}`;
        return Object.assign(make("img", ""), { src, alt: `${modality} of ${this.data.ids[row]}` });
      });
      return images.length && make("span", "ex-pictures", images);
    }

    /** The other modalities: texts as they are, all else after its name. */
    texts(row) {
      return this.data.shown(row, "string").map(([modality, text]) => {
        const name = modality !== "text" && make("span", "ex-muted", `${modality}: `);
        return make("span", "ex-text", name, text);
      });
    }

    /** Pictures, and beside them texts, the label and what comes last. */
    inputs(row, last) {
      const label = this.data.labelText(row);
      const name = make("span", "ex-muted", "label: ");
      const beside = [this.texts(row), label && make("span", "ex-label", name, label), last];
      return make("span", "ex-inputs", this.pictures(row), make("span", "", beside));
    }

    saliency(row) {
      return Object.entries(this.data.saliency).map(([modality, of]) =>
        line([`saliency of ${modality}`], of(row) / this.full, hundredths(of(row))),
      );
    }

    /** A model's answer to the whole example: its top class, the classes it affirms, numbers. */
    answer(model, row) {
      const found = model.views.multimodal(row);
      const right = model.isRight && mark(model.isRight(row));
      const begin = make("span", "ex-muted", `${model.name} `);
      const text = (words) => make("span", "ex-text", begin, right, words.join(", ") || "none");
      if (this.data.task === "regression") return text(found.map(valued));
      if (this.data.task === "multi_label")
        return text(found.filter(({ share }) => share > 0.5).map(({ name }) => name));
      const { label, name, share } = found.reduce((a, b) => (b.share > a.share ? b : a));
      const own = this.data.label(row).some((one) => one.label === label);
      return line([model.name, [right, name]], share, percent(share), own);
    }

    card(row, models) {
      const id = this.data.ids[row];
      const answers = models.map((model) => this.answer(model, row));
      const lines = make("span", "ex-lines", answers, this.saliency(row));
      const inputs = this.inputs(row, make("span", "ex-muted", id));
      const card = Object.assign(make("button", "ex-card", inputs, lines), { type: "button" });
      card.dataset.id = id;
      return make("li", "", card);
    }

    /** Everything that is known of a row. */
    details(row, models) {
      const saliency = make("span", "ex-lines", this.saliency(row));
      return [this.inputs(row, saliency), ...models.map((model) => this.model(model, row))];
    }

    model(model, row) {
      const { seeds, loss, divergence } = model;
      const facts = [
        model.right && seeds > 1 && `${model.right(row)} of ${seeds} seeds right`,
        loss && `loss ${hundredths(loss(row))}`,
        divergence && `${hundredths(divergence(row))} nats from the teacher`,
      ].filter(Boolean);
      const right = model.isRight && mark(model.isRight(row));
      const title = make("h5", "", right, model.name, make("small", "", facts.join(" · ")));
      const views = Object.entries(model.views);
      const blocks = views.map(([view, answers]) => block(view, this.bars(answers(row), row)));
      if (model.weights) blocks.push(block("weights", this.weights(model.weights(row))));
      return make("div", "ex-model", title, make("div", "ex-views", blocks));
    }

    bars(answers, row) {
      const own = new Set(this.data.label(row).map(({ label }) => label));
      if (this.data.task === "regression") return make("span", "", answers.map(valued).join(", "));
      return answers.map(({ label, name, share }) =>
        line([own.has(label) ? `✓ ${name}` : name], share, percent(share), own.has(label)),
      );
    }

    weights(values) {
      const most = Math.max(...values, 1);
      const of = (view, i) => line([view], values[i] / most, hundredths(values[i]));
      return this.data.views.map(of);
    }
  }

  /** The form, the cards, the pages and the dialog of one data set. */
  class Browser {
    constructor(root) {
      const find = (selector) => root.querySelector(selector);
      this.root = root;
      this.data = new Data(JSON.parse(find('script[type="application/json"]').textContent));
      this.drawing = new Drawing(this.data);
      [this.form, this.cards, this.dialog] = [find("form"), find(".ex-cards"), find("dialog")];
      this.initial = this.#state();
      if (!this.#fromHash()) this.#changed();
      const on = (node, event, react) => node.addEventListener(event, react);
      on(this.form, "input", () => this.#changed());
      on(this.form, "submit", (event) => event.preventDefault());
      on(this.cards, "keydown", (event) => this.#key(event));
      on(this.dialog, "keydown", (event) => {
        if (stepOf(event, STEPS)) this.#open(this.place + stepOf(event, STEPS));
      });
      on(this.dialog, "close", () => this.#focus(this.place));
      on(this.root, "click", (event) => this.#clicked(event.target));
      on(window, "hashchange", () => this.#fromHash());
    }

    #state() {
      return Object.fromEntries(new FormData(this.form));
    }

    /** The models on the cards. */
    #models() {
      const names = new Set(["teacher", this.state.a, this.state.b]);
      return this.data.models.filter(({ name }) => names.has(name));
    }

    /** Show what the form asks for. */
    #changed(page = 0) {
      this.state = this.#state();
      this.rows = this.data.chosen(this.state);
      const counts = [this.rows, this.data.rows].map((rows) => counted(rows.length));
      this.root.querySelector("output").textContent = `${counts.join(" of ")} examples`;
      for (const button of this.form.querySelectorAll("[data-pair]")) {
        const [a, b] = button.dataset.pair.split(" ");
        button.textContent = `${this.state.a} ${a}, ${this.state.b} ${b}`;
        button.ariaPressed = String(this.state.a_is === a && this.state.b_is === b);
      }
      this.#turn(page);
    }

    #turn(page) {
      const last = Math.max(0, Math.ceil(this.rows.length / PAGE) - 1);
      const models = this.#models();
      this.page = clamp(page, last);
      const rows = this.rows.slice(this.page * PAGE, (this.page + 1) * PAGE);
      this.cards.replaceChildren(...rows.map((row) => this.drawing.card(row, models)));
      const [back, text, on] = this.root.querySelector("nav").children;
      text.textContent = `page ${this.page + 1} of ${last + 1}`;
      [back.disabled, on.disabled] = [this.page === 0, this.page === last];
      this.#toHash();
    }

    /** Set the focus on the card at a place among the chosen rows, on whichever page it is. */
    #focus(place) {
      const at = clamp(place, this.rows.length - 1);
      if (Math.floor(at / PAGE) !== this.page) this.#turn(Math.floor(at / PAGE));
      this.cards.children[at % PAGE].firstChild.focus();
      this.#toHash();
    }

    #place(card) {
      return this.page * PAGE + [...this.cards.children].indexOf(card.closest("li"));
    }

    #clicked(target) {
      const [button, card] = [target.closest("button"), target.closest(".ex-card")];
      if (target === this.dialog) return this.dialog.close(); // its backdrop
      if (card) return this.#open(this.#place(card));
      const { clear, close, go, pair, turn } = button?.dataset ?? {};
      if (close !== undefined) this.dialog.close();
      if (go) this.#open(this.place + Number(go));
      if (turn) this.#turn(this.page + Number(turn));
      if (clear !== undefined) this.form.reset();
      if (pair) {
        const { a_is: a, b_is: b } = this.form.elements;
        [a.value, b.value] = button.ariaPressed === "true" ? ["", ""] : pair.split(" ");
      }
      if (pair || clear !== undefined) this.#changed();
    }

    #open(place) {
      this.place = clamp(place, this.rows.length - 1);
      const row = this.rows[this.place];
      const [title, where, back, on] = this.dialog.querySelector("header").children;
      title.textContent = this.data.ids[row];
      where.textContent = `${counted(this.place + 1)} of ${counted(this.rows.length)}`;
      [back.disabled, on.disabled] = [this.place === 0, this.place === this.rows.length - 1];
      const details = this.dialog.querySelector(".ex-details");
      const models = new Set([...this.#models(), ...this.data.models]); // those of the cards first
      details.replaceChildren(...this.drawing.details(row, [...models]));
      details.scrollTop = 0;
      if (!this.dialog.open) this.dialog.showModal();
      this.#toHash();
    }

    #key(event) {
      const tops = [...this.cards.children].map((item) => item.offsetTop);
      const columns = tops.filter((top) => top === tops[0]).length;
      const step = stepOf(event, { ...STEPS, ArrowDown: columns, ArrowUp: -columns });
      if (!step) return;
      event.preventDefault(); // the page must not scroll too
      this.#focus(this.#place(event.target) + step);
    }

    /** What differs from the first state goes into the address of the page. */
    #toHash() {
      const changed = ([key, value]) => value !== (this.initial[key] ?? "");
      const query = new URLSearchParams(Object.entries(this.state).filter(changed));
      if (this.page) query.set("page", this.page + 1);
      if (this.dialog.open) query.set("open", this.data.ids[this.rows[this.place]]);
      const here = `#${this.root.id}`;
      if (String(query)) history.replaceState(null, "", `${here}?${query}`);
      else if (location.hash.startsWith(`${here}?`)) history.replaceState(null, "", here);
    }

    /** Take the state from the address of the page; whether there is one of this data set. */
    #fromHash() {
      const [id, text] = location.hash.slice(1).split(/\?(.*)/s);
      if (id !== this.root.id || text === undefined) return false;
      const query = new URLSearchParams(text);
      this.form.reset();
      for (const control of this.form.querySelectorAll("[name]")) {
        const value = query.get(control.name);
        if (control.type === "checkbox") control.checked = value !== null;
        else if (value !== null) control.value = value;
        if (control.selectedIndex === -1) control.selectedIndex = 0; // of another page
      }
      this.#changed(Number(query.get("page") || 1) - 1);
      this.root.scrollIntoView();
      const place = this.rows.findIndex((row) => this.data.ids[row] === query.get("open"));
      if (place >= 0) this.#open(place);
      return true;
    }
  }

  for (const root of document.querySelectorAll(".examples")) new Browser(root);
})();
