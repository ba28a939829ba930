/*
 * pair.js - the panel "Two digits": one drawn over the other with two pens, read by the
 * model that was trained on pairs, and each drawn again by its own capsule.
 */
import { call, latest } from './client.js';
import { $, make, makeBar, makeKinds, newCanvas, paint, settled, showBar, wipe } from './dom.js';
import { linkPad, unlink } from './link.js';
import { Pad, drawStrokes, sampleStrokes } from './pad.js';
import { SAMPLES } from './samples.js';
import { DETECTED, SETTLE_MS, state } from './state.js';

const MODEL = 'capsnet-multimnist';
const DIGITS = SAMPLES.slice(0, 10);
const FIRST = [3, 7];
const SIZE = 0.8;   /* of a sample, in parts of the pad */
const ASIDE = 0.07; /* its middle, from the pad's, in parts of the pad */
const WIDTH = 0.06; /* of its strokes */
const GRID = 20;    /* pixels a side, where pens and capsules are compared */
const DRAWN = 0.3;  /* of full brightness: a capsule's picture has ink here */
const PENS = [{ name: 'First pen', colour: '--pen0' }, { name: 'Second pen', colour: '--pen1' }];
const APART = ['pair-first', 'pair-second'];

const query = `model=${MODEL}`;
const bars = [];

/* ---- Drawing ------------------------------------------------------------------- */

const pad = new Pad($('pair-pad'), (finished) => {
    $('pair-undo').disabled = !pad.canUndo;
    $('pair-clear').disabled = pad.isEmpty;
    if (finished)
        unlink('pair');
    if (pad.isEmpty)
        forget();
    else
        startAsking();
}, PENS.map(({ colour }) => colour));

/* A digit in a pen's place: the first to the upper left, the second to the lower right. */
function placed(digit, pen) {
    const middle = 0.5 + (pen ? ASIDE : -ASIDE);
    return sampleStrokes(DIGITS[digit], WIDTH)
        .map(({ width, points }) => ({ width, pen, points: points.map((v) => middle + (v - 0.5) * SIZE) }));
}

/* Puts a digit in the place of all that the pen drew. */
function drawDigit(digit, pen) {
    pad.setStrokes([...pad.strokes.filter((stroke) => stroke.pen !== pen), ...placed(digit, pen)], false);
}

/* ---- Whose is it? ------------------------------------------------------------------ */

/* Brightness, [GRID * GRID], of a part of a canvas that is brought to that size. */
function shrunk(canvas, { x, y, width, height }) {
    const g = newCanvas(GRID, GRID).getContext('2d', { willReadFrequently: true });
    g.drawImage(canvas, x, y, width, height, 0, 0, GRID, GRID);
    return g.getImageData(0, 0, GRID, GRID).data.filter((_, i) => i % 4 === 0);
}

/* The frame of what is brighter than DRAWN in any of the canvases, all of one size. */
function frame(canvases) {
    const { width, height } = canvases[0];
    const box = { left: width, top: height, right: 0, bottom: 0 };
    for (const canvas of canvases) {
        const { data } = canvas.getContext('2d').getImageData(0, 0, width, height);
        for (let p = 0; p < width * height; p++)
            if (data[4 * p] > DRAWN * 255) {
                const [x, y] = [p % width, Math.floor(p / width)];
                Object.assign(box, { left: Math.min(box.left, x), right: Math.max(box.right, x + 1),
                    top: Math.min(box.top, y), bottom: Math.max(box.bottom, y + 1) });
            }
    }
    return { x: box.left, y: box.top, width: Math.max(1, box.right - box.left), height: Math.max(1, box.bottom - box.top) };
}

/* Did the second pen draw the first picture?  Pens and pictures are laid upon each
 * other by the frames of their ink. */
function areCrossed(pictures) {
    const side = 7 * GRID;
    const pens = PENS.map((_, pen) => {
        const canvas = newCanvas(side, side);
        drawStrokes(canvas.getContext('2d', { willReadFrequently: true }),
            pad.strokes.filter((stroke) => stroke.pen === pen), side, '#fff', '#fff');
        return canvas;
    });
    const [drawn, seen] = [pens, pictures].map((canvases) => canvases.map((c) => shrunk(c, frame(canvases))));
    const alike = (a, b) => a.reduce((sum, v, i) => sum + v * b[i], 0);
    return alike(drawn[1], seen[0]) + alike(drawn[0], seen[1]) > alike(drawn[0], seen[0]) + alike(drawn[1], seen[1]);
}

/* ---- The answer --------------------------------------------------------------------- */

async function canvasOf(base64) {
    const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
    const bitmap = await createImageBitmap(new Blob([bytes], { type: 'image/png' }));
    const canvas = newCanvas(bitmap.width, bitmap.height);
    canvas.getContext('2d', { willReadFrequently: true }).drawImage(bitmap, 0, 0);
    return canvas;
}

const ask = latest(
    async (body) => {
        const [classified, apart, seen] = await Promise.all([
            call(`classify?${query}`, body),
            call(`reconstruct?class=detected&${query}`, body),
            call(`reconstruct?debug=normalized&${query}`, body, 'bitmap'),
        ]);
        const images = await Promise.all(apart.images.slice(0, 2).map(async (one) => ({ ...one, canvas: await canvasOf(one.image) })));
        return { prediction: classified.predictions[0], images, seen };
    },
    (result) => !pad.isEmpty && show(result),
    (body, sentence) => {
        forget();
        $('pair-sentence').textContent = sentence;
    },
);

const startAsking = settled(SETTLE_MS, () => !pad.isEmpty && ask(pad.encode()));

/* A gray picture in a pen's colour; added to what is there. */
function tint(target, picture, colour) {
    const layer = newCanvas(picture.width, picture.height);
    const g = layer.getContext('2d');
    g.drawImage(picture, 0, 0);
    g.globalCompositeOperation = 'multiply';
    g.fillStyle = colour;
    g.fillRect(0, 0, layer.width, layer.height);
    if (target.width !== layer.width || target.height !== layer.height)
        Object.assign(target, { width: layer.width, height: layer.height });
    const to = target.getContext('2d');
    to.globalCompositeOperation = 'lighter';
    to.drawImage(layer, 0, 0);
}

function sentenceOf({ detected, probabilities }, labels) {
    const names = detected.map((j) => labels[j]);
    if (names.length === 0)
        return `No capsule is long. The longest has ${Math.max(...probabilities).toFixed(2)}.`;
    if (names.length === 1)
        return `Only capsule ${names[0]} is long.`;
    return `It sees ${names.slice(0, -1).join(', ')} and ${names.at(-1)}.`;
}

function show({ prediction, images, seen }) {
    const style = getComputedStyle($('pair-pad'));
    $('pair-sentence').textContent = sentenceOf(prediction, state.labels);
    bars.forEach((bar, i) => showBar(bar, prediction.probabilities[i], prediction.probabilities[i] > DETECTED));
    paint($('pair-seen'), seen);
    wipe($('pair-both'), ...APART.map($));
    const order = images.length === 2 && areCrossed(images.map(({ canvas }) => canvas)) ? [1, 0] : [0, 1];
    order.forEach((at, pen) => {
        const image = images[at];
        const caption = $(`${APART[pen]}-caption`);
        caption.textContent = image ? `${image.label}, length ${image.probability.toFixed(2)}` : 'No second digit';
        if (!image)
            return;
        const colour = style.getPropertyValue(`--glow${pen}`);
        tint($('pair-both'), image.canvas, colour);
        tint($(APART[pen]), image.canvas, colour);
    });
}

function forget() {
    wipe($('pair-seen'), $('pair-both'), ...APART.map($));
    $('pair-sentence').textContent = 'Draw two digits.';
    for (const id of APART)
        $(`${id}-caption`).textContent = '\u00a0';
    for (const bar of bars)
        showBar(bar);
}

/* ---- Start ---------------------------------------------------------------------------- */

/* For each pen a choice, and a digit that is drawn with it. */
function makePens() {
    makeKinds($('pens'), 'pair-pen', PENS, PENS[0], (choice) => (pad.pen = PENS.indexOf(choice)));
    PENS.forEach(({ name }, pen) => {
        const select = make($('ready'), 'select');
        select.setAttribute('aria-label', `A digit drawn with the ${name.toLowerCase()}`);
        DIGITS.forEach((digit, i) => make(select, 'option', { value: i, textContent: digit.name, selected: i === FIRST[pen] }));
        select.addEventListener('change', () => drawDigit(Number(select.value), pen));
    });
}

function begin() {
    $('pair-absent').hidden = true;
    $('pair').classList.remove('absent');
    for (const label of state.labels)
        bars.push(makeBar($('pair-bars'), 'div', label));
    makePens();
    forget();
    $('pair-undo').addEventListener('click', () => pad.undo());
    $('pair-clear').addEventListener('click', () => pad.clear());
    if (!linkPad('pair', pad, PENS.length, (strokes) => strokes && pad.setStrokes(strokes, false)))
        pad.setStrokes(FIRST.flatMap(placed), false);
}

const look = latest(
    () => call('models'),
    ({ models }) => models.some(({ name }) => name === MODEL) && begin(),
);
look({});
