"use strict";
// All features are computed beforehand; this script looks them up, compares and paints them.

const data = JSON.parse(document.getElementById("data").textContent);
const MODES = { components: "Components", activation: "Activation", channel: "Channels", similarity: "Similarity" };
const PAGE = 24; // channels at once
const LARGE = 448, SMALL = 160; // pixels of a canvas's longer side

const state = { mode: "components", stage: data.stages.length - 1, channel: 0, page: 0, photo: 0, patch: null };

// --- data ---------------------------------------------------------------------------------------------------------

const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
const RAMP = bytes(data.ramp); // 256 colours
const cache = new Map();

/** The result of `make`, computed once per key. */
function cached(key, make) {
  if (!cache.has(key)) cache.set(key, make());
  return cache.get(key);
}

/** One of a map's arrays, decoded on first use. */
function array(stage, photo, name) {
  return cached(`${name} ${stage} ${photo}`, () => bytes(data.stages[stage].maps[photo][name]));
}

/** The stored vectors of a map's patches, and their lengths. */
function vectors(stage, photo) {
  return cached(`vectors ${stage} ${photo}`, () => {
    const { dims, scales } = data.stages[stage];
    const numbers = new Int8Array(array(stage, photo, "vectors").buffer);
    const lengths = new Float32Array(numbers.length / dims);
    for (let i = 0; i < lengths.length; i++) {
      let sum = 0;
      for (let d = 0; d < dims; d++) sum += (numbers[i * dims + d] * scales[d]) ** 2;
      lengths[i] = Math.sqrt(sum) || 1;
    }
    return { numbers, lengths };
  });
}

/** Row and column, in this stage's map, of the patch at a place in a photo. */
function cellAt(stage, { photo, x, y }) {
  const [rows, columns] = data.stages[stage].maps[photo].grid;
  return [Math.min(rows - 1, Math.floor(y * rows)), Math.min(columns - 1, Math.floor(x * columns))];
}

/** Cosine similarity of the picked patch to every patch at this stage: one array per photo, and the smallest value. */
function computeSimilarity(stage) {
  const { dims, scales, maps } = data.stages[stage];
  const [row, column] = cellAt(stage, state.patch);
  const own = vectors(stage, state.patch.photo);
  const picked = row * maps[state.patch.photo].grid[1] + column;
  const query = new Float32Array(dims);
  for (let d = 0; d < dims; d++) {
    query[d] = (own.numbers[picked * dims + d] * scales[d] * scales[d]) / own.lengths[picked];
  }
  let lowest = 1;
  const all = maps.map((_, photo) => {
    const { numbers, lengths } = vectors(stage, photo);
    return Float32Array.from(lengths, (length, i) => {
      let sum = 0;
      for (let d = 0; d < dims; d++) sum += query[d] * numbers[i * dims + d];
      lowest = Math.min(lowest, sum / length);
      return sum / length;
    });
  });
  return { all, lowest };
}

const similarity = (stage) => cached(`similarity ${stage}`, () => computeSimilarity(stage));

function clearSimilarity() {
  data.stages.forEach((_, stage) => cache.delete(`similarity ${stage}`));
}

/** The intensity of each cell of a map, from 0 to 255. */
function intensity(stage, photo, channel = state.channel) {
  if (state.mode === "similarity") {
    const { all, lowest } = similarity(stage);
    return all[photo].map((value) => (255 * (value - lowest)) / Math.max(1e-6, 1 - lowest));
  }
  if (state.mode === "channel") {
    const values = array(stage, photo, "channels");
    const [rows, columns] = data.stages[stage].maps[photo].grid;
    const start = Math.min(channel, data.stages[stage].kept.length - 1) * rows * columns;
    return values.subarray(start, start + rows * columns);
  }
  return array(stage, photo, "activation");
}

/** A map in colour, one pixel per cell. */
function cells(stage, photo, channel) {
  const [rows, columns] = data.stages[stage].maps[photo].grid;
  const image = new ImageData(columns, rows);
  const colours = state.mode === "components" ? array(stage, photo, "components") : null;
  const intensities = colours ? null : intensity(stage, photo, channel);
  for (let i = 0; i < rows * columns; i++) {
    for (let c = 0; c < 3; c++) {
      image.data[4 * i + c] = colours ? colours[3 * i + c] : RAMP[3 * Math.round(intensities[i]) + c];
    }
    image.data[4 * i + 3] = 255;
  }
  const small = document.createElement("canvas");
  [small.width, small.height] = [columns, rows];
  small.getContext("2d").putImageData(image, 0, 0);
  return small;
}

// --- painting -----------------------------------------------------------------------------------------------------

const byId = (id) => document.getElementById(id);

function element(tag, parent, text = "", attributes = {}) {
  const node = document.createElement(tag);
  node.textContent = text;
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  parent.append(node);
  return node;
}

/** A canvas in the shape of a photo. */
function canvasFor(parent, photo, longest, attributes) {
  const [height, width] = data.photos[photo].size;
  const scale = longest / Math.max(height, width);
  return element("canvas", parent, "", {
    width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)), ...attributes,
  });
}

function paintMap(canvas, stage, photo, channel, grey = null) {
  const context = canvas.getContext("2d");
  context.globalAlpha = 1;
  context.imageSmoothingEnabled = false;
  context.drawImage(cells(stage, photo, channel), 0, 0, canvas.width, canvas.height);
  if (grey && state.mode !== "components") {
    context.globalAlpha = 0.3;
    context.imageSmoothingEnabled = true;
    context.drawImage(grey, 0, 0, canvas.width, canvas.height);
  }
}

/** The outline of the picked patch, visible on any background. */
function paintMarker(canvas, photo) {
  if (!state.patch || state.patch.photo !== photo) return;
  const context = canvas.getContext("2d");
  const [row, column] = cellAt(state.stage, state.patch);
  const [rows, columns] = data.stages[state.stage].maps[photo].grid;
  const [w, h] = [canvas.width / columns, canvas.height / rows];
  context.globalAlpha = 1;
  for (const [colour, width] of [["#000", 6], ["#fff", 2.5]]) {
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.strokeRect(column * w, row * h, w, h);
  }
}

function toGrey(picture) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [picture.naturalWidth, picture.naturalHeight];
  const context = canvas.getContext("2d");
  context.drawImage(picture, 0, 0);
  const image = context.getImageData(0, 0, canvas.width, canvas.height);
  for (let i = 0; i < image.data.length; i += 4) {
    const [r, g, b] = image.data.subarray(i, i + 3);
    image.data.fill(Math.round(0.299 * r + 0.587 * g + 0.114 * b), i, i + 3);
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

// --- the page -----------------------------------------------------------------------------------------------------

const rows = []; // each photo's images and canvases

function chips(parent, name, options, choose) {
  return options.map(([value, text]) => {
    const label = element("label", parent, "", { class: "chip" });
    const input = element("input", label, "", { type: "radio", name, value });
    element("span", label, text);
    input.addEventListener("change", () => choose(value));
    return input;
  });
}

function build() {
  byId("model").textContent = data.model;
  byId("summary").textContent = `${count(data.photos.length, "photo")}, ${count(data.stages.length, "stage")}`;
  byId("accuracy").textContent = data.accuracy;
  state.modeInputs = chips(byId("modes"), "mode", Object.entries(MODES), (mode) => show({ mode }));
  state.stageInputs = chips(byId("stages"), "stage", data.stages.map((s, i) => [i, s.name]), (stage) => show({ stage }));
  data.photos.forEach((photo, i) => {
    const article = element("article", byId("photos"), "", { class: "photo" });
    element("h2", article, photo.name, { "data-print": "" });
    const pair = element("div", article, "", { class: "pair" });
    pair.style.setProperty("--shape", Math.min(1.6, photo.size[1] / photo.size[0]));
    const input = canvasFor(pair, i, LARGE, { tabindex: 0, role: "img", "aria-label": `${photo.name}, as the model sees it` });
    const map = canvasFor(pair, i, LARGE, { tabindex: 0, role: "img" });
    for (const canvas of [input, map]) addPatchListeners(canvas, i);
    const strip = element("div", article, "", { class: data.stages.length > 6 ? "strip" : "strip few" });
    const stages = data.stages.map((stage, s) => {
      const button = element("button", strip, "", { type: "button", title: `Show ${stage.name}` });
      const canvas = canvasFor(button, i, SMALL, {});
      element("span", button, stage.name, { "data-print": "" });
      button.addEventListener("click", () => show({ stage: s }));
      return { button, canvas };
    });
    rows.push({ picture: photo.picture, grey: toGrey(photo.picture), input, map, stages });
  });
  const legend = byId("ramp").getContext("2d");
  for (let i = 0; i < 256; i++) {
    legend.fillStyle = `rgb(${RAMP.subarray(3 * i, 3 * i + 3).join(",")})`;
    legend.fillRect(i, 0, 1, 1);
  }
  byId("previous").addEventListener("click", () => turnPage(-1));
  byId("next").addEventListener("click", () => turnPage(1));
  byId("download").addEventListener("click", download);
  document.addEventListener("keydown", (event) => {
    if (event.key === "[") turnPage(-1);
    if (event.key === "]") turnPage(1);
  });
}

function addPatchListeners(canvas, photo) {
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    const inside = (value, size) => Math.min(0.9999, Math.max(0, value / size));
    return { photo, x: inside(event.clientX - box.left, box.width), y: inside(event.clientY - box.top, box.height) };
  };
  canvas.addEventListener("click", (event) => pick(place(event)));
  canvas.addEventListener("pointermove", (event) => updateStatus(place(event)));
  canvas.addEventListener("pointerleave", () => updateStatus());
  canvas.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0], Enter: [0, 0], " ": [0, 0] };
    const step = steps[event.key];
    if (!step) return;
    event.preventDefault();
    const from = state.patch?.photo === photo ? state.patch : { photo, x: 0.5, y: 0.5 };
    const cell = cellAt(state.stage, from);
    const grid = data.stages[state.stage].maps[photo].grid;
    const [y, x] = cell.map((at, i) => (Math.min(grid[i] - 1, Math.max(0, at + step[i])) + 0.5) / grid[i]);
    pick({ photo, x, y });
  });
}

function pick(patch) {
  clearSimilarity();
  show({ patch, photo: patch.photo, mode: "similarity" });
}

/** Page through the channels. */
function turnPage(step) {
  const pages = Math.ceil(data.stages[state.stage].kept.length / PAGE);
  const page = Math.min(pages - 1, Math.max(0, state.page + step));
  show({ mode: "channel", page, channel: page === state.page ? state.channel : page * PAGE });
}

function show(change) {
  if ("stage" in change && change.stage !== state.stage) Object.assign(state, { channel: 0, page: 0 });
  Object.assign(state, change);
  if (state.mode === "similarity" && !state.patch) state.patch = { photo: state.photo, x: 0.5, y: 0.5 };
  const stage = data.stages[state.stage];
  check(state.modeInputs, Object.keys(MODES).indexOf(state.mode));
  check(state.stageInputs, state.stage);
  rows.forEach((row, photo) => {
    row.input.getContext("2d").drawImage(row.picture, 0, 0, row.input.width, row.input.height);
    paintMap(row.map, state.stage, photo, state.channel, row.grey);
    row.map.setAttribute("aria-label", `${data.photos[photo].name}: ${MODES[state.mode]} of ${stage.name}`);
    if (state.mode === "similarity") [row.input, row.map].forEach((canvas) => paintMarker(canvas, photo));
    row.stages.forEach(({ button, canvas }, s) => {
      paintMap(canvas, s, photo, s === state.stage ? state.channel : 0);
      button.setAttribute("aria-pressed", s === state.stage);
    });
  });
  paintChannels(stage);
  updateStageInfo(stage);
  updateStatus();
}

/** Check a chip. On a phone the chips are one scrolling row: bring the checked one into view. */
function check(inputs, chosen) {
  inputs[chosen].checked = true;
  const [row, chip] = [inputs[chosen].closest("fieldset"), inputs[chosen].parentElement];
  row.scrollLeft = chip.offsetLeft + chip.offsetWidth / 2 - row.clientWidth / 2;
}

function paintChannels(stage) {
  byId("channels").hidden = state.mode !== "channel";
  if (state.mode !== "channel") return;
  const first = state.page * PAGE;
  const shown = stage.kept.slice(first, first + PAGE);
  byId("tiles").replaceChildren();
  shown.forEach((channel, i) => {
    const button = element("button", byId("tiles"), "", { type: "button", "aria-pressed": first + i === state.channel });
    paintMap(canvasFor(button, state.photo, SMALL, {}), state.stage, state.photo, first + i);
    element("span", button, channel, { "data-print": "" });
    button.addEventListener("click", () => {
      show({ channel: first + i });
      byId("tiles").children[i].focus();
    });
  });
  const of = stage.kept.length < stage.channels ? ` kept of ${stage.channels}` : "";
  byId("page").textContent =
    `${first + 1} to ${first + shown.length} of ${stage.kept.length} channels${of}, by decreasing variation`;
  byId("previous").disabled = state.page === 0;
  byId("next").disabled = first + PAGE >= stage.kept.length;
}

function updateStageInfo(stage) {
  const [height, width] = stage.maps[state.photo].grid;
  byId("stage-info").textContent = `${stage.name}: ${stage.channels} x ${height} x ${width}, stride ${stage.stride}`;
  const [low, high] = {
    components: ["", ""],
    activation: ["low", "high"],
    channel: [number(stage.low[state.channel]), number(stage.high[state.channel])],
    similarity: [state.patch && similarity(state.stage).lowest.toFixed(2), "1"],
  }[state.mode];
  byId("low").textContent = low;
  byId("high").textContent = high;
  byId("legend").style.visibility = state.mode === "components" ? "hidden" : "";
}

/** Describe what is shown, and the patch under the pointer. */
function updateStatus(pointer = null) {
  const stage = data.stages[state.stage];
  const describe = (place) => {
    const [row, column] = cellAt(state.stage, place);
    return `row ${row + 1}, column ${column + 1} of ${data.photos[place.photo].name}`;
  };
  const index = (place) => {
    const [row, column] = cellAt(state.stage, place);
    return row * stage.maps[place.photo].grid[1] + column;
  };
  let text = "Three principal components, fitted over all photos: similar colours mean similar features.";
  if (state.mode === "activation") text = "The mean absolute value over channels.";
  if (state.mode === "channel") {
    text = `Channel ${stage.kept[state.channel]}.`;
    if (pointer) {
      const value = intensity(state.stage, pointer.photo)[index(pointer)] / 255;
      const [low, high] = [stage.low[state.channel], stage.high[state.channel]];
      text += ` About ${number(low + value * (high - low))} at ${describe(pointer)}.`;
    }
  }
  if (state.mode === "similarity") {
    text = `Similarity to ${describe(state.patch)}.`;
    if (pointer) text += ` ${similarity(state.stage).all[pointer.photo][index(pointer)].toFixed(3)} at ${describe(pointer)}.`;
    else if (stage.error >= 0.0005) text += ` Cosine similarity, within ${stage.error.toFixed(3)}.`;
  }
  if (byId("status").textContent !== text) byId("status").textContent = text;
}

const count = (n, noun) => `${n} ${noun}${n === 1 ? "" : "s"}`;
const number = (value) => String(Number(value.toPrecision(3)));

// --- download -----------------------------------------------------------------------------------------------------

/** Save what is shown as a picture: every canvas and every text marked with data-print, in place. */
function download() {
  const box = byId("shown").getBoundingClientRect();
  const margin = 24;
  const title = 36;
  const style = getComputedStyle(document.documentElement);
  const canvas = document.createElement("canvas");
  // Browsers can't draw larger canvases.
  const scale = Math.min(2, 16000 / (box.height + title + 2 * margin));
  canvas.width = (box.width + 2 * margin) * scale;
  canvas.height = (box.height + title + 2 * margin) * scale;
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  context.fillStyle = style.getPropertyValue("--background");
  context.fillRect(0, 0, canvas.width, canvas.height);
  const paint = (part, x, y) => {
    const { left, top, width, height } = part.getBoundingClientRect();
    if (!width || !height || getComputedStyle(part).visibility === "hidden") return;
    if (part.tagName === "CANVAS") {
      context.drawImage(part, left + x, top + y, width, height);
      return;
    }
    const font = getComputedStyle(part);
    context.font = `${font.fontWeight} ${font.fontSize} ${font.fontFamily}`;
    context.fillStyle = font.color;
    context.textBaseline = "middle";
    context.fillText(part.textContent, left + x, top + y + height / 2);
  };
  const heading = byId("model").getBoundingClientRect();
  paint(byId("model"), margin - heading.left, margin - heading.top);
  for (const part of byId("shown").querySelectorAll("canvas, [data-print]")) {
    paint(part, margin - box.left, margin + title - box.top);
  }
  canvas.toBlob((blob) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `${data.stages[state.stage].name}-${state.mode}.png`;
    link.click();
    URL.revokeObjectURL(link.href);
  });
}

async function start() {
  for (const photo of data.photos) {
    photo.picture = new Image();
    photo.picture.src = photo.src;
    await photo.picture.decode();
  }
  build();
  show({});
}

start();
