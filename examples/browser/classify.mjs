// Classifies photographs with model.onnx, an export of `rezoo export RUN --to onnx --input raw`.
import * as ort from "./node_modules/onnxruntime-web/dist/ort.wasm.min.mjs";

const SHOWN = 5;
const LARGEST = 4096; // longer sides are halved until they fit: browsers limit a canvas

// What rezoo writes into the file: labels, the kind of output, the channels of the input. It is the
// field metadata_props, number 14, of ONNX's ModelProto; the other fields are skipped.
function describe(bytes) {
  let at = 0;
  const number = () => {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = bytes[at++];
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
  };
  const text = () => {
    const size = number();
    return new TextDecoder().decode(bytes.subarray(at, (at += size)));
  };
  while (at < bytes.length) {
    const tag = number();
    const [field, kind] = [tag >> 3, tag & 7];
    const size = number(); // of the field, or its value
    if (kind === 0) continue;
    if (kind !== 2) throw new Error("model.onnx is not an ONNX file");
    const end = at + size;
    if (field === 14) {
      const entry = {};
      while (at < end) entry[number() >> 3] = text();
      if (entry[1] === "rezoo") return JSON.parse(entry[2]);
    }
    at = end;
  }
  throw new Error("model.onnx was not written by rezoo export");
}

// Returns a uint8 tensor (1, height, width, channels) of a file, upright and in sRGB.
async function pixels(file, channels) {
  const image = await createImageBitmap(file);
  let [width, height] = [image.width, image.height];
  while (Math.max(width, height) > LARGEST) [width, height] = [width >> 1, height >> 1];
  const context = new OffscreenCanvas(width, height).getContext("2d", { colorSpace: "srgb" });
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, width, height);
  const rgba = context.getImageData(0, 0, width, height).data;
  const values = new Uint8Array(width * height * channels);
  for (let from = 0, to = 0; from < rgba.length; from += 4) {
    const [red, green, blue] = [rgba[from], rgba[from + 1], rgba[from + 2]];
    if (channels === 1) values[to++] = (red * 19595 + green * 38470 + blue * 7471 + 32768) >> 16;
    else {
      values[to++] = red;
      values[to++] = green;
      values[to++] = blue;
    }
  }
  return new ort.Tensor("uint8", values, [1, height, width, channels]);
}

function softmax(logits) {
  const largest = Math.max(...logits);
  const powers = logits.map((logit) => Math.exp(logit - largest));
  const sum = powers.reduce((total, power) => total + power, 0);
  return powers.map((power) => power / sum);
}

const find = (id) => document.getElementById(id);

async function start() {
  const response = await fetch("model.onnx");
  if (!response.ok) throw new Error("there is no model.onnx beside this page");
  const bytes = new Uint8Array(await response.arrayBuffer());
  const facts = describe(bytes);
  if (facts.input !== "raw") throw new Error("model.onnx was exported without --input raw");
  const session = await ort.InferenceSession.create(bytes);

  const classify = async (file) => {
    const started = performance.now();
    const image = await pixels(file, facts.input_shape[2]);
    const output = (await session.run({ image }))[facts.output];
    const outputs = [...output.data];
    const several = facts.task === "multi-label";
    const probabilities =
      facts.output === "probabilities" ? outputs
      : several ? outputs.map((logit) => 1 / (1 + Math.exp(-logit)))
      : softmax(outputs);
    const order = probabilities.map((_, place) => place);
    order.sort((a, b) => probabilities[b] - probabilities[a]);
    return { outputs, probabilities, order, ms: performance.now() - started };
  };

  find("file").addEventListener("change", async () => {
    const [file] = find("file").files;
    if (!file) return;
    find("status").textContent = "Computing …";
    find("answer").replaceChildren();
    try {
      const found = await classify(file);
      window.found = found; // for the console
      find("photograph").src = URL.createObjectURL(file);
      find("photograph").hidden = false;
      for (const place of found.order.slice(0, SHOWN)) {
        const row = find("answer").insertRow();
        row.insertCell().textContent = facts.labels[place];
        row.insertCell().textContent = `${(100 * found.probabilities[place]).toFixed(1)} %`;
      }
      find("status").textContent = `${Math.round(found.ms)} ms with ${facts.architecture}.`;
    } catch (error) {
      find("status").textContent = `${file.name} cannot be classified: ${error.message}`;
    }
  });
  find("status").textContent = `${facts.architecture}, ${facts.labels.length} classes.`;
  find("file").disabled = false;
}

start().catch((error) => {
  find("status").textContent = `The network cannot be used: ${error.message}.`;
});
