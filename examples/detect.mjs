// Detect in an image with an exported float32 file in ONNX Runtime for JavaScript.
//
//   npm install onnxruntime-node
//   node detect.mjs model.onnx image.ppm [threshold]
//
// Beside model.onnx lies model.onnx.json, which the export has written. The image is a binary PPM,
// which needs no package to be read; `image` in `main` is what `getImageData` of a canvas returns,
// so that all other functions run in a browser with onnxruntime-web as they are.

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

/** Where an image of a size lies in the network's input: scaled size, and columns and rows before it. */
export function fit(metadata, width, height) {
  const [inputH, inputW] = metadata.default_size.split("x").map(Number);
  if (metadata.fit === "squash") {
    return { inputW, inputH, scaledW: inputW, scaledH: inputH, left: 0, top: 0 };
  }
  const rounded = (numerator, denominator) =>
    Math.max(1, Math.floor((2 * numerator + denominator) / (2 * denominator)));
  const fillsWidth = inputW * height <= inputH * width;
  const scaledW = fillsWidth ? inputW : rounded(width * inputH, height);
  const scaledH = fillsWidth ? rounded(height * inputW, width) : inputH;
  const left = Math.floor((inputW - scaledW) / 2);
  const top = Math.floor((inputH - scaledH) / 2);
  return { inputW, inputH, scaledW, scaledH, left, top };
}

/** The two pixels next to each pixel of a scaled line, and their weights in units of 1/2048. */
function neighbors(scaled, source, isColumn) {
  const inside = (index) => Math.min(Math.max(index, 0), source - 1);
  return Array.from({ length: scaled }, (_, place) => {
    const position = Math.fround(((place + 0.5) * source) / scaled - 0.5);
    const first = Math.floor(position);
    // as OpenCV: beyond the border, columns get no weight, and rows repeat the one at the border
    const alone = isColumn && (first < 0 || first >= source - 1);
    const second = alone ? 0 : Math.round((position - first) * 2048);
    return [inside(first), inside(first + 1), 2048 - second, second];
  });
}

/** RGBA pixels [height, width, 4] -> the network's input [3, inputH, inputW] in BGR. */
export function toInput({ data, width, height }, place) {
  const { inputW, inputH, scaledW, scaledH, left, top } = place;
  const input = new Float32Array(3 * inputH * inputW).fill(-0.5); // black
  const columns = neighbors(scaledW, width, true);
  neighbors(scaledH, height, false).forEach(([above, below, aboveWeight, belowWeight], row) => {
    columns.forEach(([before, after, beforeWeight, afterWeight], column) => {
      for (let channel = 0; channel < 3; channel++) {
        const line = (y) => {
          const at = (x) => data[(y * width + x) * 4 + channel];
          return (at(before) * beforeWeight + at(after) * afterWeight) >> 4;
        };
        const upper = (line(above) * aboveWeight) >> 16;
        const lower = (line(below) * belowWeight) >> 16;
        const value = (upper + lower + 2) >> 2;
        const plane = 2 - channel; // red is the last plane
        input[(plane * inputH + top + row) * inputW + left + column] = value / 255 - 0.5;
      }
    });
  });
  return input;
}

/** Rows of the outputs with scores above the threshold, in pixels of the image. */
export function toBoxes({ corners, scores, labels }, place, { width, height }, classes, threshold) {
  const { scaledW, scaledH, left, top } = place;
  const least = Math.fround(threshold); // the scores are float32
  const boxes = [];
  for (let row = 0; row < scores.data.length && scores.data[row] > least; row++) {
    const polygon = [];
    for (let index = row * 8; index < row * 8 + 8; index += 2) {
      const [x, y] = [corners.data[index], corners.data[index + 1]];
      polygon.push([((x - left) * width) / scaledW, ((y - top) * height) / scaledH]);
    }
    const label = Number(labels.data[row]); // a BigInt, as int64 does not fit into a number
    boxes.push({ name: classes[label], score: scores.data[row], polygon });
  }
  return boxes;
}

function signedArea(polygon) {
  let doubled = 0;
  polygon.forEach(([x, y], index) => {
    const [nextX, nextY] = polygon[(index + 1) % polygon.length];
    doubled += x * nextY - nextX * y;
  });
  return doubled / 2;
}

/** The part of a convex polygon that is on the inner side of the edge from a to b. */
function clip(polygon, [ax, ay], [bx, by]) {
  const side = ([x, y]) => (bx - ax) * (y - ay) - (by - ay) * (x - ax);
  const kept = [];
  polygon.forEach((point, index) => {
    const next = polygon[(index + 1) % polygon.length];
    const [here, there] = [side(point), side(next)];
    if (here >= 0) kept.push(point);
    if (here * there < 0) {
      const share = here / (here - there);
      kept.push(point.map((value, axis) => value + share * (next[axis] - value)));
    }
  });
  return kept;
}

/** Intersection over union of two convex polygons. */
export function iou(a, b) {
  const [first, second] = [a, b].map((one) => (signedArea(one) < 0 ? [...one].reverse() : one));
  const shared = Math.abs(
    signedArea(
      second.reduce((rest, point, index) => clip(rest, point, second[(index + 1) % 4]), first),
    ),
  );
  const union = signedArea(first) + signedArea(second) - shared;
  return union > 0 ? shared / union : 0;
}

/** Greedy suppression within each class; the boxes are in descending order of scores. */
export function suppress(boxes, threshold) {
  const kept = [];
  for (const box of boxes) {
    const rivals = kept.filter((one) => one.name === box.name);
    if (!rivals.some((one) => iou(one.polygon, box.polygon) > threshold)) kept.push(box);
  }
  return kept;
}

/** Read a binary PPM as a canvas would give it: {data: RGBA, width, height}. */
function readPpm(path) {
  const file = readFileSync(path);
  const header = /^P6\s+(\d+)\s+(\d+)\s+255\s/.exec(file.toString("latin1", 0, 64));
  if (!header) throw new Error(`${path}: not a binary PPM of 8 bits`);
  const [width, height] = [Number(header[1]), Number(header[2])];
  const data = new Uint8ClampedArray(width * height * 4).fill(255);
  for (let pixel = 0; pixel < width * height; pixel++) {
    data.set(file.subarray(header[0].length + pixel * 3, header[0].length + pixel * 3 + 3), pixel * 4);
  }
  return { data, width, height };
}

async function main([model, imagePath, threshold]) {
  const ort = (await import("onnxruntime-node")).default;
  const file = readFileSync(model);
  const metadata = JSON.parse(readFileSync(`${model}.json`, "utf8"));
  if (createHash("sha256").update(file).digest("hex") !== metadata.file_sha256) {
    throw new Error(`${model} and ${model}.json do not belong together, or one is damaged`);
  }
  if (metadata.input_type !== "float32") throw new Error(`${model}: its input is not float32`);
  const session = await ort.InferenceSession.create(model);
  const image = readPpm(imagePath);
  const place = fit(metadata, image.width, image.height);
  const shape = [1, 3, place.inputH, place.inputW];
  const feeds = { input: new ort.Tensor("float32", toInput(image, place), shape) };
  const lowest = threshold === undefined ? Number(metadata.conf_thresh) : Number(threshold);
  if (session.inputNames.includes("conf_thresh")) {
    feeds.conf_thresh = new ort.Tensor("float32", [lowest], []);
  }
  const outputs = await session.run(feeds);
  const found = toBoxes(outputs, place, image, JSON.parse(metadata.classes), lowest);
  const boxes = metadata.nms_thresh ? found : suppress(found, 0.1);
  for (const box of boxes) console.log(JSON.stringify(box));
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) await main(process.argv.slice(2));
